"""Read a sweep's rows: as a tidy table, one by one, and the large arrays beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError, UnknownNameError, unknown_name
from lawsweep.core.registry import experiment_at_hand
from lawsweep.grid.sweep import results_place
from lawsweep.study.code.lacking import tell_lacking
from lawsweep.study.code.rows import tell_other_rows
from lawsweep.study.opening import Opened

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


def rows(opened: Opened) -> pa.Table:
    """See ``Study.rows``."""
    from lawsweep.store.sweeps.skipping import tell_skipped

    known = opened.known
    if "tidy" not in vars(known):  # read now, and told of once
        _ = known.whole
        tell_skipped(known.table.folder, known.table.skipped)
        tell_other_rows(opened)
        tell_lacking(opened, known.whole)
    return known.tidy


def frame(opened: Opened, given: pd.DataFrame | None = None) -> pd.DataFrame:
    """See ``Study.frame``; a frame that a verb was given is returned as it is."""
    import pandas as pd

    if isinstance(given, pd.DataFrame):
        return given
    if given is not None:
        raise InvalidValueError(
            f"Expected a frame, as study.frame() makes it, got {given!r}. Overrides go to "
            "lawsweep.open."
        )
    made: pd.DataFrame = rows(opened).to_pandas(types_mapper=pd.ArrowDtype)
    return made


def arrays(opened: Opened, name: str) -> Mapping[str, np.ndarray]:
    """See ``Study.arrays``."""
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.skipping import tell_skipped

    experiment, table = opened.plan.experiment, opened.table
    names = [s.name for s in experiment.arrays]
    if name not in names:
        raise unknown_name("array", name, names, f"experiment {experiment.name}")
    rows = opened.known.keys
    kept = table.array_store.table(name)
    values = kept.values(rows.filter(pc.equal(rows["status"], "ok")))
    tell_skipped(table.folder, table.skipped)
    tell_skipped(kept.folder, kept.skipped)
    return values


def curves(opened: Opened) -> pd.DataFrame:
    """See ``Study.curves``."""
    import pandas as pd
    import pyarrow as pa

    from lawsweep.store.curves.curves import standing
    from lawsweep.store.sweeps.skipping import tell_skipped

    table, plan = opened.table.curve_table, opened.plan
    rows = opened.table.rows(plan.run_ids, ["resumed"])
    found = standing(table.read(plan.run_ids), rows)
    tell_skipped(table.folder, table.skipped)
    place = {run_id: i for i, run_id in enumerate(plan.run_ids)}
    order = pa.array([place[r] for r in found["run_id"].to_pylist()], type=pa.int64())
    found = found.append_column("place", order).sort_by(
        [("place", "ascending"), ("step", "ascending")]
    )
    made: pd.DataFrame = found.drop_columns(["place", "started_at"]).to_pandas(
        types_mapper=pd.ArrowDtype
    )
    return made


def show(run_id: str, results_dir: str | Path = "results") -> dict[str, Any]:
    """One row, whole, with its artefacts and its launch.

    ``run_id`` may be shortened to a unique beginning.
    """
    from lawsweep.store.curves.artefacts import Artefacts
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.sweeps.sweep_folder import find_launch
    from lawsweep.store.table.lookup import find_rows

    text = str(run_id).strip().lower()
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
    left = Artefacts(open_folder(results), row["experiment"]).of(row["run_id"])
    found = [{"name": a.name, "n_bytes": a.n_bytes, "where": f"{a.folder}/{a.name}"} for a in left]
    return {**row, "artefacts": found, "launch": find_launch(results, row["launch_id"])}
