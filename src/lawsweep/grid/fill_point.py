"""One point at a time, completed and checked as the plan of a sweep completes its points.

For rows that come from elsewhere: what they do not say is what the sweep fixes or derives, else
the experiment's default, and never a default in place of an axis.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.core.experiment import Experiment
from lawsweep.core.expressions.expression import Expression
from lawsweep.grid.axes import Space, read_axes
from lawsweep.grid.grids import Grid, as_list
from lawsweep.grid.points import MAX_POINTS, derivation_order

# A derived float may have been written with fewer digits, or computed on another processor.
ROUNDING = 1e-9


@dataclass
class PointFiller:
    """Completes points of an experiment as a sweep with these params, axes and derive does."""

    experiment: Experiment
    params: Mapping[str, Any] = field(default_factory=dict)
    axes: Any = None
    derive: Mapping[str, Any] = field(default_factory=dict)
    where: Any = ()
    max_points: int = MAX_POINTS

    def __post_init__(self) -> None:
        self._specs = {s.name: s for s in self.experiment.params}
        base = Grid(
            params=dict(self.params),
            derive={str(k): str(v) for k, v in self.derive.items() if v is not None},
            where=as_list(self.where),
        )
        space = Space(self._specs, self.max_points)
        grids = [base.times(g) for g in read_axes(self.axes, self._specs).grids(space)]
        self._grids = [_OneGrid(self.experiment, grid) for grid in grids]

    @property
    def extra(self) -> list[str]:
        """Names of the axes and derived values that are no params."""
        named = (n for g in self._grids for n in (*g.axes, *g.grid.derive))
        return [n for n in dict.fromkeys(named) if n not in self._specs]

    def missing_axes(self, names: Collection[str]) -> list[str]:
        """Axes of every grid that are params and not among ``names``."""
        common = set.intersection(*({n for n in g.axes if n in self._specs} for g in self._grids))
        return [n for n in self._grids[0].axes if n in common and n not in names]

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All params of the point of which ``given`` are some, and values of ``extra``.

        Of a union, the grid whose own params, filters and derived values agree with what is given
        completes it.  Raises InvalidValueError where an axis is not given, where a given value is
        not the derived one, and where several grids would make different points of it.
        """
        unknown = set(given) - set(self._specs) - set(self.extra)
        if unknown:  # of the caller's own making: names are checked before values
            raise KeyError(f"neither params nor axes: {sorted(unknown)}")
        found: list[tuple[dict[str, Any], bool]] = []
        errors: list[LawsweepError] = []
        for grid in self._grids:
            try:
                found.append(grid.complete(given))
            except LawsweepError as error:
                errors.append(error)
        inside = [params for params, is_inside in found if is_inside]
        if errors and not inside:
            raise errors[0]
        points = inside or [params for params, _ in found]
        for other in points[1:]:
            if other != points[0]:
                names = [n for n in self._specs if other.get(n) != points[0].get(n)]
                raise InvalidValueError(
                    f"It fits several grids of the sweep, which give it different "
                    f"{', '.join(names)}. Say which, in a column of that name."
                )
        return points[0]


class _OneGrid:
    """One grid of a sweep: its fixed params, axes, and expressions in the order to compute."""

    def __init__(self, experiment: Experiment, grid: Grid):
        self.grid, self._experiment = grid, experiment
        self._specs = {s.name: s for s in experiment.params}
        self.axes = [n for block in grid.blocks for n in block]
        self._fixed = {
            n: self._specs[n].cast(v) for n, v in grid.params.items() if n in self._specs
        }
        self._derived = derivation_order(grid.derive)
        self._where = [Expression(text) for text in grid.where]

    def complete(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """The params, and whether the grid itself has such a point, as far as can be told."""
        for name in self.axes:
            if name in self._specs and name not in given:
                raise InvalidValueError(
                    f"{name} is an axis of the sweep, and is not given. Give it, or pin it with "
                    f"params.{name}=VALUE."
                )
        params = self._experiment.with_defaults({**self._fixed, **given})
        params |= dict(self._derive(params, given))
        is_inside = all(given.get(n, value) == value for n, value in self._fixed.items())
        is_inside = is_inside and all(self._holds(e, params) for e in self._where)
        return {n: v for n, v in params.items() if n in self._specs}, is_inside

    @staticmethod
    def _holds(condition: Expression, params: Mapping[str, Any]) -> bool:
        """Whether a filter leaves the point; one that cannot be computed here does not say no."""
        try:
            return bool(condition.evaluate_one(params))
        except LawsweepError:
            return True

    def _derive(
        self, params: Mapping[str, Any], given: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        known = dict(params)
        for name, expression in self._derived:
            unknown = [n for n in expression.names if n not in known]
            if unknown and name in given:
                continue  # what it is derived from is not here, and cannot be compared with
            if unknown and name not in self._specs:
                continue
            if unknown:
                raise InvalidValueError(
                    f"{name} is derived ({expression.text}), and {unknown[0]} is not given. Give "
                    f"{unknown[0]} or {name}."
                )
            value = expression.evaluate_one(known)
            if name in self._specs:
                value = self._specs[name].cast(value)
            if name in given and not _agree(given[name], value):
                raise InvalidValueError(
                    f"{name} is {given[name]!r}, and the sweep derives {value!r} ({name}: "
                    f"{expression.text}). Correct it, or leave the column out."
                )
            known[name] = value
            yield name, value


def _agree(given: Any, derived: Any) -> bool:
    if isinstance(given, float) or (isinstance(derived, float) and isinstance(given, int)):
        if isinstance(derived, str) or derived is None:
            return False
        return bool(abs(given - derived) <= ROUNDING * abs(derived))
    return bool(given == derived)
