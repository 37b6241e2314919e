"""Curves beside the rows: the points that runs reported, in ``results/curves/<experiment>``.

A part has the columns run_id, attempt, started_at, step and, in float64, the metrics that its
points have; a metric that a point lacks is missing, which NaN is not.  The first three are those of
the row of the same attempt.  Parts are immutable, named by their content and whole or absent, as
the rows' are; a point that stands in two parts (a merge that died, a write that was tried again) is
one point to every reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.core.during.curve import MOST_STEP
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.attempts import ATTEMPT
from lawsweep.store.table.part_writer import PartWriter
from lawsweep.store.table.parts import (
    ROW_GROUP,
    SkippedPart,
    check_experiment,
    conform,
    part_names,
    steady_look,
    use_part,
)
from lawsweep.store.table.plain import arrow
from lawsweep.store.table.reader import Wanted, read_columns
from lawsweep.store.table.schema import FORMAT

if TYPE_CHECKING:
    from lawsweep.core.outcome import CurvePoint

POINT = (*ATTEMPT, "step")  # what makes a point one
FOLDER = "curves"
MERGE_BYTES = 8 * 2**20  # of small parts of one writer that become one
PART_POINTS = 2**21  # in one table that is handed on
_KINDS = {
    "run_id": (pa.string(), "run the point belongs to"),
    "attempt": (pa.int64(), "attempt that reported it"),
    "started_at": (pa.timestamp("us", tz="UTC"), "when that attempt started"),
    "step": (pa.int64(), "step that was reported"),
}


def curve_schema(experiment: str, metrics: Sequence[str]) -> pa.Schema:
    """The columns of a part whose points have these metrics."""
    keys = [pa.field(n, t, metadata={"meaning": told}) for n, (t, told) in _KINDS.items()]
    return pa.schema(
        [*keys, *(pa.field(m, pa.float64()) for m in metrics)],
        metadata={
            "lawsweep.format": str(FORMAT),
            "lawsweep.experiment": experiment,
            "lawsweep.curves": "1",
        },
    )


def parquet_bytes(table: pa.Table) -> bytes:
    """A table of points as a Parquet file.  Its keys repeat, its values do not."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        row_group_size=ROW_GROUP,
        use_dictionary=list(ATTEMPT),
        write_page_checksum=True,  # a flipped bit makes a torn part, not another number
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


class CurveTable:
    """The points of all runs of an experiment, under the folder ``root`` of all curves.

    ``skipped`` names the files the last look passed over, each with its reason.
    """

    def __init__(self, root: Folder | Path | str, experiment: str):
        self.folder = (open_folder(root) / experiment).held()
        self.experiment, self.skipped = experiment, dict[str, str]()
        self._writer = PartWriter(self.folder, self._own, parquet_bytes, MERGE_BYTES)
        self._metrics: dict[str, None] = {}  # of all points written here

    def append(self, points: Sequence[CurvePoint]) -> None:
        """Write points as one part: durable when this returns.  Raises StoreError."""
        if not points:
            return
        names = dict.fromkeys(n for p in points for n in p.metrics)
        self._metrics |= names
        columns: list[Any] = [
            pa.array([getattr(p, n) for p in points], type=t) for n, (t, _) in _KINDS.items()
        ]
        columns += [pa.array([p.metrics.get(n) for p in points], type=pa.float64()) for n in names]
        schema = curve_schema(self.experiment, list(names))
        self._writer.write(parquet_bytes(pa.Table.from_arrays(columns, schema=schema)))
        self._writer.merge()

    def _own(self, name: str) -> pa.Table:
        """A part that was written here, with the columns of all of them, so that they can merge."""
        table = use_part(self.folder, name, read_columns)
        return conform(table, curve_schema(self.experiment, list(self._metrics)), {})

    def read(self, run_ids: Sequence[str] | None = None) -> pa.Table:
        """Every point of every attempt, of all runs or of some; sorted by run, attempt and step."""
        self.skipped = {}
        wanted = None if run_ids is None else Wanted(run_ids)
        found = steady_look(self.folder, lambda name: self._part(name, wanted))
        return tidy([t for t in found.values() if t is not None], self.experiment)

    def pieces(self, run_ids: Sequence[str]) -> Iterator[pa.Table]:
        """As ``read``, in tables of some PART_POINTS, a run's points in one or in several."""
        held: list[pa.Table] = []
        for name in part_names(self.folder):
            part = self._part(name, Wanted(run_ids))
            if part is None or not part.num_rows:
                continue
            if held and sum(t.num_rows for t in held) + part.num_rows > PART_POINTS:
                yield tidy(held, self.experiment)
                held = []
            held.append(part)
        if held:
            yield tidy(held, self.experiment)

    def _part(self, name: str, wanted: Wanted | None) -> pa.Table | None:
        """The points in a part; None, with the reason in ``skipped``, when it is none."""

        def points(file: pq.ParquetFile) -> pa.Table:
            check_curves(file.schema_arrow, self.experiment)
            table = read_columns(file, wanted=wanted)
            if any(table[n].null_count for n in POINT):
                raise SkippedPart("has points that do not say of which run and step they are")
            return table

        try:
            return use_part(self.folder, name, points)
        except SkippedPart as reason:
            self.skipped[name] = str(reason)
        return None


