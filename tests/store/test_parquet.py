from __future__ import annotations

import dataclasses
import errno
import math
import os
import pickle
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows import row, spectral
from toys import pair, toy

from lawsweep.core.errors import IncompatibleTableError, StoreError
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.sweeps.skipping import SkippedFileWarning
from lawsweep.store.sweeps.sweep_folder import find_launch
from lawsweep.store.table import parquet, parts
from lawsweep.store.table.lookup import find_rows
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.part_writer import MERGE
from lawsweep.store.table.parts import encode, part_name
from lawsweep.store.table.plain import plain
from lawsweep.store.table.schema import table_schema
from lawsweep.store.table.tables import read_attempts
from lawsweep.store.upkeep.compact import compact
from lawsweep.tools.sql import sql


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
    assert not table.folder.path.exists()


def newer(schema, **more):
    return schema.with_metadata({**schema.metadata, b"lawsweep.format": b"2", **more})


def test_whatever_lies_in_the_folder_is_named_and_skipped(table, monkeypatch):
    table.append([row("a")])
    at = table.folder.path
    whole = (at / table.parts()[0]).read_bytes()
    (at / "part-torn.parquet").write_bytes(whole[: len(whole) // 2])
    (at / "part-empty.parquet").write_bytes(b"")
    (at / "part-text.parquet").write_text("not parquet at all, a stray note")
    pq.write_table(pa.table({"x": [1]}), at / "part-foreign.parquet")
    pq.write_table(newer(table.schema).empty_table(), at / "part-newer.parquet")
    pq.write_table(table_schema(pair).empty_table(), at / "part-other.parquet")
    keys = pa.schema([table.schema.field("run_id")], metadata=table.schema.metadata)
    pq.write_table(keys.empty_table(), at / "part-array.parquet")
    nobody = table.read().set_column(0, table.schema.field("run_id"), pa.nulls(1, pa.string()))
    pq.write_table(nobody, at / "part-nobody.parquet")
    (at / "part-folder.parquet").mkdir()
    (at / "part-loop.parquet").symlink_to(at / "part-loop.parquet")
    os.mkfifo(at / "part-pipe.parquet")
    (at / "part-closed.parquet").write_bytes(whole)
    real = pa.OSFile

    def opened(path, *mode):
        if "closed" in path:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *mode)

    monkeypatch.setattr(pa, "OSFile", opened)
    (at / ".tmp-half").write_bytes(b"PAR1")
    (at / ".nfs000123").write_bytes(b"PAR1")
    why = {
        "torn": "torn or not Parquet",
        "empty": "torn or not Parquet",
        "text": "torn or not Parquet",
        "foreign": "not a part of this table",
        "newer": "written by a newer lawsweep (format 2); it may hold rows",
        "other": "a part of the table of pair",
        "array": "not a part of this table",
        "nobody": "do not say which run",
        "folder": "a folder, not a file",
        "loop": "Too many levels of symbolic links",
        "pipe": "not a file",
        "closed": "Permission denied",
    }
    for look in (table.read, lambda: table.read(["a"]), table.done):
        assert len(look()) == 1
        assert set(table.skipped) == {f"part-{x}.parquet" for x in why}
        for name, reason in why.items():
            assert reason in table.skipped[f"part-{name}.parquet"]
    notes = table.notes()
    unseen = {"other", "nobody"}  # seen only when rows are read
    for name in why.keys() - unseen:
        assert any(f"skipped {table.folder}/part-{name}.parquet: " in n for n in notes)
    table.check_writable()
    table.append([row("b")])
    assert table.read()["run_id"].to_pylist() == ["a", "b"]


def test_a_part_of_a_newer_format_does_not_stop_a_run_but_a_newer_table_does(table):
    table.append([row("a")])
    folder = table.folder.path
    pq.write_table(newer(table.schema).empty_table(), folder / "part-newer.parquet")
    table.check_writable()
    assert "may hold rows" in "".join(table.notes())
    (folder / table.parts()[0]).unlink()
    with pytest.raises(IncompatibleTableError, match=r"newer lawsweep \(format 2\), in part-"):
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
    moved_default = dataclasses.replace(toy, params=(toy.params[0], moved, *toy.params[2:]))
    with pytest.raises(IncompatibleTableError, match=r"scale was 1.0 and is 2.0.* Raise the versi"):
        ParquetTable(table.root, moved_default).check_writable()
    ParquetTable(table.root, dataclasses.replace(moved_default, version=2)).check_writable()


def test_rows_of_a_namesake_are_told_apart_from_ones_own(table):
    """Two files may each have an experiment of one name: their runs have the same ids."""

    def toy_copied(params, seed):
        raise AssertionError("never called")

    table.append([row("a")])
    assert not table.notes()
    copied = dataclasses.replace(toy, function=toy_copied)
    (note,) = ParquetTable(table.root, copied).notes()
    assert "were made by toys:toy, and toy is " in note
    assert "call it otherwise" in note
    assert not ParquetTable(table.root, dataclasses.replace(copied, version=2)).notes()
    ParquetTable(table.root, copied).append([row("b")])
    compact(table)
    assert len(table.parts()) == 1  # names both
    assert len(ParquetTable(table.root, toy).notes()) == 1
    assert len(ParquetTable(table.root, copied).notes()) == 1


def test_what_a_notebook_ran_is_no_namesake_of_its_file(table, monkeypatch):
    monkeypatch.setattr(toy.function, "__module__", "__main__")
    table.append([row("a")])
    assert ParquetTable(table.root, toy).schema.metadata[b"lawsweep.function"] == b"__main__:toy"
    monkeypatch.undo()
    assert not ParquetTable(table.root, toy).notes()


def test_older_parts_gain_new_columns_with_their_defaults(table):
    lean = dataclasses.replace(toy, params=toy.params[:1], metrics=toy.metrics[:1])
    ParquetTable(table.root, lean).append([row("old")])
    table.append([row("new", scale=3.0)])
    got = {r["run_id"]: r for r in table.read().to_pylist()}
    assert (got["old"]["scale"], got["old"]["draws"]) == (1.0, None)
    assert (got["new"]["scale"], got["new"]["draws"]) == (3.0, 3)
    assert not table.skipped


def changed(experiment, metrics=(), params=(), **spec):
    """The experiment with another spec for the fields named."""
    return dataclasses.replace(
        experiment,
        metrics=tuple(
            dataclasses.replace(m, **spec) if m.name in metrics else m for m in experiment.metrics
        ),
        params=tuple(
            dataclasses.replace(p, **spec) if p.name in params else p for p in experiment.params
        ),
    )


def test_widened_types_are_read_together(table):
    """int to float, of a metric and of a list; required to optional needs nothing."""
    large = 2**53 + 1  # rounds to 2**53 as a float
    narrow = changed(changed(toy, metrics=["y"], kind="int"), metrics=["draws"], is_tuple=True)
    wide = changed(toy, metrics=["draws"], is_tuple=True, kind="float", optional=True)
    ParquetTable(table.root, narrow).append([row("old", y=large, draws=[1, 2])])
    now = ParquetTable(table.root, wide)
    now.check_writable()
    now.append([row("new", y=0.5, draws=None), row("mid", draws=[0.5])])
    got = {r["run_id"]: r for r in now.read().to_pylist()}
    assert got["old"]["y"] == 2.0**53
    assert [got[r]["draws"] for r in ("old", "new", "mid")] == [[1.0, 2.0], None, [0.5]]
    assert not now.skipped


def test_a_column_that_is_no_more_stays_in_its_file_and_is_named(table):
    table.append([row("old", y=2.0)])
    lean = ParquetTable(table.root, dataclasses.replace(toy, metrics=toy.metrics[1:]))
    lean.check_writable()
    lean.append([row("new")])
    assert lean.read()["run_id"].to_pylist() == ["old", "new"]
    assert "y" not in lean.read().column_names
    (note,) = lean.notes()
    assert note.startswith("the column y of 1 older parts is not one of toy's any more")
    assert table.read(["old"])["y"].to_pylist() == [2.0]


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


def test_large_parts_are_not_merged(table, monkeypatch):
    monkeypatch.setattr(parquet, "MERGE_BYTES", 10_000)
    table = ParquetTable(table.root, toy)
    for i in range(2 * MERGE + 1):
        table.append([row(f"{i:03d}")])
    assert len(table.parts()) == 2 * MERGE + 1


def test_a_merge_that_fails_is_no_failed_append_and_is_tried_again(table, monkeypatch):
    real, full = LocalFolder.write, [True]

    def write(self, name, data, **options):
        if full[0] and len(self.names()) >= MERGE:
            raise StoreError("full")
        real(self, name, data, **options)

    monkeypatch.setattr(LocalFolder, "write", write)
    for i in range(MERGE):
        table.append([row(f"{i:03d}")])
    assert len(table.parts()) == MERGE
    full[0] = False
    table.append([row("more")])
    assert len(table.parts()) == 1
    assert table.read().num_rows == MERGE + 1


def test_parts_compacted_by_somebody_else_are_left_to_them(table):
    for i in range(MERGE - 1):
        table.append([row(f"{i:03d}")])
    other = ParquetTable(table.root, toy)
    rows, old = other.read().to_pylist(), other.parts()
    other.append(rows)
    for name in old:
        other.folder.delete(name)
    table.append([row("last")])
    assert len(table.parts()) == 2
    assert table.read().num_rows == MERGE


def test_the_same_rows_again_after_a_failed_write_are_one_part(table, monkeypatch):
    real = LocalFolder.write

    def lost_answer(self, name, data, **options):
        real(self, name, data, **options)
        raise StoreError("no answer")

    monkeypatch.setattr(LocalFolder, "write", lost_answer)
    with pytest.raises(StoreError):
        table.append([row("a")])
    monkeypatch.undo()
    table.append([row("a")])
    assert len(table.parts()) == 1


def test_a_reader_follows_parts_that_were_merged_away(table, monkeypatch):
    for i in range(3):
        table.append([row(f"{i}")])
    reader, real, left = ParquetTable(table.root, toy), LocalFolder.names, [2]

    def stale(self):
        left[0] -= 1
        return [*real(self), "part-gone.parquet"] if left[0] >= 0 else real(self)

    monkeypatch.setattr(LocalFolder, "names", stale)
    assert reader.read().num_rows == 3
    left[0] = 2  # and the reader that does not know the experiment
    assert read_attempts(open_folder(reader.folder.path.parent.parent), "toy").num_rows == 3
    left[0] = 10**6
    with pytest.raises(StoreError, match="keep changing"):
        reader.read()


def test_a_file_that_another_machine_removed_is_looked_for_again(table, monkeypatch):
    table.append([row("a")])
    real, left = pq.ParquetFile.read, [1]

    def stale(self, **options):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(self, **options)

    monkeypatch.setattr(pq.ParquetFile, "read", stale)
    assert table.read().num_rows == 1
    assert left[0] < 0
    assert not table.skipped


def test_reading_where_a_file_stands_is_an_error_and_not_an_empty_table(tmp_path):
    (tmp_path / "tables").write_text("a file")
    with pytest.raises(StoreError, match="Cannot read"):
        ParquetTable(tmp_path / "tables", toy).done()


def test_pandas_and_duckdb_read_it_without_us(table):
    import duckdb
    import pandas as pd

    table.append([row("a", y=math.nan), row("b", y=None), row("c", y=2.0)])
    frame = pd.read_parquet(table.folder.path)
    assert sorted(frame["run_id"]) == ["a", "b", "c"]
    pattern = f"{table.folder}/part-*.parquet"
    query = f"SELECT count(*), count(y), count(*) FILTER (isnan(y)) FROM '{pattern}'"
    assert duckdb.sql(query).fetchall() == [(3, 2, 1)]


def test_texts_and_params_are_dictionaries_and_ids_and_metrics_plain(table):
    table.append([row(f"{i:032x}", y=float(i)) for i in range(100)])
    with pq.ParquetFile(table.folder.path / table.parts()[0]) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
        coded = {c.path_in_schema for c in columns if c.has_dictionary_page}
    assert {"experiment", "mode", "scale", "status", "device", "launch_id"} <= coded
    assert not {"run_id", "y", "wall_s", "started_at"} & coded


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, -(2**62)], pa.int64()),
        ([1.5, None, math.inf], pa.float64()),
        (["a", "b", "a"] * 9, pa.string()),
        ([f"{i}" for i in range(20)], pa.string()),
        (["a", None], pa.string()),
        ([True, None], pa.bool_()),
        ([[1], None], pa.list_(pa.int64())),
        ([], pa.int64()),
        ([], pa.string()),
    ],
)
def test_plain_values_are_pyarrows(values, kind):
    column = pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)])
    assert plain(column) == column.to_pylist() == values
    assert [type(v) for v in plain(column)] == [type(v) for v in values]


