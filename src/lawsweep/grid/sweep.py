"""A sweep: one named study, as read from its composed config."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any

from lawsweep.core import secrets
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.core.options import check_options, read_options
from lawsweep.core.registry import find_experiment, undecorated
from lawsweep.core.schema import Field
from lawsweep.grid.plan import Plan, make_plan
from lawsweep.grid.points import MAX_POINTS


@dataclass(frozen=True)
class OnFailure:
    """What to do when runs fail.

    ``max_attempts``: how often a run whose worker died is tried before it becomes a row.
    ``stop_after``: stop the sweep when the first so many runs all fail alike (0: never).
    ``stop_at``: stop the sweep when so many runs have failed, alike or not (0: never).
    ``timeout_s``: seconds a single run may take before it becomes a ``timeout`` row.
    """

    max_attempts: Annotated[int, Field("attempts of a run", ge=1)] = 3
    stop_after: Annotated[int, Field("alike failures", ge=0)] = 10
    stop_at: Annotated[int, Field("failures at all", ge=0)] = 0
    timeout_s: Annotated[float | None, Field("of a run", unit="s", gt=0, le=1e8)] = None

    def __post_init__(self) -> None:
        check_options(self, "on_failure")


class Url(str):
    """The URL of a folder, ``scheme://place?options``; ``/`` goes deeper and keeps the options."""

    __slots__ = ()

    def __truediv__(self, name: str) -> Url:
        place, mark, options = self.partition("?")
        return Url(f"{place.rstrip('/')}/{name}{mark}{options}")


