"""A sweep's fits, one result a group; what cannot be fitted costs the others nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep.core.errors import LawsweepError
from lawsweep.core.plugins import place_of
from lawsweep.sampling.samplers import fits_of
from lawsweep.study.opening import Opened
from lawsweep.study.reading.findings import cell_names, cells_of
from lawsweep.study.reading.rows import frame

if TYPE_CHECKING:
    import pandas as pd

    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.results import FitResult


def fit(opened: Opened, given: pd.DataFrame | None = None) -> list[FitResult]:
    """See ``Study.fit``."""
    from lawsweep.analysis.laws.fits import fit as fit_one
    from lawsweep.analysis.laws.fits import fit_cells
    from lawsweep.analysis.laws.laws import parse_fits, reads_cells

    rows = frame(opened, given)
    cells = cells_of(opened)
    specs = parse_fits(fits_of(opened.sweep), [*rows.columns, *cell_names(cells)])
    results = []
    for spec in specs:
        try:
            if cells is not None and reads_cells(spec, rows.columns):
                found = fit_cells(cells, spec)
            else:
                found = fit_one(rows, spec)
            _ = [law.summary() for law in found]  # one that cannot say what it found has nothing
        except (LawsweepError, ArithmeticError, ValueError) as error:  # costs the others nothing
            found = [_no_fit(spec, str(error))]
        except Exception as error:  # noqa: BLE001  (a law may be anybody's: the others stand)
            place = f" ({place})" if (place := place_of(error)) else ""
            found = [_no_fit(spec, f"law {spec.law}: {type(error).__name__}: {error}{place}")]
        where = f"its where ({spec.where}) leaves no row; loosen it"
        reason = "there is no row; run the sweep" if spec.where is None else where
        results.extend(found or [_no_fit(spec, reason)])
    return results


def _no_fit(spec: FitSpec, reason: str) -> FitResult:
    from lawsweep.analysis.laws.results import FitResult

    return FitResult(spec=spec, group={}, n_points=0, n_rows=0, left_out={}, reason=reason)
