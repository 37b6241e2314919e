"""Reading by run id and column costs what it returns, and finds what a whole reading finds."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows import row, write_part
from toys import toy

from lawsweep.store.places.find import open_folder
from lawsweep.store.table import parts
from lawsweep.store.table.attempts import latest, latest_rows
from lawsweep.store.table.lookup import find_rows
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.plain import arrow
from lawsweep.store.table.tables import read_rows
from lawsweep.store.upkeep.compact import compact

N = 400
STATUSES = ("ok", "failed", "ok", "oom")


def ident(i):
    return hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest()


@pytest.fixture
def table(tmp_path, monkeypatch):
    """400 runs, some with further attempts, in parts of row groups of 50 rows."""
    monkeypatch.setattr(parts, "ROW_GROUP", 50)
    table = ParquetTable(tmp_path / "results" / "tables", toy)
    rows = [row(ident(i), STATUSES[i % 4], y=float(i), error=f"e{i}") for i in range(N)]
    rows += [
        row(ident(i), STATUSES[(i + 1) % 4], y=1000.0 + i, attempt=2, second=i % 60)
        for i in range(0, N, 3)
    ]
    rows += [row(ident(i), y=3000.0 + i, attempt=2, second=59 - i % 60) for i in range(0, N, 7)]
    random.Random(1).shuffle(rows)
    for k in range(0, len(rows), 100):
        write_part(table, rows[k : k + 100])
    return table


@pytest.fixture
def groups(monkeypatch):
    """Row groups that are read, each with its columns."""
    read = []

    def groups(self, row_groups, columns=None, **more):
        read.extend((g, None if columns is None else tuple(columns)) for g in row_groups)
        return whole(self, row_groups, columns=columns, **more)

    def group(self, i, columns=None, **more):
        read.append((i, tuple(columns)))
        return one(self, i, columns=columns, **more)

    whole, one = pq.ParquetFile.read_row_groups, pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", groups)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", group)
    return read


def by_hand(rows):
    """The attempt that counts of each run, as a person would choose it."""
    best = {}
    for r in rows:
        old = best.get(r["run_id"])
        rank = (r["status"] == "ok", r["attempt"], r["started_at"])
        if old is None or rank >= (old["status"] == "ok", old["attempt"], old["started_at"]):
            best[r["run_id"]] = r
    return best


@pytest.mark.parametrize("is_compact", [False, True])
@pytest.mark.parametrize("n", [0, 1, 5, 60, N])
def test_some_runs_are_read_as_the_whole_table_has_them(table, is_compact, n):
    if is_compact:
        compact(table)
    expected = by_hand(table.attempts().to_pylist())
    ids = [ident(i) for i in random.Random(n).sample(range(N), n)]
    found = table.read([*ids, ident("nobody's")])
    assert found["run_id"].to_pylist() == ids
    for r in found.to_pylist():
        assert r == expected[r["run_id"]]
    some = table.rows(ids, ["y"])
    assert set(some.column_names) == {"run_id", "status", "attempt", "started_at", "y"}
    assert {r["run_id"]: r["y"] for r in some.to_pylist()} == {r: expected[r]["y"] for r in ids}
    done = table.done(ids)
    assert {r: d.attempt for r, d in done.items()} == {r: expected[r]["attempt"] for r in ids}
    stranger = read_rows(open_folder(table.root).parent, "toy", ids)
    assert {r["run_id"]: r["y"] for r in stranger.to_pylist()} == {r: expected[r]["y"] for r in ids}


def test_every_way_to_say_which_attempt_counts_says_the_same(table):
    everything = table.attempts()
    expected = by_hand(everything.to_pylist())
    assert {r["run_id"]: r for r in latest(everything).to_pylist()} == expected
    assert {r["run_id"]: r for r in latest_rows(everything.to_pylist())} == expected
    for run in (ident(0), ident(21), ident(5)):
        assert [r["y"] for r in find_rows(table.root, run[:12])] == [expected[run]["y"]]


def test_few_runs_of_a_compacted_table_cost_few_row_groups(table, groups):
    compact(table)
    n_groups = sum(
        pq.ParquetFile(table.folder.path / name).metadata.num_row_groups for name in table.parts()
    )
    assert n_groups > 8
    groups.clear()
    assert table.read([ident(7)], ["y"]).num_rows == 1
    # One row group of each sorted run of rows can hold it: its ids first, then the columns.
    assert len(groups) == 2
    assert groups[0][1] == ("run_id",)
    assert "traceback" not in groups[1][1]
    groups.clear()
    assert table.read([ident("nobody's")]).num_rows == 0
    assert all(columns == ("run_id",) for _, columns in groups)
    groups.clear()
    assert len(list(find_rows(table.root, ident(7)[:10]))) == 1
    assert len(groups) == 2


def test_all_runs_are_read_at_once(table, groups):
    table.done([ident(i) for i in range(N)])
    assert groups
    assert all(columns != ("run_id",) for _, columns in groups)


def test_a_file_that_says_nothing_of_its_ids_is_read(table):
    whole = table.attempts()
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink, row_group_size=50, write_statistics=False)
    for name in table.parts():
        (table.folder.path / name).unlink()
    table.folder.write("part-0-0.parquet", sink.getvalue().to_pybytes())
    assert table.read([ident(3)])["run_id"].to_pylist() == [ident(3)]


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000])
def test_masks_and_places_are_what_pyarrow_makes_of_them(n):
    mask = np.random.default_rng(n).random(n) < 0.5
    assert arrow(mask).equals(pa.array(mask))
    places = np.flatnonzero(mask)
    assert arrow(places).equals(pa.array(places, pa.int64()))
    assert arrow(places[::2]).to_pylist() == places[::2].tolist()


def test_few_rows_are_read_without_pandas(table):
    code = (
        "import sys; from lawsweep.store.table.parquet import ParquetTable; from toys import toy\n"
        f"t = ParquetTable({str(table.root)!r}, toy); ids = [{ident(3)!r}, {ident(8)!r}]\n"
        "assert len(t.done(ids)) == 2; assert 'pandas' not in sys.modules"
    )
    support = str(Path(__file__).parents[1] / "support")
    environment = {**os.environ, "PYTHONPATH": support}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=environment)