@dataclass(frozen=True)
class Sweep:
    """One study: an experiment, its axes, its seeds, and how its results are read.

    ``experiment`` is a name (see ``find_experiment``), a function or an Experiment.  ``config`` is
    the whole resolved mapping it was read from and ``overrides`` the command line's, for the
    record.  ``command`` stands in place of an experiment (``core/commands/template.py``).
    ``variant`` is the signature of those of them that change the question (none: empty), and
    ``file`` what its file is called and a hash of where that is; ``notes`` say what they made
    inapplicable, which is left out.  ``asked`` is the name or path it was asked for by, for
    commands that are suggested; None where it was built in Python.
    """

    name: str
    experiment: str | Experiment | Callable[..., Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    axes: Any = None
    derive: Mapping[str, Any] = field(default_factory=dict)
    where: Any = ()
    seeds: Any = 1
    search: Any = None
    until: Any = None
    fits: tuple[Mapping[str, Any], ...] = ()
    figures: tuple[Mapping[str, Any], ...] = ()
    on_failure: OnFailure = field(default_factory=OnFailure)
    executor: Mapping[str, Any] = field(default_factory=lambda: {"kind": "ray_local"})
    store: Mapping[str, Any] = field(default_factory=dict)
    sinks: tuple[str | Mapping[str, Any], ...] = ()
    results_dir: str = "results"
    preset: str | None = None
    max_points: int = MAX_POINTS
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    variant: str = ""
    file: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    command: Any = None
    stop_runs: Mapping[str, Any] | None = None
    asked: str | None = None

    @classmethod
    def from_mapping(
        cls,
        name: str,
        config: Mapping[str, Any],
        overrides: tuple[str, ...] = (),
        *,
        variant: str = "",
        file: tuple[str, str] | None = None,
    ) -> Sweep:
        """A Sweep from a composed config; every key is checked.  Raises a LawsweepError."""
        for key in config:
            if key not in KEYS:
                raise unknown_name("key", str(key), KEYS, f"sweep {name}")
        if config.get("experiment") in (None, "") and config.get("command") is None:
            raise InvalidValueError(
                f"Sweep {name} names no experiment; add a line such as experiment: ntk_min_eig, "
                "experiment: path/to/file.py:function or command: python train.py --lr {lr}."
            )
        values = {k: v for k, v in config.items() if v is not None or k in ("axes", "preset")}
        check_shapes(values, f"sweep {name}")
        return cls(
            name=name,
            config=dict(config),
            overrides=overrides,
            variant=variant,
            file=file,
            **{
                **values,
                "fits": tuple(_entries("fits", values.get("fits", ()))),
                "figures": tuple(_entries("figures", values.get("figures", ()))),
                "sinks": tuple(values.get("sinks", ())),
                "on_failure": read_options(OnFailure, values.get("on_failure", {}), "on_failure"),
            },
        )

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or _UNSAFE.search(self.name):
            raise InvalidValueError(
                f"The name of a sweep is a file name without / and control characters, "
                f"got {self.name!r}."
            )
        if self.command is not None:
            object.__setattr__(self, "experiment", self._of_command())
        if isinstance(self.experiment, FunctionType):
            known = undecorated(self.experiment, self._name_of_lambda())
            object.__setattr__(self, "experiment", known)
        if not isinstance(self.experiment, str | Experiment):
            raise InvalidValueError(
                f"experiment must be a name, a function or an Experiment, got {self.experiment!r}."
            )
        shown = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        shown["experiment"] = "given"
        check_shapes({k: v for k, v in shown.items() if k in _SHAPES}, f"sweep {self.name}")
        secrets.learn_settings((self.executor, self.store, *self.sinks))
        object.__setattr__(
            self, "on_failure", read_options(OnFailure, self.on_failure, "on_failure")
        )
        if dataclasses.is_dataclass(self.search) and not isinstance(self.search, type):
            object.__setattr__(self, "search", dataclasses.asdict(self.search))  # for the record

    def _of_command(self) -> Experiment:
        """The experiment whose runs are the command's."""
        given = self.experiment
        if given is not None and not getattr(given, "of_command", False):
            raise InvalidValueError(
                f"Sweep {self.name} has both an experiment and a command; keep one of them."
            )
        from lawsweep.core.commands.command import command_experiment

        said = {"params": self.params, "axes": self.axes, "derive": self.derive}
        return command_experiment(self.command, self.name, said, Path.cwd(), self.results_dir)

    def _name_of_lambda(self) -> str | None:
        """A lambda's experiment is called as its sweep."""
        is_lambda = getattr(self.experiment, "__name__", "") == "<lambda>"
        found = re.sub(r"\W+", "_", self.name)
        return (found if found[:1].isalpha() else f"f_{found}") if is_lambda else None

    def record(self) -> dict[str, Any]:
        """The whole config, as composed or as this Sweep was built in Python, without secrets."""
        if self.config:
            return _without_secrets(self.config)
        found = {k: getattr(self, k) for k in KEYS}
        if self.command is not None:
            found["experiment"] = None
        elif isinstance(self.experiment, Experiment):
            function = self.experiment.function
            found["experiment"] = f"{function.__module__}:{function.__qualname__}"
        found["on_failure"] = dataclasses.asdict(self.on_failure)
        return _without_secrets({k: v for k, v in found.items() if v is not None})

    def find_experiment(self) -> Experiment:
        """The Experiment this sweep names."""
        if isinstance(self.experiment, Experiment):
            return self.experiment
        assert isinstance(self.experiment, str)
        return find_experiment(self.experiment)

    def plan(self) -> Plan:
        """All runs, checked.  Raises a LawsweepError before anything is built or written."""
        secrets.refuse_in((self.params, self.axes, self.derive), f"A param of sweep {self.name}")
        return make_plan(
            self.find_experiment(),
            params=self.params,
            axes=self.axes,
            derive=self.derive,
            where=self.where,
            seeds=self.seeds,
            max_points=self.max_points,
        )

    @property
    def results(self) -> Path | Url:
        """The folder of all results, or its URL."""
        return results_place(self.results_dir)

    @property
    def tables(self) -> Path | Url:
        """Folder of the tables, one subfolder an experiment."""
        return self.results / "tables"

    @property
    def folder_name(self) -> str:
        """Name of the sweep's folder: its own, and under other overrides a signature of them."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    @property
    def folder(self) -> Path | Url:
        """Folder of this sweep: its plan, launches and figures."""
        return self.results / "sweeps" / self.folder_name

    @property
    def typed(self) -> str:
        """The sweep and its overrides as a shell takes them: what a suggested command ends in."""
        return shlex.join([self.asked or self.name, *secrets.hide_overrides(self.overrides)])

    @property
    def elsewhere(self) -> str:
        """The override that a command needs to find its results; empty in the usual folder."""
        given = [o for o in self.overrides if o.partition("=")[0].lstrip("+") == "results_dir"]
        if not given and str(self.results_dir) == "results":
            return ""
        text = given[-1] if given else f"results_dir={self.results_dir}"
        return shlex.join(secrets.hide_overrides((text,)))

    @property
    def asking(self) -> tuple[str, ...]:
        """Those of the overrides that may change the question."""
        keys = ((o, o.partition("=")[0].lstrip("+~").partition(".")[0]) for o in self.overrides)
        return tuple(o for o, key in keys if key not in NOT_ASKED)


def _without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """Params and axes as they are (run ids are made of them), the rest with its secrets hidden."""
    found = dict(config)
    for key in found:
        if key in ("executor", "store", "sinks"):
            found[key] = secrets.hide_settings(found[key])
        elif key not in ("params", "axes", "derive", "seeds"):
            found[key] = secrets.hide_in(found[key])
    return found


def results_place(results_dir: str | Path) -> Path | Url:
    """``results_dir`` as something that ``/`` goes deeper from: a path, or the URL of a store."""
    return Url(results_dir) if "://" in str(results_dir) else Path(results_dir)


def hash_place(place: str) -> str:
    """A hash of where a sweep file is, for records that go elsewhere."""
    return hashlib.blake2b(place.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


_BESIDE = ("name", "config", "overrides", "variant", "file", "notes", "asked")
KEYS = tuple(f.name for f in dataclasses.fields(Sweep) if f.name not in _BESIDE)
# Where and how a sweep runs, and how large it may be: what is asked stays the same.
NOT_ASKED = (
    "executor", "store", "sinks", "on_failure", "results_dir", "max_points", "stop_runs",
)  # fmt: skip
_SHAPES: dict[str, type] = {
    "experiment": str, "params": Mapping, "derive": Mapping, "executor": Mapping,
    "store": Mapping, "on_failure": Mapping, "until": Mapping, "stop_runs": Mapping,
    "results_dir": str, "max_points": int,
    "fits": Sequence, "figures": Sequence, "sinks": Sequence,
}  # fmt: skip
_WORDS: dict[type, str] = {
    str: "string",
    int: "whole number from 1",
    Mapping: "mapping of names to values",
    Sequence: "list of mappings",
}
_UNSAFE = re.compile(r"[/\\\x00-\x1f]|\A\.\.?\Z")


def check_shapes(values: Mapping[str, Any], place: str, or_name: tuple[str, ...] = ()) -> None:
    """Raise InvalidValueError for a key whose value has another shape than it should.

    The keys ``or_name`` may also be a name (a group of the configuration).
    """
    for key, kind in _SHAPES.items():
        value = values.get(key)
        if key not in values or value is None or (key in or_name and isinstance(value, str)):
            continue
        good = isinstance(value, kind) or (key == "on_failure" and isinstance(value, OnFailure))
        if kind is int:
            good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if kind is Sequence:
            good = isinstance(value, list | tuple)
        if kind is str:
            good = isinstance(value, str) and bool(value)
        if not good:
            word = "list of names and mappings" if key == "sinks" else _WORDS[kind]
            raise InvalidValueError(f"{key} of {place} must be a {word}, got {value!r}.")


def _entries(key: str, value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, Mapping) for v in value):
        raise InvalidValueError(f"{key} must be a list of mappings, got {value!r}.")
    return list(value)
