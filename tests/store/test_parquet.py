from __future__ import annotations

import dataclasses
import math
import threading
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import pair, toy

from lawsweep.core.errors import IncompatibleTableError, StoreError
from lawsweep.store.parquet import MERGE, ParquetTable
from lawsweep.store.schema import table_schema


def row(run_id, status="ok", y=1.0, attempt=1, second=0, **more):
    return {
        "run_id": run_id, "experiment": "toy", "version": 1, "n": 3, "scale": 1.0, "mode": "ok",
        "seed": 0, "status": status, "y": y if status == "ok" else None,
        "draws": 3 if status == "ok" else None, "wall_s": 0.5, "attempt": attempt,
        "device": "cpu", "host": "h", "n_threads": 1, "launch_id": "L",
        "started_at": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), **more,
    }  # fmt: skip


@pytest.fixture
def table(tmp_path):
    return ParquetTable(tmp_path / "tables", toy)


def test_every_column_has_unit_and_meaning():
    for experiment in (toy, pair):
        for field in table_schema(experiment):
            assert field.metadata[b"meaning"], field.name
            assert field.metadata[b"unit"], field.name
    schema = table_schema(toy)
    assert schema.field("y").metadata[b"unit"] == b"m"
    assert schema.field("wall_s").metadata[b"unit"] == b"s"
    assert schema.metadata[b"lawsweep.format"] == b"1"


def test_a_batch_that_begins_with_a_failure_keeps_its_metrics(table):
    table.append([row("a", "failed", error="boom"), row("b", y=2.5)])
    found = table.read().to_pylist()
    assert [r["y"] for r in found] == [None, 2.5]
    assert [r["error"] for r in found] == ["boom", None]


def test_missing_nan_infinite_and_failed_differ(table):
    values = [None, math.nan, math.inf, -math.inf, 0.0]
    table.append([row(str(i), y=v) for i, v in enumerate(values)])
    got = table.read()["y"].to_pylist()
    assert got[0] is None
    assert math.isnan(got[1])
    assert got[2:] == [math.inf, -math.inf, 0.0]


def test_the_latest_success_wins(table):
    table.append([row("a", "failed", second=1), row("b", y=1.0, second=1)])
    table.append([row("a", y=7.0, attempt=2, second=2), row("b", y=2.0, second=5)])
    table.append([row("a", "oom", attempt=3, second=9), row("b", "failed", second=8)])
    got = {r["run_id"]: r for r in table.read().to_pylist()}
    assert (got["a"]["status"], got["a"]["y"], got["a"]["attempt"]) == ("ok", 7.0, 2)
    assert got["b"]["y"] == 2.0
    assert {k: d.status for k, d in table.done().items()} == {"a": "ok", "b": "ok"}


def test_rows_come_in_the_order_asked_for(table):
    table.append([row(x) for x in "abc"])
    assert table.read(["c", "zz", "a"])["run_id"].to_pylist() == ["c", "a"]
    assert set(table.done(["c", "zz"])) == {"c"}


def test_an_empty_table_reads_as_empty(table):
    assert table.read().num_rows == 0
    assert table.done() == {}
    table.append([])
    assert not table.folder.exists()


