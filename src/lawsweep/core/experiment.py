"""Experiments: a Params dataclass, a Metrics dataclass and a pure function between them."""

from __future__ import annotations

import importlib
import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from lawsweep.core.code.imported import imported_by
from lawsweep.core.cost import Cost
from lawsweep.core.definition import (
    Carry,
    check_carries,
    check_fused,
    check_names,
    signature,
)
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.schema import FieldSpec, field_specs

if TYPE_CHECKING:
    import numpy as np

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
Device = str


@dataclass(frozen=True, eq=False)
class Experiment:
    """A named, versioned experiment.  Callable: ``experiment(params, seed=0, device="cpu")``.

    ``params`` and ``metrics`` are the resolved fields, ``arrays`` the metrics that are large
    arrays (kept beside the rows); ``constraints`` are expressions over the params that hold at
    every valid point; ``cost`` maps params to flops and bytes.  ``fused``, where there is one,
    computes many runs at once that differ in their seeds and the params ``fuse_over`` alone.
    ``imports`` are modules that ``function`` or ``fused`` import when they are called.
    ``carries`` says of older versions which of their rows mean the same today.
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

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, version {self.version})"

    def __call__(
        self, params: Any = None, seed: int = 0, device: Device = "cpu", **fields: Any
    ) -> Any:
        """One run, here and now.  Give a ``Params``, or its fields as keywords.

        Returns the Metrics.  Raises UnknownNameError or InvalidValueError for bad params.
        """
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or operator.index(seed) < 0:
            raise InvalidValueError(f"seed must be a whole number from 0, got {seed!r}.")
        if params is None:
            params = self.bind(fields)
        elif fields:
            raise InvalidValueError(
                f"{self.name}: give either a Params or keywords, got both. Drop one of them."
            )
        elif isinstance(params, self.params_type):
            params = self.bind({s.name: getattr(params, s.name) for s in self.params})
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
            return _load, (module, name)
        return _rebuild, (vars(self).copy(),)

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
        if self.takes_device:
            return self.function(params, seed, device)
        return self.function(params, seed)

    def bind(self, values: Mapping[str, Any]) -> Any:
        """``Params`` from a mapping: names, types, ranges and constraints are checked."""
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
            return self.params_type(**self.with_defaults(values))
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever a user's __post_init__ may raise)
            reason = str(error).rstrip(".") or type(error).__name__
            raise InvalidValueError(
                f"{self.name} refuses {_spell(values)}: {reason}. Change the params."
            ) from None

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


def _load(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _rebuild(fields: dict[str, Any]) -> Experiment:
    return Experiment(**fields)


def _spell(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in values.items())


def experiment(
    *,
    version: int,
    name: str | None = None,
    constraints: Sequence[str] = (),
    cost: Callable[[Any], Cost] | None = None,
    reference: str = "",
    fused: Callable[..., Any] | None = None,
    fuse_over: Sequence[str] = (),
    imports: Sequence[str] = (),
    carries: Mapping[int, str | Carry] | None = None,
) -> Callable[[Callable[..., Any]], Experiment]:
    """Decorator: make an Experiment of ``(params, seed[, device]) -> Metrics``.

    Params and Metrics are read off the annotations.  ``version`` is raised whenever the meaning
    of a row changes (a default, a formula): it is part of every run id.  ``constraints`` are
    expressions such as ``"n_compressed <= n_target"``.  ``cost`` is called with an object whose
    attributes are the params as arrays over many points and returns a Cost of arrays.

    ``fused(params, seeds, device)`` gets a sequence of Params and one of seeds, and returns as
    many Metrics in that order; an Exception in place of one is that run's failure (Infeasible its
    answer).  Its runs agree in all params but ``fuse_over`` (real numbers), and each answer must
    be what ``function`` gives for it, to 1e-9; in metrics marked ``chaotic`` as rounding has it.
    If it raises, its runs are done one by one.

    What ``function`` and its module's other functions import in their bodies (so that planning
    need not) a worker imports before its first run, whose ``wall_s`` is then that of the run;
    ``imports`` names modules that are imported elsewhere on its way.

    ``carries`` says of older versions which of their rows a new version left as they were, such as
    ``{1: "activation != 'relu' or input_dim > 1"}``: a condition over params, metrics and
    circumstances, or a Carry where a default changed.  Those rows can be carried over (``lawsweep
    import SWEEP --from-version 1``); the others are computed again.

    Raises TypeError, at definition, for what could not become a table.
    """

    def decorate(function: Callable[..., Any]) -> Experiment:
        chosen = name or function.__name__
        if not _NAME.match(chosen):
            raise TypeError(f"{chosen!r} is no experiment name; use letters, digits and _.")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise TypeError(f"{chosen}: version must be an integer from 1, got {version!r}.")
        params_type, metrics_type, takes_device = signature(function)
        params, metrics = field_specs(params_type), field_specs(metrics_type)
        if isinstance(constraints, str):
            raise TypeError(f"{chosen}: constraints is a list of expressions, got {constraints!r}.")
        if isinstance(imports, str) or not all(isinstance(m, str) for m in imports):
            raise TypeError(f"{chosen}: imports is a list of modules' names, got {imports!r}.")
        check_names(chosen, params, metrics)
        over = check_fused(chosen, fused, fuse_over, params)
        large = [s.name for s in params if s.kind == "array"]
        if large:
            raise TypeError(f"{chosen}: {large[0]!r} is a param, and a param is no Array.")
        carried = check_carries(chosen, version, carries or {}, params, metrics)
        known = {s.name for s in params}
        for constraint in constraints:
            for used in Expression(constraint).names:
                if used not in known:
                    raise unknown_name("param", used, known, f"constraint {constraint!r}")
        return Experiment(
            name=chosen,
            version=version,
            function=function,
            params_type=params_type,
            metrics_type=metrics_type,
            params=params,
            metrics=tuple(s for s in metrics if s.kind != "array"),
            arrays=tuple(s for s in metrics if s.kind == "array"),
            constraints=tuple(constraints),
            cost=cost,
            takes_device=takes_device,
            reference=reference,
            fused=fused,
            fuse_over=over,
            imports=tuple(imports),
            carries=carried,
        )

    return decorate
