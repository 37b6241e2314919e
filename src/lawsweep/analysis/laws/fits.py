"""Exponents and coefficients of a sweep's table, with intervals and with what was left out.

Every law is fitted to one value per design point: the mean over its replicates of log y (power,
exponential) or of y (linear, terms).  The scatter of those means about the law holds the noise of
the draws and the law's lack of fit, and only the first shrinks when seeds are added.  Treating
each replicate as a point of its own would divide the lack of fit by the number of seeds too and
give an interval as narrow as one likes around a law that does not hold.  The price is n_points − p
degrees of freedom, however many rows there are.  Where the points share seeds, draws may move them
together along the law, which that scatter does not show: then the seeds' own laws are asked too
(``seed_spread``), and the wider interval is given.

Points weigh alike.  Where the noise grows with y, divide law and data by that growth (``y: gap *
n_target``, ``terms: [sqrt(n_target / input_dim), 1]``) rather than fit the large values alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.frames import Array, Columns, distinct, means
from lawsweep.analysis.laws.censored.marks import mark
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.fitted import Found, count
from lawsweep.analysis.laws.law import Law, Points
from lawsweep.analysis.laws.laws import find_law
from lawsweep.analysis.laws.points import within_seeds
from lawsweep.analysis.laws.results import FitResult
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    import pandas as pd

# A difference in missing fractions between the halves of x that is worth a warning, and the
# number of standard deviations of chance from which a smaller difference is too.
MISSING_GAP = 0.1
MISSING_SIGMAS = 3.0


def fit(frame: pd.DataFrame, spec: FitSpec) -> list[FitResult]:
    """Fit ``spec`` to each group of the tidy table; one result a group, in ascending order.

    A row counts where its status is ``ok``, ``converged`` is not False, and the numbers it gives
    are finite (and positive where a logarithm is taken); the others are counted by reason.
    Rows outside ``where`` are no part of the fit and are not counted.  A group that cannot be
    fitted has a ``reason`` and no parameters, and costs the others nothing.  Columns may be numpy
    or Arrow backed.

    Raises UnknownNameError for a column the frame lacks, InvalidValueError for an expression that
    cannot be computed of any group.
    """
    return fit_columns(Columns(frame), spec)


def fit_cells(cells: pd.DataFrame, spec: FitSpec) -> list[FitResult]:
    """``fit`` of the table of thresholds that a search found."""
    return fit_cell_columns(Columns(cells), spec)


def fit_cell_columns(columns: Columns, spec: FitSpec) -> list[FitResult]:
    """``fit_cells`` on columns that are converted already: by the law's own way, if it has one."""
    found = find_law(spec.law).fit_cells(columns, spec)
    return fit_columns(columns, spec) if found is None else [FitResult(**vars(f)) for f in found]


def fit_columns(columns: Columns, spec: FitSpec) -> list[FitResult]:
    """``fit`` on columns that are converted already."""
    groups = columns.groups(spec.by, columns.where(spec.where, f"{spec.name}.where"))
    results, errors = [], []
    for values, rows in groups:
        try:
            results.append(_fit_group(columns, spec, values, rows))
        except InvalidValueError as error:  # 3 // n where n is 0, in this group alone
            errors.append(error)
            lost: dict[str, Any] = {"n_points": 0, "n_rows": 0, "left_out": {}}
            results.append(FitResult(spec=spec, group=values, reason=str(error), **lost))
    if errors and len(errors) == len(results):
        raise errors[0]
    return results


@dataclass(frozen=True)
class _Data:
    """The rows of one group: regressors, response, why a row is not used ('' if it is), bounds."""

    inputs: Mapping[str, Array]  # expression -> values over the group's rows
    y: Array
    why: Array
    bound: Array

    @property
    def used(self) -> Array:
        return np.asarray(self.why == "")

    def left_out(self) -> dict[str, int]:
        return dict(Counter(sorted(w for w in self.why.tolist() if w)))


def _fit_group(
    columns: Columns, spec: FitSpec, values: Mapping[str, Any], rows: Array
) -> FitResult:
    law = find_law(spec.law)
    data = _read(columns, spec, law, rows)
    used = data.used
    point_of, firsts = _design_points({k: v[used] for k, v in data.inputs.items()}, int(used.sum()))
    replicates = np.log(data.y[used]) if law.of_logs(spec) else data.y[used]
    points = Points(
        inputs={k: v[used][firsts] for k, v in data.inputs.items()},
        y=means(replicates, point_of),
        replicates=replicates,
        point_of=point_of,
        seeds=_whole(columns["seed"][rows[used]]) if "seed" in columns else None,
        bound=data.bound[used] if data.bound[used].any() else None,
    )
    # A likelihood of bounds has the offsets of seeds of its own.
    sizes = law.offsets_of_seeds(spec, points) if points.bound is None else None
    points, apart = (points, 0.0) if sizes is None else within_seeds(points, sizes)
    found = law.solve(spec, points)
    if not isinstance(found, Found):
        raise InvalidValueError(f"solve of law {spec.law} must return Found, got {found!r}.")
    warnings = [*_scale_warnings(data), *_row_warnings(columns, spec, data, rows[used], point_of)]
    if apart:
        warnings.append(
            f"not every seed is at every point, and seeds differ by some {apart:.2g} times the "
            "noise: the offsets of seeds are taken out of the means of the points"
        )
    x = points.inputs[spec.x] if spec.x is not None else np.zeros(0)
    facts = {f.name: getattr(found, f.name) for f in fields(found) if f.name != "warnings"}
    return FitResult(
        spec=spec,
        group=values,
        n_points=len(points),
        n_rows=int(used.sum()),
        left_out=data.left_out(),
        x_range=(float(x.min()), float(x.max())) if len(x) else None,
        other_warnings=(*found.warnings, *warnings),
        points=points,
        **facts,
    )


