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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lawsweep.analysis.frames import Array, Columns, distinct, means
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.local_slopes import LocalSlope, local_slopes
from lawsweep.analysis.laws.regress import (
    ROUNDING_ULPS,
    Curvature,
    Regression,
    curvature,
    least_squares,
)
from lawsweep.analysis.laws.results import FitResult, Parameter, count
from lawsweep.analysis.laws.seed_spread import seed_spread
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
    """The rows of one group: regressors, response, and why a row is not used ('' if it is)."""

    inputs: Mapping[str, Array]  # expression -> values over the group's rows
    y: Array
    why: Array

    @property
    def used(self) -> Array:
        return np.asarray(self.why == "")

    def left_out(self) -> dict[str, int]:
        return dict(Counter(sorted(w for w in self.why.tolist() if w)))


def _fit_group(
    columns: Columns, spec: FitSpec, values: Mapping[str, Any], rows: Array
) -> FitResult:
    data = _read(columns, spec, rows)
    used = data.used
    points, firsts = _design_points({k: v[used] for k, v in data.inputs.items()}, int(used.sum()))
    log_y = spec.law in ("power", "exponential")
    replicates = np.log(data.y[used]) if log_y else data.y[used]
    y = means(replicates, points)
    inputs = {k: v[used][firsts] for k, v in data.inputs.items()}
    seeds = columns["seed"][rows[used]] if "seed" in columns else None
    law = _law(spec, inputs, y, _Replicates(replicates, points, seeds))
    warnings = [*_scale_warnings(data), *_row_warnings(columns, spec, data, rows[used], points)]
    x = inputs[spec.x] if spec.x is not None else np.zeros(0)
    solution = law.solution
    local: tuple[LocalSlope, ...] = ()
    if spec.local and len(x) > 1:
        v = np.log(x) if spec.law == "power" else x
        local = local_slopes(x, v, replicates, points, spec.level)
    return FitResult(
        spec=spec,
        group=values,
        n_points=len(y),
        n_rows=int(used.sum()),
        left_out=data.left_out(),
        parameters=law.parameters,
        reason=law.reason,
        rms=solution.rms if law.parameters and solution else None,
        r2=solution.r2 if law.parameters and solution else None,
        condition=solution.condition if solution else None,
        curvature=law.bend,
        x_range=(float(x.min()), float(x.max())) if len(x) else None,
        other_warnings=(*law.unknown, *warnings),
        local=local,
        n_seeds=law.n_seeds,
    )


def _read(columns: Columns, spec: FitSpec, rows: Array) -> _Data:
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

    inputs = {t: read(t, f"{spec.name}.terms") for t in spec.terms}
    if spec.x is not None:
        inputs[spec.x] = read(spec.x, f"{spec.name}.x")
    y = read(spec.y, f"{spec.name}.y")
    leave_out(columns.not_converged(rows), "not converged")
    leave_out(~np.isfinite(y), "without a finite y")
    for value in inputs.values():
        leave_out(~np.isfinite(value), "without a finite x")
    if spec.law in ("power", "exponential"):
        leave_out(y <= 0, "with y ≤ 0")
    if spec.law == "power" and spec.x is not None:
        leave_out(inputs[spec.x] <= 0, "with x ≤ 0")
    return _Data(inputs, y, why)


def _design_points(inputs: Mapping[str, Array], n: int) -> tuple[Array, Array]:
    """Label of the design point of each row (equal in every input), and one row of each."""
    labels = np.zeros((n, max(len(inputs), 1)), dtype=np.int64)
    for k, value in enumerate(inputs.values()):
        labels[:, k] = distinct(value)[1]
    _, firsts, points = np.unique(labels, axis=0, return_index=True, return_inverse=True)
    return points.reshape(-1), firsts


@dataclass(frozen=True)
class _Law:
    parameters: tuple[Parameter, ...] = ()
    reason: str | None = None
    solution: Regression | None = None
    bend: Curvature | None = None
    n_seeds: int | None = None  # whose own laws give the interval, where they do
    unknown: tuple[str, ...] = ()


class _Replicates(NamedTuple):
    """The response, design point and (where it is known) seed of each row."""

    y: Array
    points: Array
    seeds: Array | None


def _law(spec: FitSpec, inputs: Mapping[str, Array], y: Array, rows: _Replicates) -> _Law:
    """Fit the law to design points; y is already log y where the law asks for it."""
    if spec.law == "terms":
        design, names = np.stack([inputs[t] for t in spec.terms], axis=1), spec.terms
    else:
        assert spec.x is not None
        v = np.log(inputs[spec.x]) if spec.law == "power" else inputs[spec.x]
        design = np.stack([np.ones_like(v), v], axis=1)
        names = {
            "power": ("C", "exponent"),
            "exponential": ("C", "rate"),
            "linear": ("intercept", "slope"),
        }[spec.law]
    need = len(names) + 1  # one more than parameters: without a residual there is no interval
    if len(y) < need:
        return _Law(reason=f"{len(y)} distinct points, {need} needed for an interval")
    solution = least_squares(design, y, spec.level)
    if solution.rank < len(names):
        return _Law(
            reason=f"the terms depend on each other at these points (rank {solution.rank} of "
            f"{len(names)}); drop a term or spread the points",
            solution=solution,
        )
    spread = seed_spread(design, rows.y, rows.points, rows.seeds, spec.level)
    scatter = solution.high - solution.coefficients
    half, n_seeds = scatter, None
    if spread is not None and spread.half is not None:
        half = np.maximum(scatter, spread.half)
        # Of data that the law fits to rounding, and every seed alike, both are rounding.
        n_seeds = spread.n_seeds if np.any(spread.half > scatter) and not _alike(rows) else None
    # log y = log C + …: the bounds of C are the exponentials of those of log C.
    transforms = [np.exp if name == "C" else float for name in names]
    parameters = tuple(
        Parameter(name, *(float(change(v)) for v in row))
        for name, change, row in zip(
            names,
            transforms,
            zip(
                solution.coefficients,
                solution.coefficients - half,
                solution.coefficients + half,
                strict=True,
            ),
            strict=True,
        )
    )
    bend = None if spec.law == "terms" else curvature(design[:, 1], y, solution)
    unknown = () if spread is None or not spread.unknown else (spread.unknown,)
    return _Law(parameters, None, solution, bend, n_seeds, unknown)


def _alike(rows: _Replicates) -> bool:
    """Whether the replicates of each point are one number, up to rounding."""
    apart = np.abs(rows.y - means(rows.y, rows.points)[rows.points])
    return bool(np.all(apart <= ROUNDING_ULPS * np.finfo(float).eps * np.max(np.abs(rows.y))))


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
            f"{spec.y} is ≤ 0 at {count(n_negative, 'row')} and > 0 at none; fit its negative"
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
