"""What a fit or figure says of params alone, computed while planning at the plan's own points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lawsweep.analysis.figures.kinds import find_kind
from lawsweep.analysis.figures.specs import FigureSpec
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.laws import find_law
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression
from lawsweep.grid.plan import Plan


def check_values(plan: Plan, spec: FitSpec | FigureSpec) -> None:
    """Raise InvalidValueError where a spec cannot be computed at any point of the plan.

    A ``where`` that leaves nothing, a division by zero, a whole number of more than 64 bits, an
    expression that is finite nowhere.  What reads a metric cannot be looked at before there is one,
    but for texts that no row says any more (``Field.aliases``).
    """
    _check_texts(plan, spec)
    columns: dict[str, Any] = {
        n: c for n, c in plan.over_points().items() if c.ndim or not isinstance(c.item(), tuple)
    }
    columns |= plan.extra
    n = plan.n_points
    if any("seed" in Expression(text).names for _, text in _read(spec, with_where=True)):
        columns = {
            k: c if c.ndim == 0 else np.repeat(c, len(plan.seeds)) for k, c in columns.items()
        }
        columns["seed"] = np.tile(plan.seeds, n)
        n *= len(plan.seeds)
    if spec.where is not None and set(Expression(spec.where).names) <= set(columns):
        within = Expression(spec.where).holds(columns, n, what=f"{spec.name}.where")
        if not within.any():
            raise InvalidValueError(
                f"{spec.name}.where ({spec.where}) leaves none of {n:,} points. Loosen it."
            )
        columns = {k: c if c.ndim == 0 else c[within] for k, c in columns.items()}
        n = int(within.sum())
    for key, text in _read(spec):
        expression = Expression(text)
        if not set(expression.names) <= set(columns):
            continue
        try:
            value = expression.evaluate(columns, n, finite=False, null_as_nan=True)
        except InvalidValueError as error:
            raise InvalidValueError(f"{spec.name}.{key}: {error}") from None
        if value.dtype.kind == "f" and not np.isfinite(value).any():
            raise InvalidValueError(
                f"{spec.name}.{key} ({expression.shown}) is a finite number at none of {n:,} "
                "points. Change it."
            )


def _check_texts(plan: Plan, spec: FitSpec | FigureSpec) -> None:
    for key, text in _read(spec, with_where=True):
        expression = Expression(text)
        for name, aliases in plan.experiment.aliases.items():
            for then in expression.texts & set(aliases) if name in expression.names else ():
                raise InvalidValueError(
                    f"{spec.name}.{key} asks for {name} {then!r}, which is {aliases[then]!r} in "
                    "every row by now. Write that."
                )


def _read(spec: FitSpec | FigureSpec, *, with_where: bool = False) -> Iterator[tuple[str, str]]:
    """The expressions of a spec over the columns, each with its key."""
    if isinstance(spec, FitSpec):
        yield from find_law(spec.law).expressions(spec)
    else:
        yield from find_kind(spec.kind).expressions(spec)
    if with_where and spec.where:
        yield "where", spec.where


def columns_read(spec: FitSpec | FigureSpec) -> set[str]:
    """The names of the columns that a spec reads, those it is grouped by too."""
    texts = [text for _, text in _read(spec, with_where=True)]
    texts += [text for text in [getattr(spec, "threshold", None)] if text]
    return {*spec.by, *(name for text in texts for name in Expression(text).names)}