def _whole(seeds: Array) -> Array:
    """Seeds as integers where a null elsewhere in the column has made floats of them."""
    if seeds.dtype.kind == "f" and np.all(np.isfinite(seeds)) and np.all(seeds == seeds.round()):
        return seeds.astype(np.int64)
    return seeds


def _read(columns: Columns, spec: FitSpec, law: Law, rows: Array) -> _Data:
    """Evaluate the spec's expressions: on good rows as they are, elsewhere where known."""
    status = columns.statuses(rows)
    ok = np.asarray(status == "ok")
    why = np.where(ok, "", status).astype(object)

    def read(text: str, what: str) -> Array:
        value = np.full(len(rows), np.nan)
        value[ok] = columns.numbers(text, rows[ok], what)
        value[~ok] = columns.numbers_where_known(text, rows[~ok], what)
        return value

    def leave_out(condition: Array, reason: str) -> None:
        why[(why == "") & condition] = reason

    inputs = {text: read(text, f"{spec.name}.{key}") for key, text in law.inputs(spec)}
    y = read(spec.y, f"{spec.name}.y")
    y, bound, both = mark(columns, spec, rows, y, read)
    stopped = columns.not_converged(rows)
    for text in (spec.censored, spec.censored_above):  # which say what a run that was stopped says
        if text is not None:
            stopped &= ~np.isin(rows, columns.where(text, spec.name))
    leave_out(stopped, "not converged")
    leave_out(both, "a bound to both sides")
    leave_out(~np.isfinite(y), "without a finite y")
    for value in inputs.values():
        leave_out(~np.isfinite(value), "without a finite x")
    positive = law.of_logs(spec) or not law.log_y
    for condition, reason in law.unusable(list(inputs.values()), y if positive else abs(y) + 1):
        leave_out(condition, reason)
    return _Data(inputs, y, why, bound)


def _design_points(inputs: Mapping[str, Array], n: int) -> tuple[Array, Array]:
    """Label of the design point of each row (equal in every input), and one row of each."""
    labels = np.zeros((n, max(len(inputs), 1)), dtype=np.int64)
    for k, value in enumerate(inputs.values()):
        labels[:, k] = distinct(value)[1]
    _, firsts, points = np.unique(labels, axis=0, return_index=True, return_inverse=True)
    return points.reshape(-1), firsts


def _scale_warnings(data: _Data) -> list[str]:
    """Warn where the rows left out gather at one end of x (or of a term): that biases a slope.

    Infeasible rows are not counted: such a point has no answer that could have been missed.
    """
    for text, value in data.inputs.items():
        known = np.isfinite(value) & (data.why != "infeasible")
        levels, labels = distinct(value[known])
        if len(levels) < 2:
            continue
        lost = ~data.used[known]
        upper = labels >= len(levels) / 2
        n_upper, n_lower = int(upper.sum()), int((~upper).sum())
        in_upper, in_lower = int(lost[upper].sum()), int(lost[~upper].sum())
        gap = in_upper / n_upper - in_lower / n_lower
        # Were the losses blind to x, in_upper would be about binomial(losses, share).
        share = n_upper / (n_upper + n_lower)
        losses = in_upper + in_lower
        sigma = np.sqrt(losses * share * (1 - share))
        if losses and (
            abs(gap) >= MISSING_GAP or abs(in_upper - losses * share) >= MISSING_SIGMAS * sigma
        ):
            return [
                f"rows left out go with scale: {in_upper} of {n_upper} in the upper half of "
                f"{text}, {in_lower} of {n_lower} in the lower; the fit may be biased"
            ]
    return []


def _row_warnings(
    columns: Columns, spec: FitSpec, data: _Data, rows: Array, points: Array
) -> list[str]:
    found = []
    n_negative = int(np.sum(data.why == "with y ≤ 0"))
    if n_negative and not len(rows):
        found.append(
            f"{spec.y} is ≤ 0 at {count(n_negative, 'row')} and > 0 at none; fit its negative, or "
            "give the floor that it is told down to"
        )
    elif n_negative:
        found.append(
            f"{count(n_negative, 'row')} with {spec.y} ≤ 0 left out for want of a logarithm; "
            "that raises the mean at their points"
        )
    if columns.mixes_settings(rows, points):
        found.append(
            "some design points hold one seed several times, so their means mix different "
            "settings; split them with by or where"
        )
    return found
