"""The large arrays of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lawsweep.core.errors import unknown_name
from lawsweep.grid.sweep import Sweep
from lawsweep.study.study import study

if TYPE_CHECKING:
    import numpy as np


def load_arrays(sweep: Sweep, name: str) -> Mapping[str, np.ndarray]:
    """Run id to array, for each run of the sweep whose row came with the array ``name``.

    Lazy: run ids are read now, values when they are asked for.  Arrays are float64 of any shape;
    a run that failed, or whose array was None, is not in the mapping.  Iterates in the order in
    which the values are stored.  Raises UnknownNameError for an array the experiment has not.
    """
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.skipping import tell_skipped

    opened = study(sweep)
    experiment, table = opened.plan.experiment, opened.table
    known = [s.name for s in experiment.arrays]
    if name not in known:
        raise unknown_name("array", name, known, f"experiment {experiment.name}")
    rows = table.read(opened.plan.run_ids)
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    arrays = table.array_store.table(name)
    values = arrays.values(rows)
    tell_skipped(table.folder, table.skipped)
    tell_skipped(arrays.folder, arrays.skipped)
    return values
