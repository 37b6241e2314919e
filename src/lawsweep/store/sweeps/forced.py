"""Runs that somebody has asked for again, kept in the sweep's folder until all of them are made.

So a launch of them that was killed goes on, and does not start over: a run is done again when it
has more attempts than it had when it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.sweep_folder import read_plan
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.parts import SkippedPart, encode

NAME = "forced.parquet"
_ASKED = b"lawsweep.asked"


@dataclass(frozen=True)
class Forced:
    """What was asked for, as options; and how many attempts each of the runs had then."""

    asked: str
    n_attempts: Mapping[str, int]

    def write(self, folder: Folder) -> None:
        """Keep it.  Raises StoreError."""
        table = pa.table(
            {
                "run_id": pa.array(list(self.n_attempts), pa.string()),
                "n_attempts": pa.array(list(self.n_attempts.values()), pa.int64()),
            }
        )
        told = table.replace_schema_metadata({_ASKED: self.asked.encode()})
        folder.write(NAME, encode(told))


def read_forced(folder: Folder) -> Forced | None:
    """What is kept; None where nothing is, or nothing that can be read."""
    try:
        found = read_plan(folder, NAME, ["run_id", "n_attempts"])
    except (FileNotFoundError, SkippedPart):
        return None
    asked = (found.schema.metadata or {}).get(_ASKED, b"").decode(errors="replace")
    pairs = zip(found["run_id"].to_pylist(), found["n_attempts"].to_pylist(), strict=True)
    return Forced(asked, dict(pairs))


def end_forced(folder: Folder) -> None:
    """All are made: forget them.  Raises StoreError where that cannot be written."""
    folder.delete(NAME)


def attempts_of(table: ParquetTable, run_ids: Sequence[str]) -> dict[str, int]:
    """How many attempts the table has of each run; one that stands in two parts counts once."""
    rows = table.attempts(run_ids, ["attempt", "started_at"])
    rows = rows.select(["run_id", "attempt", "started_at"])
    once = rows.group_by(["run_id", "attempt", "started_at"]).aggregate([])
    counted = pc.value_counts(once["run_id"].combine_chunks())
    found = {c["values"]: c["counts"] for c in counted.to_pylist()}
    return {run_id: int(found.get(run_id, 0)) for run_id in run_ids}