def test_torn_foreign_and_newer_files_are_named_and_skipped(table):
    table.append([row("a")])
    whole = table.parts()[0].read_bytes()
    (table.folder / "part-torn.parquet").write_bytes(whole[: len(whole) // 2])
    (table.folder / "part-empty.parquet").write_bytes(b"")
    (table.folder / "part-text.parquet").write_text("not parquet at all, a stray note")
    pq.write_table(pa.table({"x": [1]}), table.folder / "part-foreign.parquet")
    newer = table.schema.with_metadata({**table.schema.metadata, b"lawsweep.format": b"2"})
    pq.write_table(newer.empty_table(), table.folder / "part-newer.parquet")
    (table.folder / ".tmp-half").write_bytes(b"PAR1")
    assert table.read()["run_id"].to_pylist() == ["a"]
    strange = ("torn", "empty", "text", "foreign", "newer")
    assert set(table.skipped) == {f"part-{x}.parquet" for x in strange}
    assert "newer lawsweep" in table.skipped["part-newer.parquet"]
    assert "not a part of this table" in table.skipped["part-foreign.parquet"]


def test_a_table_of_a_newer_version_is_not_written(table):
    table.append([row("a")])
    newer = table.schema.with_metadata({**table.schema.metadata, b"lawsweep.format": b"2"})
    pq.write_table(newer.empty_table(), table.folder / "part-newer.parquet")
    with pytest.raises(IncompatibleTableError, match="format 2, this one writes 1"):
        table.check_writable()


def test_columns_of_another_type_are_named(table):
    table.append([row("a")])
    renamed = dataclasses.replace(toy.metrics[0], kind="str")
    other = dataclasses.replace(toy, metrics=(renamed, *toy.metrics[1:]))
    with pytest.raises(IncompatibleTableError, match="y is double there and string now"):
        ParquetTable(table.root, other).check_writable()


def test_a_default_changed_without_a_new_version_is_refused(table):
    table.append([row("a")])
    moved = dataclasses.replace(toy.params[1], default=2.0)
    changed = dataclasses.replace(toy, params=(toy.params[0], moved, *toy.params[2:]))
    with pytest.raises(IncompatibleTableError, match=r"scale was 1.0 and is 2.0.* Raise the versi"):
        ParquetTable(table.root, changed).check_writable()
    ParquetTable(table.root, dataclasses.replace(changed, version=2)).check_writable()


def test_older_parts_gain_new_columns_with_their_defaults(table):
    lean = dataclasses.replace(toy, params=toy.params[:1], metrics=toy.metrics[:1])
    ParquetTable(table.root, lean).append([row("old")])
    table.append([row("new", scale=3.0)])
    got = {r["run_id"]: r for r in table.read().to_pylist()}
    assert (got["old"]["scale"], got["old"]["draws"]) == (1.0, None)
    assert (got["new"]["scale"], got["new"]["draws"]) == (3.0, 3)
    assert not table.skipped


def test_whole_numbers_widen_to_floats(table):
    narrow = dataclasses.replace(
        toy, metrics=(dataclasses.replace(toy.metrics[0], kind="int"), *toy.metrics[1:])
    )
    ParquetTable(table.root, narrow).append([row("old", y=3)])
    assert table.read()["y"].to_pylist() == [3.0]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "tables").write_text("a file where the folder should be")
    table = ParquetTable(tmp_path / "tables", toy)
    for attempt in (table.check_writable, lambda: table.append([row("a")])):
        with pytest.raises(StoreError, match=r"Cannot write in .*tables.* results_dir") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_two_writers_and_a_reader_at_once(table):
    stop = threading.Event()
    seen: list[int] = []

    def write(name):
        for i in range(20):
            table.append([row(f"{name}{i}")])

    def read():
        reader = ParquetTable(table.root, toy)
        while not stop.is_set():
            seen.append(reader.read().num_rows)
            assert not reader.skipped

    watcher = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(x,)) for x in "ab"]
    for thread in (watcher, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    watcher.join()
    assert seen == sorted(seen)
    assert table.read().num_rows == 40


def test_a_long_launch_leaves_few_files(table):
    for i in range(300):
        table.append([row(f"{i:03d}")])
    assert len(table.parts()) <= 2 * MERGE + 1
    assert table.read()["run_id"].to_pylist() == sorted(f"{i:03d}" for i in range(300))


def test_a_reader_follows_parts_that_were_merged_away(table, monkeypatch):
    for i in range(3):
        table.append([row(f"{i}")])
    reader, real, left = ParquetTable(table.root, toy), ParquetTable.parts, [2]

    def stale(self):
        listed = real(self)
        left[0] -= 1
        return [*listed, self.folder / "part-gone.parquet"] if left[0] >= 0 else listed

    monkeypatch.setattr(ParquetTable, "parts", stale)
    assert reader.read().num_rows == 3


def test_reading_where_a_file_stands_is_an_error_and_not_an_empty_table(tmp_path):
    (tmp_path / "tables").write_text("a file")
    with pytest.raises(StoreError, match="Cannot read"):
        ParquetTable(tmp_path / "tables", toy).done()


def test_pandas_and_duckdb_read_it_without_us(table):
    import duckdb
    import pandas as pd

    table.append([row("a", y=math.nan), row("b", y=None), row("c", y=2.0)])
    frame = pd.read_parquet(table.folder)
    assert sorted(frame["run_id"]) == ["a", "b", "c"]
    pattern = f"{table.folder}/part-*.parquet"
    query = f"SELECT count(*), count(y), count(*) FILTER (isnan(y)) FROM '{pattern}'"
    assert duckdb.sql(query).fetchall() == [(3, 2, 1)]
