"""Points: grids with derived fields, filters and every check, as columns."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lawsweep.core.definition import RESERVED
from lawsweep.core.errors import (
    EmptyPlanError,
    InvalidValueError,
    UnknownNameError,
    unknown_name,
)
from lawsweep.core.experiment import Experiment
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.expressions.functions import CONSTANTS
from lawsweep.core.names import alike
from lawsweep.core.schema import FieldSpec
from lawsweep.grid.axes import Space, read_axes
from lawsweep.grid.axes.space import to_column
from lawsweep.grid.grids import Columns, Grid, as_list, too_many_points

MAX_POINTS = 5_000_000


@dataclass(frozen=True)
class Points:
    """All points of a sweep: ``params`` (cast, only those given), ``extra`` axes, notes."""

    params: Columns
    extra: Columns
    n: int
    notes: tuple[str, ...] = ()
    # The grid of the union that each point is of, and what each grid derives.
    grid: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    derives: tuple[Mapping[str, str], ...] = ({},)


def make_points(
    experiment: Experiment,
    *,
    params: Mapping[str, Any],
    axes: Any,
    derive: Mapping[str, Any],
    where: Any,
    max_points: int = MAX_POINTS,
) -> Points:
    """Expand and check a sweep's grid.  Raises before anything is built if it is too large."""
    specs = {s.name: s for s in experiment.params}
    base = Grid(
        params=experiment.flat(params),
        derive={str(k): str(v) for k, v in derive.items() if v is not None},
        where=as_list(where),
    )
    space = Space(specs, max_points)
    try:
        grids = [base.times(g) for g in read_axes(axes, specs).grids(space)]
    except RecursionError:
        raise InvalidValueError("The axes nest too deep; write them flatter.") from None
    count = sum(g.n_points for g in grids)
    if count > max_points:
        raise too_many_points(count, max_points)
    filled = [(_Filler(experiment, specs, grid).points(), grid.derive) for grid in grids]
    parts = [p for p, _ in filled if p.n]
    if not parts:
        shown = " and ".join(repr(w) for g in grids for w in g.where)
        raise EmptyPlanError(
            f"where leaves none of {count:,} points: {shown}. Loosen a filter or widen an axis."
        )
    names = list(dict.fromkeys(n for p in parts for n in p.params))
    extra = list(dict.fromkeys(n for p in parts for n in p.extra))
    joined = {n: np.concatenate([_column(p, n, specs[n]) for p in parts]) for n in names}
    if pair := alike(extra):
        raise InvalidValueError(
            f"The axes {pair[0]!r} and {pair[1]!r} are one name to SQL; call one otherwise."
        )
    beside = {n: _joined_extra(parts, n) for n in extra}
    grid = np.repeat(np.arange(len(parts), dtype=np.int32), [p.n for p in parts])
    derives = tuple(derive for p, derive in filled if p.n)
    return Points(joined, beside, len(grid), tuple(space.notes), grid, derives)


def _column(points: Points, name: str, spec: FieldSpec) -> np.ndarray:
    if name in points.params:
        return points.params[name]
    return to_column([spec.default] * points.n, spec)


def _joined_extra(parts: list[Points], name: str) -> np.ndarray:
    """An extra axis over all grids: None where a grid lacks it, one kind of value elsewhere."""
    kinds = {p.extra[name].dtype.kind for p in parts if name in p.extra}
    if len(kinds) > 1 and not kinds <= {"i", "f"}:
        raise InvalidValueError(
            f"The axis {name!r} holds different kinds of values in different grids of the union; "
            "give it numbers everywhere, or strings everywhere."
        )
    columns = [p.extra.get(name, np.full(p.n, None, dtype=object)) for p in parts]
    if any(c.dtype == object for c in columns):
        columns = [c.astype(object) for c in columns]
    return np.concatenate(columns)