def check_curves(schema: pa.Schema, experiment: str) -> None:
    """Raise SkippedPart unless a schema is that of a part of the experiment's curves."""
    check_experiment(schema, experiment)
    if b"lawsweep.curves" not in (schema.metadata or {}):
        raise SkippedPart("not a part of curves")
    for field in schema:
        kind = _KINDS[field.name][0] if field.name in _KINDS else pa.float64()
        if field.type != kind:
            raise SkippedPart(f"{field.name} is {field.type}, expected {kind}")
    if missing := [n for n in _KINDS if n not in schema.names]:
        raise SkippedPart(f"has no {missing[0]}")


def tidy(parts: Sequence[pa.Table], experiment: str) -> pa.Table:
    """Points of several parts as one table: each once, sorted by run, attempt, start and step."""
    metrics = dict.fromkeys(n for t in parts for n in t.column_names if n not in _KINDS)
    schema = curve_schema(experiment, list(metrics))
    empty = pa.Table.from_batches([], schema=schema)
    table = pa.concat_tables([empty, *(conform(t, schema, {}) for t in parts)])
    order = pc.sort_indices(table, sort_keys=[(n, "ascending") for n in POINT])
    table = table.take(order)  # a stable sort: of a point that stands twice the newer comes last
    if table.num_rows < 2:
        return table
    again = np.ones(table.num_rows - 1, dtype=bool)
    for name in POINT:
        column = table[name].combine_chunks()
        if name == "run_id":
            column = column.dictionary_encode()
            column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            column = column.indices
        values = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
        again &= values[1:] == values[:-1]
    return table.filter(arrow(~np.append(again, False))) if again.any() else table


def standing(points: pa.Table, rows: pa.Table) -> pa.Table:
    """Of each run the points of the attempt whose row stands; of a run without a row, the latest's.

    Of a run that went on from a checkpoint also those of earlier attempts at steps before its own.
    ``rows`` has run_id, attempt and started_at, one row a run, and perhaps ``resumed``.
    """
    kinds = pa.schema([(n, _KINDS[n][0]) for n in ATTEMPT])
    kept = rows.select(ATTEMPT).cast(kinds).to_pylist()
    row_of = {r["run_id"]: (r["attempt"], r["started_at"]) for r in kept}
    went_on = set[str]()
    if "resumed" in rows.column_names:
        said = zip(row_of, rows["resumed"].to_pylist(), strict=True)
        went_on = {r for r, why in said if str(why).startswith("attempt")}
    there = points.group_by(list(ATTEMPT)).aggregate([("step", "min")]).to_pylist()
    ends: dict[tuple[Any, ...], int] = {}  # by run, attempt and start: the step that it is cut at
    known: dict[str, int] = {}  # the first step that is chosen, of runs that have some
    for one in sorted(there, key=lambda r: (r["started_at"], r["attempt"]), reverse=True):
        run_id, key = one["run_id"], (one["attempt"], one["started_at"])
        if run_id in known:
            if run_id not in went_on:
                continue
        elif row_of.get(run_id, key) != key:
            continue
        ends[(run_id, *key)] = known.get(run_id, MOST_STEP)
        known[run_id] = min(one["step_min"], ends[(run_id, *key)])
    if len(ends) == len(there) and len(known) == len(there):
        return points
    columns = zip(*ends, strict=True) if ends else ((), (), ())
    keys = pa.table(
        {n: pa.array(c, type=_KINDS[n][0]) for n, c in zip(ATTEMPT, columns, strict=True)}
    ).append_column("end", pa.array(ends.values(), type=pa.int64()))
    # The join carries places only, and keeps no order.
    at = points.select(POINT).append_column("place", pa.array(range(points.num_rows), pa.int64()))
    found = at.join(keys, list(ATTEMPT), join_type="inner")
    whole = pc.equal(found["end"], MOST_STEP)
    places = found.filter(pc.or_(whole, pc.less(found["step"], found["end"])))["place"]
    return points.take(places.take(pc.sort_indices(places)))


def curve_names(results: Folder) -> list[str]:
    """Names of the experiments whose runs have reported."""
    folder = results / FOLDER
    return [n for n in folder.folders() if part_names(folder / n)]
