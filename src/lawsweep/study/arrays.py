"""The large arrays of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lawsweep.core.errors import unknown_name

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.study.study import Study


def arrays(study: Study, name: str) -> Mapping[str, np.ndarray]:
    """See ``Study.arrays``."""
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.skipping import tell_skipped

    experiment, table = study.plan.experiment, study.table
    names = [s.name for s in experiment.arrays]
    if name not in names:
        raise unknown_name("array", name, names, f"experiment {experiment.name}")
    rows = study.known.keys
    kept = table.array_store.table(name)
    values = kept.values(rows.filter(pc.equal(rows["status"], "ok")))
    tell_skipped(table.folder, table.skipped)
    tell_skipped(kept.folder, kept.skipped)
    return values