class _Filler:
    """Fills one grid: fixed params, derived fields, filters, types, ranges, constraints."""

    def __init__(self, experiment: Experiment, specs: Mapping[str, FieldSpec], grid: Grid):
        self.experiment, self.specs, self.grid = experiment, specs, grid
        self.axes = [n for b in grid.blocks for n in b]
        self._check_names()

    def _check_names(self) -> None:
        grid, place = self.grid, f"experiment {self.experiment.name}"
        if "seed" in grid.params or ("seed" in self.axes and not self._is_used("seed")):
            raise UnknownNameError(
                "Seeds are no axis and no param: write seeds: 5 (for the seeds 0 to 4) or "
                "seeds: [0, 7] beside axes, and every point is run with each."
            )
        for name in (*grid.params, *grid.derive):
            if name not in self.specs and not (name in grid.derive and self._is_used(name)):
                raise unknown_name("param", name, self.specs, place)
        for name in self.axes:
            # An axis that is no param is fine as long as an expression reads it.
            if name not in self.specs and not self._is_used(name):
                error = unknown_name("param", name, self.specs, f"the axes of {place}")
                raise UnknownNameError(
                    f"{error} (An axis that is no param must be used by derive or where.)"
                )
            if name in grid.derive:
                raise InvalidValueError(f"{name!r} is both an axis and derived; drop one of them.")
        self._check_columns()
        for name in grid.params:
            if name in self.axes:
                raise InvalidValueError(
                    f"{name!r} is both fixed under params and an axis; drop one of them."
                )
        for name in grid.derive:
            if name in grid.params:
                raise InvalidValueError(
                    f"{name!r} is both fixed under params and derived; drop one of them "
                    f"(derive.{name}=null removes the derived one)."
                )
        given = {*grid.params, *grid.derive, *self.axes}
        missing = [s.name for s in self.specs.values() if not s.has_default and s.name not in given]
        if missing:
            raise InvalidValueError(
                f"{self.experiment.name} needs a value for {', '.join(missing)}; got none. "
                "Give it under params, axes or derive."
            )

    def _check_columns(self) -> None:
        """Axes that are no params become columns of exported tables, beside those of the rows."""
        metrics = {s.name for s in (*self.experiment.metrics, *self.experiment.arrays)}
        for name in (*self.axes, *self.grid.derive):
            if name in RESERVED or name in metrics or name in CONSTANTS:
                what = "a metric" if name in metrics else "a column every row has"
                what = "a constant in expressions" if name in CONSTANTS else what
                raise InvalidValueError(
                    f"The axis {name!r} is the name of {what}; call it otherwise."
                )
        extra = [n for n in (*self.axes, *self.grid.derive) if n not in self.specs]
        if pair := alike(extra, (*self.specs, *sorted(metrics), *sorted(RESERVED))):
            raise InvalidValueError(
                f"The axis {pair[1]!r} and {pair[0]!r} are one name to SQL; call it otherwise."
            )

    def _is_used(self, name: str) -> bool:
        texts: Iterable[str] = (*self.grid.derive.values(), *self.grid.where)
        return any(name in Expression(text).names for text in texts)

    def points(self) -> Points:
        """Expand, derive and filter, cast, check.

        A filter is applied as soon as what it names is known, so that a derived field is computed
        at the points that stay and no others.
        """
        defaults = {
            s.name: _cell(s.default)
            for s in self.specs.values()
            if s.has_default and not s.is_tuple
        }
        fixed = {n: self.specs[n].cast(v) for n, v in self.grid.params.items()}
        self.known: dict[str, Any] = defaults
        self.known |= {n: _cell(v) for n, v in fixed.items() if not isinstance(v, tuple)}
        self.spanned: Columns = self.grid.expand()
        self.n = self.grid.n_points
        self.pending = [Expression(text) for text in self.grid.where]
        self._filter()
        for name, expression in derivation_order(self.grid.derive):
            self.spanned[name] = expression.evaluate({**self.known, **self.spanned}, self.n)
            self._filter()
        for expression in self.pending:  # names something that is nowhere: say so
            expression.evaluate({**self.known, **self.spanned}, self.n)
        params: Columns = {n: to_column([v] * self.n, self.specs[n]) for n, v in fixed.items()}
        extra: Columns = {}
        for name, column in self.spanned.items():
            if name in self.specs:
                params[name] = _cast_column(self.specs[name], column)
            else:
                extra[name] = column
        points = Points(params, extra, self.n)
        self._constrain(points)
        return points

    def _filter(self) -> None:
        """Apply the filters that can be applied by now."""
        derived = set(self.grid.derive) - set(self.spanned)
        waiting = []
        for expression in self.pending:
            columns = {**self.known, **self.spanned}
            names = set(expression.names)
            if names & derived or not names <= set(columns):
                waiting.append(expression)
                continue
            value = expression.holds(columns, self.n)
            self.spanned = {n: c[value] for n, c in self.spanned.items()}
            self.n = int(value.sum())
        self.pending = waiting

    def _constrain(self, points: Points) -> None:
        experiment = self.experiment
        if not points.n:
            return
        values: dict[str, Any] = {
            s.name: points.params.get(s.name, np.asarray(s.default))
            for s in experiment.params
            if s.name in points.params or (s.has_default and not s.is_tuple)
        }
        for text in experiment.constraints:
            expression = Expression(text)
            holds = np.asarray(expression.evaluate(values, points.n), dtype=bool)
            if not holds.all():
                i = int(np.argmin(holds))
                at = ", ".join(f"{m}={_at(values[m], i)}" for m in expression.names)
                raise InvalidValueError(
                    f"{experiment.name} requires {text}, which fails at "
                    f"{int((~holds).sum()):,} of {points.n:,} points; the first has {at}. "
                    "Change an axis, or exclude them with where."
                )
        if experiment.checks_itself:
            names = list(points.params)
            rows = zip(*(points.params[m].tolist() for m in names), strict=True)
            for row in rows:
                experiment.construct(dict(zip(names, row, strict=True)))


def derivation_order(derive: Mapping[str, str]) -> list[tuple[str, Expression]]:
    """The derived names with their expressions, each after those it reads.

    Raises InvalidValueError for a circle.
    """
    expressions = {name: Expression(text) for name, text in derive.items()}
    graph = {name: [m for m in e.names if m in expressions] for name, e in expressions.items()}
    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        loop = " -> ".join(reversed(error.args[1]))
        raise InvalidValueError(f"derive goes in a circle: {loop}. Break it.") from None
    return [(name, expressions[name]) for name in order]


def _cell(value: Any) -> np.ndarray:
    """One value as a 0-d column; None keeps its identity."""
    return np.asarray(value, dtype=object if value is None else None)


def _at(column: Any, i: int) -> Any:
    column = np.asarray(column)
    return column.item() if column.ndim == 0 else column[i]


def _cast_column(spec: FieldSpec, column: np.ndarray) -> np.ndarray:
    """Cast a whole column, checking each distinct value once."""
    if column.dtype == object:
        cast = {v: spec.cast(v) for v in dict.fromkeys(column.tolist())}
        return to_column([cast[v] for v in column.tolist()], spec)
    distinct, inverse = np.unique(column, return_inverse=True)
    cast_values = []
    for value in distinct.tolist():
        try:
            cast_values.append(spec.cast(value))
        except InvalidValueError as error:
            if spec.kind == "int" and isinstance(value, float):
                raise InvalidValueError(
                    f"{error} Wrap its expression in round(), floor() or ceil()."
                ) from None
            raise
    return to_column(cast_values, spec)[inverse]
