"""A sweep: one named study, as read from its composed config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.core.plan import Plan, make_plan
from lawsweep.core.points import MAX_POINTS
from lawsweep.core.registry import find_experiment


@dataclass(frozen=True)
class OnFailure:
    """What to do when runs fail.

    ``max_attempts``: how often a run whose worker died is tried before it becomes a row.
    ``stop_after``: stop the sweep when the first so many runs all fail alike (0: never).
    ``timeout_s``: seconds a single run may take before it becomes a ``timeout`` row.
    """

    max_attempts: int = 3
    stop_after: int = 10
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_attempts", 1), ("stop_after", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidValueError(
                    f"on_failure.{name} must be a whole number from {least}, got {value!r}."
                )
        late = self.timeout_s
        if late is not None and (
            isinstance(late, bool) or not isinstance(late, int | float) or not late > 0
        ):
            raise InvalidValueError(
                f"on_failure.timeout_s must be seconds above 0, or null; got {late!r}."
            )


@dataclass(frozen=True)
class Sweep:
    """One study: an experiment, its axes, its seeds, and how its results are read.

    ``experiment`` is a name (see ``find_experiment``) or an Experiment.  ``config`` is the whole
    resolved mapping it was read from and ``overrides`` the command line's, for the record.
    """

    name: str
    experiment: str | Experiment
    params: Mapping[str, Any] = field(default_factory=dict)
    axes: Any = None
    derive: Mapping[str, Any] = field(default_factory=dict)
    where: Any = ()
    seeds: Any = 1
    fits: tuple[Mapping[str, Any], ...] = ()
    figures: tuple[Mapping[str, Any], ...] = ()
    on_failure: OnFailure = field(default_factory=OnFailure)
    executor: Mapping[str, Any] = field(default_factory=lambda: {"kind": "ray_local"})
    store: Mapping[str, Any] = field(default_factory=dict)
    results_dir: str = "results"
    preset: str | None = None
    max_points: int = MAX_POINTS
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    @classmethod
    def from_mapping(
        cls, name: str, config: Mapping[str, Any], overrides: tuple[str, ...] = ()
    ) -> Sweep:
        """A Sweep from a composed config; every key is checked.  Raises a LawsweepError."""
        for key in config:
            if key not in KEYS:
                raise unknown_name("key", str(key), KEYS, f"sweep {name}")
        if config.get("experiment") in (None, ""):
            raise InvalidValueError(
                f"Sweep {name} names no experiment; add a line such as experiment: ntk_min_eig."
            )
        values = {k: v for k, v in config.items() if v is not None or k in ("axes", "preset")}
        for key, kind in _SHAPES.items():
            if key in values and not isinstance(values[key], kind):
                raise InvalidValueError(
                    f"{key} of sweep {name} must be a {_WORDS[kind]}, got {values[key]!r}."
                )
        return cls(
            name=name,
            config=dict(config),
            overrides=overrides,
            **{
                **values,
                "fits": tuple(_entries("fits", values.get("fits", ()))),
                "figures": tuple(_entries("figures", values.get("figures", ()))),
                "on_failure": _read_policy(values.get("on_failure", {})),
            },
        )

    def find_experiment(self) -> Experiment:
        """The Experiment this sweep names."""
        if isinstance(self.experiment, Experiment):
            return self.experiment
        return find_experiment(self.experiment)

    def plan(self) -> Plan:
        """All runs, checked.  Raises a LawsweepError before anything is built or written."""
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
    def tables(self) -> Path:
        """Folder of the tables, one subfolder an experiment."""
        return Path(self.results_dir) / "tables"

    @property
    def folder(self) -> Path:
        """Folder of this sweep: its plan, launches and figures."""
        return Path(self.results_dir) / "sweeps" / self.name


KEYS = tuple(
    f.name for f in dataclasses.fields(Sweep) if f.name not in ("name", "config", "overrides")
)
_SHAPES: dict[str, type] = {
    "experiment": str, "params": Mapping, "derive": Mapping, "executor": Mapping,
    "store": Mapping, "results_dir": str, "max_points": int,
}  # fmt: skip
_WORDS: dict[type, str] = {
    str: "string",
    int: "whole number",
    Mapping: "mapping of names to values",
}


def _entries(key: str, value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, Mapping) for v in value):
        raise InvalidValueError(f"{key} must be a list of mappings, got {value!r}.")
    return list(value)


def _read_policy(value: Any) -> OnFailure:
    names = [f.name for f in dataclasses.fields(OnFailure)]
    if not isinstance(value, Mapping):
        raise InvalidValueError(f"on_failure must be a mapping of {', '.join(names)}.")
    for key in value:
        if key not in names:
            raise unknown_name("key", str(key), names, "on_failure")
    return OnFailure(**value)