def test_a_part_is_split_into_row_groups(table, monkeypatch):
    monkeypatch.setattr(parts, "ROW_GROUP", 10)
    table.append([row(f"{i}") for i in range(25)])
    with pq.ParquetFile(table.folder.path / table.parts()[0]) as file:
        assert file.metadata.num_row_groups == 3


class Bomb:
    """What a pickle could do; it must not."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_nothing_in_a_part_is_ever_unpickled(table, tmp_path, monkeypatch):
    """An old pyarrow unpickled the extension types that a schema named."""
    monkeypatch.chdir(tmp_path)
    bomb = pickle.dumps(Bomb())
    table.append([row("a")])
    armed = table.read().schema
    for key in (b"ARROW:extension:metadata", b"pandas", b"lawsweep.defaults"):
        armed = armed.with_metadata({**armed.metadata, key: bomb})
    field = armed.field("y").with_metadata(
        {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": bomb}
    )
    armed = armed.set(armed.get_field_index("y"), field)
    table.folder.write("part-armed.parquet", parts.encode(table.read().cast(armed)))
    for look in (table.read, table.done, table.notes, table.check_writable):
        look()
    list(find_rows(tmp_path / "tables", "a"))
    assert not (tmp_path / "exploded").exists()
    pickle.loads(bomb)
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["../../evil", "/evil", "..", "a/b"])
def test_no_experiment_writes_outside_its_store(tmp_path, name):
    with pytest.raises(StoreError, match="outside the store"):
        ParquetTable(tmp_path / "tables", dataclasses.replace(toy, name=name))


def test_whatever_ids_a_file_holds_they_lead_nowhere(table, tmp_path):
    ids = ["../../../etc/passwd", "/etc/passwd", "a\x00b", ""]
    table.append([row(r, launch_id="../../secret") for r in ids])
    (tmp_path / "secret.json").write_text('{"secret": true}')
    (tmp_path / "sweeps" / "s" / "launches").mkdir(parents=True)
    assert sorted(table.done()) == sorted(ids)
    (found,) = find_rows(tmp_path / "tables", "../")
    assert find_launch(tmp_path, found["launch_id"]) is None
    files = [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.parts[0] for p in files} == {"tables", "secret.json"}


def test_the_row_of_an_id_is_found_without_the_experiment(table):
    table.append([row("abc1", "failed", second=1), row("abd", second=1)])
    table.append([row("abc1", y=7.0, attempt=2, second=2)])
    pq.write_table(pa.table({"run_id": ["abc9"]}), table.folder.path / "part-foreign.parquet")
    (table.folder.path / "part-torn.parquet").write_bytes(b"PAR1")
    with pytest.warns(SkippedFileWarning) as told:
        (found,) = find_rows(table.root, "abc")
    assert len(told) == 2
    assert (found["run_id"], found["status"], found["y"]) == ("abc1", "ok", 7.0)
    with pytest.warns(SkippedFileWarning):
        assert list(find_rows(table.root, "zz")) == []


def with_metric(name, kind="float"):
    """``toy`` with one more metric, which may be null."""
    more = dataclasses.replace(toy.metrics[0], name=name, kind=kind, optional=True)
    return dataclasses.replace(toy, metrics=(*toy.metrics, more))


@pytest.mark.parametrize("name", ["Toy", "TOY"])
def test_two_tables_whose_names_differ_in_case_are_refused(table, name):
    table.append([row("a" * 32)])
    with pytest.raises(IncompatibleTableError, match=f"the table toy, and toy and {name} are one"):
        ParquetTable(table.root, dataclasses.replace(toy, name=name)).check_writable()
    (table.root / name).mkdir()  # where the file system tells them apart, both are named
    with pytest.raises(IncompatibleTableError, match=f"the table {name}, and {name} and toy are"):
        table.check_writable()


def test_a_column_that_is_one_name_with_an_older_one_is_refused(table):
    older = ParquetTable(table.root, with_metric("Loss", "float"))
    older.append([row("a" * 32, Loss=1.0)])
    now = ParquetTable(table.root, with_metric("loss", "float"))
    with pytest.raises(IncompatibleTableError, match="column Loss, and Loss and loss are one name"):
        now.check_writable()


def test_an_array_that_is_one_name_with_an_older_one_is_refused(table):
    (table.folder.parent.parent / "arrays" / "toy").path.joinpath("Spectrum").mkdir(parents=True)
    with pytest.raises(IncompatibleTableError, match="the array Spectrum, and Spectrum and spect"):
        ParquetTable(table.root, spectral).check_writable()


@pytest.mark.parametrize(("name", "kind"), [("n_fused", "int"), ("blas", "float")])
def test_a_column_from_before_its_name_was_reserved_is_another_one(table, name, kind):
    """The field has been renamed since; its values are not what every row says of itself."""
    theirs = table_schema(with_metric("own", kind))
    place = theirs.get_field_index(name)
    then = theirs.remove(place)
    then = then.set(then.get_field_index("own"), then.field("own").with_name(name))
    values = row("a" * 32) | {name: 7}
    part = pa.Table.from_arrays([pa.array([values.get(f.name)], f.type) for f in then], schema=then)
    table.folder.write(part_name(encode(part)), encode(part))
    table.check_writable()
    assert table.read()[name].to_pylist() == [None]
    assert any(f"the column {name} of 1 older parts" in note for note in table.differences())
    table.append([row("b" * 32)])
    assert sql(f"SELECT {name} AS x FROM toy", table.root.parent)["x"].to_pylist() == [None, None]
