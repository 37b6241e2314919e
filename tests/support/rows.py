"""Rows of ``toys.toy`` as the committer makes them, and parts with them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pyarrow as pa
from toys import toy

from lawsweep.core.schema import MISSING, Field, FieldSpec
from lawsweep.store.table.parts import PART, encode, part_name

SPECTRUM = FieldSpec("spectrum", "array", True, False, None, MISSING, Field("eigenvalues"))
spectral = dataclasses.replace(toy, arrays=(SPECTRUM,))  # toy, with an array that may be missing


def row(run_id, status="ok", y=1.0, attempt=1, second=0, **more):
    """One row of ``toy``."""
    return {
        "run_id": run_id, "experiment": "toy", "version": 1, "n": 3, "scale": 1.0, "mode": "ok",
        "seed": 0, "status": status, "y": y if status == "ok" else None,
        "draws": 3 if status == "ok" else None, "wall_s": 0.5, "attempt": attempt,
        "device": "cpu", "host": "h", "n_threads": 1, "launch_id": "L",
        "started_at": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), **more,
    }  # fmt: skip


def write_part(table, rows):
    """One part of a table, as another writer would leave it; its name."""
    columns = [pa.array([r.get(f.name) for r in rows], type=f.type) for f in table.schema]
    data = encode(pa.Table.from_arrays(columns, schema=table.schema))
    name = part_name(data)
    table.folder.write(name, data)
    return name


def parts(folder):
    """Names of the parts in a folder."""
    return [n for n in folder.names() if PART.match(n)]
