"""Read a sweep's rows: as a tidy table, fitted, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError, LawsweepError, UnknownNameError
from lawsweep.core.registry import experiment_at_hand
from lawsweep.grid.sweep import results_place
from lawsweep.study.code import tell_other_rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.results import FitResult
    from lawsweep.study.study import Study


def rows(study: Study) -> pa.Table:
    """See ``Study.rows``."""
    from lawsweep.store.sweeps.skipping import tell_skipped

    known = study.known
    if "tidy" not in vars(known):  # read now, and told of once
        _ = known.whole
        tell_skipped(known.table.folder, known.table.skipped)
        tell_other_rows(study)
    return known.tidy


def fit(study: Study, frame: pd.DataFrame | None = None) -> list[FitResult]:
    """See ``Study.fit``."""
    from lawsweep.analysis.laws.fits import fit as fit_one
    from lawsweep.analysis.laws.fits import fit_cells
    from lawsweep.analysis.laws.laws import parse_fits, reads_cells

    frame = study.frame() if frame is None else frame
    cells = cells_of(study)
    specs = parse_fits(list(study.sweep.fits), [*frame.columns, *cell_names(cells)])
    results = []
    for spec in specs:
        try:
            if cells is not None and reads_cells(spec, frame.columns):
                found = fit_cells(cells, spec)
            else:
                found = fit_one(frame, spec)
            _ = [law.summary() for law in found]  # one that cannot say what it found has nothing
        except (LawsweepError, ArithmeticError, ValueError) as error:  # costs the others nothing
            found = [_no_fit(spec, str(error))]
        except Exception as error:  # noqa: BLE001  (a law may be anybody's: the others stand)
            found = [_no_fit(spec, f"{type(error).__name__}: {error}")]
        reason = f"its where ({spec.where}) leaves no row; loosen it"
        results.extend(found or [_no_fit(spec, reason)])
    return results


def _no_fit(spec: FitSpec, reason: str) -> FitResult:
    from lawsweep.analysis.laws.results import FitResult

    return FitResult(spec=spec, group={}, n_points=0, n_rows=0, left_out={}, reason=reason)


def cells_of(study: Study) -> pd.DataFrame | None:
    """The thresholds of a search; None for an ordinary sweep."""
    return study.thresholds() if study.cells else None


def cell_names(cells: pd.DataFrame | None) -> list[str]:
    """Columns of the table of thresholds; none where there is none."""
    return [] if cells is None else [str(c) for c in cells.columns]


def show(run_id: str, results_dir: str | Path = "results") -> dict[str, Any]:
    """One row, whole, with its launch; ``run_id`` may be shortened to a unique beginning."""
    from lawsweep.store.sweeps.sweep_folder import find_launch
    from lawsweep.store.table.lookup import find_rows

    text = run_id.strip().lower()
    if len(text) < 4 or not all(c in "0123456789abcdef" for c in text):
        raise InvalidValueError(
            f"A run id is at least 4 hexadecimal digits, got {run_id!r}. "
            "lawsweep export lists them."
        )
    results = results_place(results_dir)
    rows = list(find_rows(results / "tables", text))
    if not rows:
        raise UnknownNameError(
            f"No row in {results_dir} has a run id that begins with {run_id!r}. "
            "lawsweep export lists them; results_dir=... looks elsewhere."
        )
    if len(rows) > 1:
        some = ", ".join(r["run_id"] for r in rows[:3])
        raise InvalidValueError(
            f"{len(rows)} runs begin with {run_id!r} ({some}, ...). Give more digits."
        )
    (row,) = rows
    if (experiment := experiment_at_hand(row["experiment"])) is not None:
        row = experiment.in_words_of_today(row)
    return {**row, "launch": find_launch(results, row["launch_id"])}
