"""Experiments: a Params dataclass, a Metrics dataclass and a pure function between them."""

from __future__ import annotations

import importlib
import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, cast

from lawsweep.core.code.files import import_text, text_of
from lawsweep.core.code.imported import imported_by
from lawsweep.core.cost import Cost
from lawsweep.core.definition import Carry
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.schema import FieldSpec, mapping_of

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import TypeVar

    M_co = TypeVar("M_co", covariant=True, default=Any)  # what the function returns
else:
    from typing import TypeVar

    M_co = TypeVar("M_co", covariant=True)

Device = str


@dataclass(frozen=True, eq=False)
class Experiment(Generic[M_co]):
    """A named, versioned experiment.  Callable: ``experiment(params, seed=0, device="cpu")``.

    ``params`` and ``metrics`` are the resolved fields, ``arrays`` the metrics that are large
    arrays (kept beside the rows); ``constraints`` are expressions over the params that hold at
    every valid point; ``cost`` maps params to flops and bytes.  ``fused``, where there is one,
    computes many runs at once that differ in their seeds and the params ``fuse_over`` alone.
    ``imports`` are modules that ``function`` or ``fused`` import when they are called.
    ``carries`` says of older versions which of their rows mean the same today.

    One that ``learns`` declares no metrics: the rows say which there are (``supposed`` are those
    that a sweep names before there is one).  One that is ``spread`` takes its params as keyword
    arguments.  One that ``takes_seed`` not has a single run a point, and its seed is 0.
    """

    name: str
    version: int
    function: Callable[..., Any]
    params_type: type
    metrics_type: type
    params: tuple[FieldSpec, ...]
    metrics: tuple[FieldSpec, ...]
    constraints: tuple[str, ...] = ()
    cost: Callable[[Any], Cost] | None = None
    takes_device: bool = False
    reference: str = ""
    arrays: tuple[FieldSpec, ...] = ()
    fused: Callable[..., Any] | None = None
    fuse_over: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    carries: Mapping[int, Carry] = field(default_factory=dict)
    learns: bool = False
    supposed: frozenset[str] = frozenset()
    spread: bool = False
    takes_seed: bool = True

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, version {self.version})"

    def __call__(self, *given: Any, **fields: Any) -> M_co:
        """One run, here and now: ``(params=None, seed=0, device="cpu")``.

        Give a ``Params``, or its fields as keywords; a plain function's arguments as it takes
        them.  Returns what the function does.  Raises UnknownNameError or InvalidValueError for bad
        params.
        """
        if not self.spread:
            return cast("M_co", self._call(*given, **fields))
        fields = _by_name(self, given, fields)
        params = {n: v for n, v in fields.items() if n not in ("seed", "device")}
        return cast("M_co", self._call(params, fields.get("seed", 0), fields.get("device", "cpu")))

    def _call(
        self, params: Any = None, seed: int = 0, device: Device = "cpu", **fields: Any
    ) -> Any:
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or operator.index(seed) < 0:
            raise InvalidValueError(f"seed must be a whole number from 0, got {seed!r}.")
        if params is None:
            params = self.bind(fields)
        elif fields:
            raise InvalidValueError(
                f"{self.name}: give either a Params or keywords, got both. Drop one of them."
            )
        elif isinstance(params, self.params_type):
            params = self.bind({s.name: s.of(params) for s in self.params})
        elif isinstance(params, Mapping):
            params = self.bind(params)
        else:
            raise InvalidValueError(
                f"{self.name} takes a {self.params_type.__name__} or its fields as keywords, "
                f"got {params!r}."
            )
        return self.evaluate(params, operator.index(seed), device)

    def __reduce__(self) -> tuple[Any, ...]:
        # By name where it can be imported (a worker then loads its module as usual), by value
        # where it cannot (a notebook's own experiment).
        module, name = self.function.__module__, self.function.__qualname__
        if module != "__main__" and getattr(sys.modules.get(module), name, None) is self:
            text = text_of(module)
            return (_load, (module, name)) if text is None else (_load_text, (*text, name))
        if (text := text_of(module)) is not None:
            fields = {**vars(self), "function": None}
            return _rebuild, (fields, (*text, name))
        return _rebuild, (vars(self).copy(),)

    @property
    def of_command(self) -> bool:
        """Whether its runs are those of a program."""
        return bool(getattr(self.function, "is_command", False))

    def load(self) -> None:
        """Import ``imports``, and what else the functions' bodies import.

        So the first run of a process is not timed with them, and no deadline cuts one off.
        Raises nothing: what cannot be imported the run itself will say, in its row.
        """
        found = (imported_by(f) for f in (self.function, self.fused) if f is not None)
        for module in dict.fromkeys(chain(self.imports, *found)):
            with suppress(Exception):
                importlib.import_module(module)

    def evaluate(self, params: Any, seed: int, device: Device) -> Any:
        """Call the function on params that are already checked."""
        more: dict[str, Any] = {"seed": seed} if self.takes_seed else {}
        more |= {"device": device} if self.takes_device else {}
        if self.spread:
            return self.function(**vars(params), **more)
        return self.function(params, *more.values())

    def bind(self, values: Mapping[str, Any]) -> Any:
        """``Params`` from a mapping: names, types, ranges and constraints are checked."""
        values = self.flat(values)
        specs = {s.name: s for s in self.params}
        for name in values:
            if name not in specs:
                raise unknown_name("param", name, specs, f"experiment {self.name}")
        missing = [s.name for s in self.params if not s.has_default and s.name not in values]
        if missing:
            raise InvalidValueError(
                f"{self.name} needs a value for {', '.join(missing)}; got none. "
                "Give it under params or as an axis."
            )
        checked = {n: specs[n].cast(v) for n, v in values.items()}
        full = {s.name: checked.get(s.name, s.default) for s in self.params}
        for constraint in self.constraints:
            if not Expression(constraint).evaluate_one(full):
                used = {n: full[n] for n in Expression(constraint).names}
                raise InvalidValueError(
                    f"{self.name} requires {constraint}; got {_spell(used)}. Change one of them."
                )
        return self.construct(checked)

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Checked values and the (cast) defaults of the others: what a row says is what ran."""
        return {**{s.name: s.default for s in self.params if s.has_default}, **values}

    @property
    def aliases(self) -> dict[str, Mapping[str, str]]:
        """The metrics that have aliases, each with its own (``Field.aliases``)."""
        return {s.name: s.info.aliases for s in self.metrics if s.info.aliases}

    def in_words_of_today(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A stored row, with aliases as what they are called today."""
        renamed = {
            name: aliases.get(row[name], row[name])
            for name, aliases in self.aliases.items()
            if name in row
        }
        return {**row, **renamed}

    def construct(self, values: Mapping[str, Any]) -> Any:
        """``Params`` from checked values; an error of its ``__post_init__`` becomes ours."""
        try:
            return self.build(values)
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever a user's __post_init__ may raise)
            reason = str(error).rstrip(".") or type(error).__name__
            raise InvalidValueError(
                f"{self.name} refuses {_spell(values)}: {reason}. Change the params."
            ) from None

    @property
    def names(self) -> set[str]:
        """What the params are called, and the dataclasses that some of them lie in."""
        return {n for s in self.params for n in (s.name, *s.roots)}

    def flat(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by the names of the params: those of a dataclass inside the Params by themselves.

        ``{"model": {"width": 3}}`` is ``{"model_width": 3}``; so is a dataclass in that place.
        """
        roots = {r for s in self.params for r in s.roots}
        found: dict[str, Any] = {}
        for name, value in values.items():
            inner = mapping_of(value) if name in roots else None
            if inner is None:
                found[name] = value
            else:
                found |= self.flat({f"{name}_{n}": v for n, v in inner.items()})
        return found

    def build(self, values: Mapping[str, Any]) -> Any:
        """``Params`` of checked values: texts as enum members and paths, fields in their places."""
        full = self.with_defaults(values)
        if not any(s.form or s.within for s in self.params):
            return self.params_type(**full)
        tree: dict[str, Any] = {}
        for spec in self.params:
            if spec.name in full:
                inner = tree
                for name, kind in spec.within:
                    inner = inner.setdefault(name, _Inner(kind))
                inner[spec.leaf or spec.name] = spec.build(full[spec.name])
        return self.params_type(**{n: _made(v) for n, v in tree.items()})

    @property
    def checks_itself(self) -> bool:
        """Whether the Params refuse values of their own accord, in a ``__post_init__``."""
        inner = {step[1] for s in self.params for step in s.within}
        return any(hasattr(t, "__post_init__") for t in (self.params_type, *inner))

    def measured(
        self, returned: Any, params: Mapping[str, Any], seed: int
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Metrics and arrays of what the function returned, as a row has them.

        Raises InvalidValueError for what is not its Metrics; of an experiment that learns them, for
        what cannot be any.
        """
        if self.learns:
            from lawsweep.core.plain.observed import observed

            return observed(self.name, returned, self.with_defaults(params), seed)
        return self.metrics_row(returned), self.arrays_row(returned)

    def metrics_row(self, metrics: Any) -> dict[str, Any]:
        """The metrics as plain Python values in their declared types (NaN and inf are kept).

        Raises InvalidValueError when the function returned something else than its Metrics.
        """
        self._check_type(metrics)
        return {s.name: s.cast_metric(getattr(metrics, s.name)) for s in self.metrics}

    def arrays_row(self, metrics: Any) -> dict[str, np.ndarray]:
        """The large arrays of the metrics that are not None: copies in float64, row-major.

        Raises InvalidValueError for a value that is no real array, and for None where the field is
        not optional.
        """
        if not self.arrays:
            return {}
        self._check_type(metrics)
        found = [(s, getattr(metrics, s.name)) for s in self.arrays]
        for spec, value in found:
            if value is None and not spec.optional:
                raise InvalidValueError(
                    f"{spec.name} must be an array, got None. Return one, or declare the metric "
                    "Array | None."
                )
        return {s.name: s.cast_array(value) for s, value in found if value is not None}

    def _check_type(self, metrics: Any) -> None:
        if not isinstance(metrics, self.metrics_type):
            raise InvalidValueError(
                f"{self.name} must return {self.metrics_type.__name__}, "
                f"got {type(metrics).__name__}."
            )


class _Inner(dict[str, Any]):
    """The values of a dataclass inside the Params."""

    def __init__(self, kind: type):
        super().__init__()
        self.kind = kind


def _made(value: Any) -> Any:
    if isinstance(value, _Inner):
        return value.kind(**{n: _made(v) for n, v in value.items()})
    return value


def _by_name(
    experiment: Experiment[Any], given: tuple[Any, ...], fields: Mapping[str, Any]
) -> dict[str, Any]:
    """A plain function's arguments by their names.  Raises InvalidValueError for too many."""
    try:
        bound = inspect.signature(experiment.function).bind_partial(*given, **fields)
    except TypeError as error:
        raise InvalidValueError(f"{experiment.name}: {error}. Call it as it is written.") from None
    return dict(bound.arguments)


def _load(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _load_text(module: str, text: bytes, file: str, name: str) -> Any:
    return getattr(import_text(module, text, file), name)


def _rebuild(fields: dict[str, Any], function: tuple[str, bytes, str, str] | None = None) -> Any:
    if function is not None:  # of a file that no import finds
        fields = {**fields, "function": _load_text(*function)}
    return Experiment(**fields)


def _spell(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in values.items())
