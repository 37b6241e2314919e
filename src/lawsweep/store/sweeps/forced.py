"""Runs that somebody has asked for again, kept in the sweep's folder until all of them are made.

So a launch of them that was killed goes on, and does not start over: a run is done again when it
has more attempts than it had when it was asked for.  What is asked for in other words is kept in
another file, and takes nothing from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.sweep_folder import read_plan
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.parts import SkippedPart, encode

_START, _END = "forced-", ".parquet"
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
        folder.write(_name(self.asked), encode(told))


def _name(asked: str) -> str:
    return f"{_START}{hashlib.blake2b(asked.encode(), digest_size=6).hexdigest()}{_END}"


def read_forced(folder: Folder, asked: str) -> Forced | None:
    """What is kept of what was asked for so; None where nothing is, or nothing that can be read."""
    found = _read(folder, _name(asked))
    return found if found is not None and found.asked == asked else None


def all_forced(folder: Folder) -> Iterator[Forced]:
    """All that is kept, by name."""
    for name in folder.names():
        if name.startswith(_START) and name.endswith(_END):
            found = _read(folder, name)
            if found is not None:
                yield found


def _read(folder: Folder, name: str) -> Forced | None:
    try:
        found = read_plan(folder, name, ["run_id", "n_attempts"])
    except (FileNotFoundError, SkippedPart):
        return None
    asked = (found.schema.metadata or {}).get(_ASKED, b"").decode(errors="replace")
    pairs = zip(found["run_id"].to_pylist(), found["n_attempts"].to_pylist(), strict=True)
    return Forced(asked, dict(pairs))


def end_forced(folder: Folder, asked: str) -> None:
    """All are made: forget them.  Raises StoreError where that cannot be written."""
    folder.delete(_name(asked))


def forget_runs(folder: Folder, run_ids: Collection[str]) -> None:
    """Runs whose rows are taken out are not to be made again, but missing.  Raises StoreError."""
    gone = set(run_ids)
    for kept in list(all_forced(folder)):
        left = {r: n for r, n in kept.n_attempts.items() if r not in gone}
        if not left:
            end_forced(folder, kept.asked)
        elif len(left) < len(kept.n_attempts):
            Forced(kept.asked, left).write(folder)


def attempts_of(table: ParquetTable, run_ids: Sequence[str]) -> dict[str, int]:
    """How many attempts the table has of each run; one that stands in two parts counts once."""
    rows = table.attempts(run_ids, ["attempt", "started_at"])
    rows = rows.select(["run_id", "attempt", "started_at"])
    once = rows.group_by(["run_id", "attempt", "started_at"]).aggregate([])
    counted = pc.value_counts(once["run_id"].combine_chunks())
    found = {c["values"]: c["counts"] for c in counted.to_pylist()}
    return {run_id: int(found.get(run_id, 0)) for run_id in run_ids}
