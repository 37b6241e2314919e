from __future__ import annotations

import dataclasses
import math
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import parts, row, spectral, write_part
from toys import toy

from lawsweep.store.places.local import LocalFolder
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.upkeep import compact as compact_module
from lawsweep.store.upkeep.bits import row_classes, same_values
from lawsweep.store.upkeep.compact import compact, merge, remove_covered


def fill(root):
    """A table with a past: attempts, failures, NaN, repeats, an older schema, arrays."""
    table = ParquetTable(root / "tables", spectral)
    older = dataclasses.replace(toy, params=toy.params[:1])
    write_part(ParquetTable(root / "tables", older), [row("old1"), row("old2", y=math.nan)])
    write_part(table, [row("a", "failed", error="boom", traceback="t"), row("b", y=math.nan)])
    write_part(
        table, [row("a", y=-0.0, attempt=2, second=5), row("c", y=None), row("d", y=math.inf)]
    )
    write_part(table, [row("b", y=math.nan), row("c", y=None)])  # exactly what is there already
    write_part(table, [row("d", y=5.0, second=9), row("e", "infeasible", error="n > p")])
    write_part(ParquetTable(root / "tables", older), [row("old3"), row("old1", y=2.0, second=7)])
    for i in range(4):
        table.append([row(f"s{i}")], [{"spectrum": np.full((2, i), float(i))}])
    return table


def spell(table):
    return sorted(repr(r) for r in table.to_pylist())


def seen(table):
    """All that a reader sees: rows, what is known of runs, arrays; and which files it skips."""
    values = table.array_store.table("spectrum").values()
    return (
        spell(table.read()),
        sorted(table.done().items()),
        {k: (v.shape, v.tobytes()) for k, v in values.items()},
        table.skipped,
    )


def attempts(table):
    """Every attempt there is, each once, as written (also columns that are read no more).

    A param that an older part has not is its default, and what is null may be no column at all.
    """
    found = set()
    for name in parts(table.folder):
        for r in pq.read_table(table.folder.path / name).to_pylist():
            known = {"scale": 1.0, "mode": "ok", **r}
            found.add(repr(sorted((n, v) for n, v in known.items() if v is not None)))
    return found


@pytest.fixture
def table(tmp_path):
    return fill(tmp_path)


def test_reading_is_the_same_before_and_after(table):
    before, kept = seen(table), attempts(table)
    rows, spectra = compact(table)
    assert seen(table) == before
    assert attempts(table) == kept
    assert (rows.n_parts_before, rows.n_parts_after) == (10, 1)
    assert (spectra.n_parts_before, spectra.n_parts_after) == (4, 1)
    assert rows.n_duplicates_dropped == 2
    assert rows.n_rows_moved == len(kept)
    assert rows.bytes_after < rows.bytes_before
    assert not rows.skipped


def test_compacting_again_does_nothing(table):
    compact(table)
    before = {n: (table.folder.path / n).stat().st_mtime_ns for n in parts(table.folder)}
    (rows, _) = compact(table)
    assert (rows.n_rows_moved, rows.n_covered_removed) == (0, 0)
    assert {n: (table.folder.path / n).stat().st_mtime_ns for n in parts(table.folder)} == before


def test_an_empty_or_missing_table_is_no_error(tmp_path):
    (report,) = compact(ParquetTable(tmp_path / "tables", toy))
    assert (report.n_parts_before, report.n_parts_after) == (0, 0)
    assert not (tmp_path / "tables").exists()


def test_rows_are_sorted_so_that_a_row_group_tells_which_runs_it_holds(tmp_path, monkeypatch):
    table = ParquetTable(tmp_path / "tables", toy)
    ids = [f"{i:04x}" for i in range(512)]
    random.Random(0).shuffle(ids)
    for i in range(0, 512, 64):
        write_part(table, [row(r) for r in ids[i : i + 64]])
    monkeypatch.setattr("lawsweep.store.table.parts.ROW_GROUP", 128)
    compact(table)
    (name,) = parts(table.folder)
    metadata = pq.read_metadata(table.folder.path / name)
    groups = [metadata.row_group(i).column(0).statistics for i in range(metadata.num_row_groups)]
    assert [g.min for g in groups] == ["0000", "0080", "0100", "0180"]


def test_parts_are_bounded_in_rows_and_settled_ones_stay(tmp_path):
    table = ParquetTable(tmp_path / "tables", toy)
    for i in range(10):
        write_part(table, [row(f"{i}{j}") for j in range(10)])
    before = seen_rows(table)
    compact(table, target_rows=40)
    sizes = sorted(pq.read_metadata(table.folder.path / n).num_rows for n in parts(table.folder))
    assert sizes == [20, 40, 40]
    settled = parts(table.folder)
    compact(table, target_rows=40)
    assert parts(table.folder) == settled
    assert seen_rows(table) == before


def test_parts_are_bounded_in_bytes(tmp_path):
    table = ParquetTable(tmp_path / "tables", toy)
    for i in range(10):
        write_part(table, [row(f"{i}")])
    one = table.folder.size(parts(table.folder)[0])
    compact(table, target_bytes=3 * one)
    assert len(parts(table.folder)) == 4  # 3 + 3 + 3 + 1


def seen_rows(table):
    return spell(table.read())


def strange(table):
    """Files that are no business of a compaction."""
    folder = table.folder.path
    whole = (folder / parts(table.folder)[0]).read_bytes()
    (folder / "part-torn.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "part-empty.parquet").write_bytes(b"")
    (folder / "part-text.parquet").write_text("a stray note")
    (folder / "note.txt").write_text("mine")
    pq.write_table(pa.table({"x": [1]}), folder / "part-foreign.parquet")
    newer = table.schema.with_metadata({**table.schema.metadata, b"lawsweep.format": b"99"})
    pq.write_table(newer.empty_table(), folder / "part-newer.parquet")
    # A bit flipped on the disk: Parquet might read another number, and a compaction would then
    # write it under a digest that is right.
    damaged = bytearray(whole)
    damaged[10] ^= 1
    (folder / "part-0000000000000001-0123456789abcdef.parquet").write_bytes(bytes(damaged))
    (folder / "part-loop.parquet").symlink_to("part-loop.parquet")
    (folder / "part-folder.parquet").mkdir()
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and "18" not in p.name}


def test_torn_damaged_foreign_and_newer_files_are_left_alone_and_named(table):
    before = seen(table)[:3]
    left = strange(table)
    (rows, _) = compact(table)
    assert seen(table)[:3] == before
    assert {n: (table.folder.path / n).read_bytes() for n in left} == left
    damaged = "part-0000000000000001-0123456789abcdef.parquet"
    named = {f"part-{x}.parquet" for x in ("torn", "empty", "text", "foreign", "newer", "loop")}
    assert named - {"part-loop.parquet"} <= set(rows.skipped) <= named | {damaged}
    assert "what its name says" in rows.skipped[damaged]
    assert "newer lawsweep" in rows.skipped["part-newer.parquet"]


class Death(BaseException):
    """The process dies here."""


CALLS = ("names", "folders", "read", "open", "write", "delete", "size")
CHANGES = ("write", "delete")  # after any other call all is as it was before the next one


class Killer:
    """Dies at the ``at``-th call of a folder's method, before or after it does its work."""

    def __init__(self, monkeypatch, at, after):
        self.at, self.after, self.n, self.dead = at, after, 0, False
        self.lock = threading.Lock()
        for name in CHANGES if after else CALLS:
            monkeypatch.setattr(LocalFolder, name, self.wrap(getattr(LocalFolder, name)))

    def wrap(self, real):
        def call(folder, *args, **more):
            with self.lock:
                if self.dead:
                    raise Death  # nothing happens after death, in no thread
                here, self.n = self.n == self.at, self.n + 1
                self.dead = here
            if here and not self.after:
                raise Death
            found = real(folder, *args, **more)
            if here:
                raise Death
            return found

        return call


def left(root):
    """What is there, by name and size."""
    return frozenset((p.relative_to(root), p.stat().st_size) for p in root.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_it_may_die_at_any_call(tmp_path, monkeypatch, after):
    """Each call in turn is the last one; what is left is read, added to and compacted."""
    before, kept = (
        seen(fill(tmp_path / "first")),
        attempts(ParquetTable(tmp_path / "first" / "tables", spectral)),
    )
    deaths, met = 0, set()
    for at in range(1000):
        root = tmp_path / str(at)
        shutil.copytree(tmp_path / "first", root)
        table = ParquetTable(root / "tables", spectral)
        with monkeypatch.context() as patched:
            killer = Killer(patched, at, after)
            try:
                compact(table)
            except Death:
                deaths += 1
        fresh = ParquetTable(root / "tables", spectral)
        assert seen(fresh) == before, at
        assert attempts(fresh) == kept, at
        if not killer.dead:
            break
        if left(root) not in met:  # where it died at a reading call, it left what it found
            met.add(left(root))
            reports = compact(fresh)
            assert [r.n_parts_after for r in reports] == [1, 1], at
            assert seen(fresh) == before, at
            assert attempts(fresh) == kept, at
        shutil.rmtree(root)
    assert deaths == at > (15 if after else 50)


def test_what_an_interrupted_compaction_covered_is_removed_and_not_merged_again(table, monkeypatch):
    before = seen(table)
    with monkeypatch.context() as patched:
        patched.setattr(LocalFolder, "delete", lambda *_: (_ for _ in ()).throw(Death()))
        with pytest.raises(Death):
            compact(table)
    names = parts(table.folder)
    covered = remove_covered(table.folder, names, dry=True)
    made = {n for n in names if n.endswith("-compact.parquet")}
    assert len(made) == 1
    assert set(covered.values()) == made
    assert parts(table.folder) == names
    rows, _ = compact(table)
    assert rows.n_covered_removed == len(covered) > 1
    assert seen(table) == before


def test_a_damaged_compacted_part_covers_nothing(table, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(LocalFolder, "delete", lambda *_: (_ for _ in ()).throw(Death()))
        with pytest.raises(Death):
            compact(table)
    (made,) = [n for n in parts(table.folder) if n.endswith("-compact.parquet")]
    data = bytearray((table.folder.path / made).read_bytes())
    data[20] ^= 1
    (table.folder.path / made).write_bytes(bytes(data))
    assert remove_covered(table.folder, parts(table.folder), dry=False) == {}
    (rows, _) = compact(table)
    assert "what its name says" in rows.skipped[made]


LOOP = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.upkeep.compact import compact
from lawsweep.store.table.parquet import ParquetTable
from test_compact import spectral
left = int(sys.argv[2])
def wrap(real):
    def call(*args, **more):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)
    return call
for name in ("write", "delete"):
    setattr(LocalFolder, name, wrap(getattr(LocalFolder, name)))
compact(ParquetTable(Path(sys.argv[1]) / "tables", spectral))
"""


@pytest.mark.slow
def test_a_real_kill_loses_nothing(tmp_path):
    before = seen(fill(tmp_path / "first"))
    here = Path(__file__)
    source = LOOP.format(paths=[str(here.parent), str(here.parents[1] / "support")])
    for at in (1, 5):  # every moment has its test above
        root = tmp_path / str(at)
        shutil.copytree(tmp_path / "first", root)
        done = subprocess.run(
            [sys.executable, "-c", source, str(root), str(at)], capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        table = ParquetTable(root / "tables", spectral)
        assert seen(table) == before
        assert [r.n_parts_after for r in compact(table)] == [1, 1]
        assert seen(table) == before


def test_writers_readers_and_two_compactions_at_once_lose_nothing(tmp_path):
    table = ParquetTable(tmp_path / "tables", spectral)
    stop, counts, errors = threading.Event(), [], []

    def guarded(function):
        def run():
            try:
                function()
            except BaseException as error:
                errors.append(error)
                raise

        return threading.Thread(target=run)

    def writer(name):
        def write_all():
            own = ParquetTable(table.root, spectral)
            for i in range(60):
                own.append([row(f"{name}{i}")], [{"spectrum": np.full(3, float(i))}])

        return write_all

    def read():
        reader = ParquetTable(table.root, spectral)
        while not stop.is_set():
            rows = reader.read()
            values = reader.array_store.table("spectrum").values(rows)
            counts.append(rows.num_rows)
            # A row that is read was acknowledged: its array is there, now and later.
            assert set(values) == set(rows["run_id"].to_pylist())
            for run_id, value in values.items():
                assert value.tolist() == [float(run_id[1:])] * 3
            assert not reader.skipped

    def compacting():
        while not stop.is_set():
            assert all(not r.skipped for r in compact(ParquetTable(table.root, spectral)))

    writers = [guarded(writer(x)) for x in "ab"]
    others = [guarded(read), guarded(compacting), guarded(compacting)]
    for thread in (*others, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    time.sleep(0.1)
    stop.set()
    for thread in others:
        thread.join()
    assert not errors
    assert counts == sorted(counts)
    compact(table)
    assert table.read().num_rows == 120
    assert len(table.array_store.table("spectrum").values(table.read())) == 120
    assert len(parts(table.folder)) == 1


BITS = st.sampled_from([None, math.nan, 0.0, -0.0, 1.0, math.inf])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(BITS, BITS)))
def test_same_values_means_the_same_bits(pairs):
    left, right = (pa.array([p[i] for p in pairs], type=pa.float64()) for i in (0, 1))
    expected = [repr(a) == repr(b) for a, b in pairs]
    assert same_values(left, right).tolist() == expected
    real = pa.list_(pa.float64())
    lists = [pa.array([None if p[i] is None else [p[i]] for p in pairs], type=real) for i in (0, 1)]
    assert same_values(*lists).tolist() == expected
    for one, other in ((left, right), lists):
        classes = row_classes(pa.table({"v": pa.concat_arrays([one, other])}))
        assert (classes[: len(pairs)] == classes[len(pairs) :]).tolist() == expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(BITS, st.sampled_from(["x", "", None]), st.booleans()), max_size=12))
def test_rows_of_one_class_are_equal_and_others_are_not(rows):
    columns = [[r[i] for r in rows] for i in range(3)]
    kinds = [pa.float64(), pa.string(), pa.bool_()]
    table = pa.table({str(i): pa.array(columns[i], type=kinds[i]) for i in range(3)})
    classes = row_classes(table).tolist()
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            assert (classes[i] == classes[j]) == (repr(one) == repr(other))


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from("abc"),
        st.sampled_from(["ok", "failed"]),
        st.sampled_from([None, math.nan, 1.0, 2.0]),
        st.integers(1, 2),
        st.integers(0, 1),
    ),
    max_size=5,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(ROWS, max_size=5))
def test_any_history_reads_the_same_after_merging(tmp_path_factory, history):
    """Also where attempt and time agree and the values do not: the later part wins, as before."""
    table = ParquetTable(tmp_path_factory.mktemp("t") / "tables", toy)
    for rows in history:
        write_part(table, rows)
    before, kept = seen_rows(table), attempts(table)
    compact(table)
    assert seen_rows(table) == before
    assert attempts(table) == kept


def test_of_rows_that_tie_the_one_that_a_reader_takes_stays_the_same(tmp_path):
    """Same run, attempt and time: the later part wins, also where an earlier one says the same."""
    table = ParquetTable(tmp_path / "tables", toy)
    for y in (1.0, 2.0, 1.0):
        write_part(table, [row("a", y=y)])
    assert table.read()["y"].to_pylist() == [1.0]
    (report,) = compact(table)
    assert report.n_duplicates_dropped == 1
    assert table.read()["y"].to_pylist() == [1.0]


def test_a_compacted_part_stands_where_its_newest_source_stood(tmp_path):
    table = ParquetTable(tmp_path / "tables", toy)
    write_part(table, [row("a", y=1.0)])
    settled = write_part(table, [row("a", y=2.0), *(row(f"{i}") for i in range(50))])
    write_part(table, [row("a", y=3.0)])
    compact(table, target_rows=100)
    assert len(parts(table.folder)) == 2
    assert parts(table.folder)[0] == settled
    assert table.read(["a"])["y"].to_pylist() == [3.0]


def test_merging_drops_only_what_is_equal_in_every_bit(tmp_path):
    schema = ParquetTable(tmp_path, toy).schema

    def part(*rows):
        columns = [pa.array([r.get(f.name) for r in rows], type=f.type) for f in schema]
        return pa.Table.from_arrays(columns, schema=schema)

    one = row("a", y=0.0)
    merged, dropped = merge(
        [part(one, row("b", y=math.nan)), part(one, row("a", y=-0.0), row("b", y=math.nan)),
         part(row("a", y=0.0, host="other"))]
    )  # fmt: skip
    assert dropped == 2
    assert merged.num_rows == 4
    assert compact_module.TARGET_ROWS == 1_000_000


def widened(root, *, name="toy"):
    """A table whose metric was a whole number, then a float, and then got another beside it."""
    draws, y, last = toy.metrics[1], toy.metrics[0], toy.metrics[2]
    then = dataclasses.replace(toy, name=name, params=toy.params[:1], metrics=(y, draws))
    real = dataclasses.replace(draws, kind="float")
    now = dataclasses.replace(toy, name=name, metrics=(y, real, last))
    common = {"experiment": name, "y": 1.0}
    old = ParquetTable(root / "tables", then)
    write_part(old, [row("a" * 32, draws=2**53 + 1, **common), row("b" * 32, draws=4, **common)])
    table = ParquetTable(root / "tables", now)
    write_part(table, [row("c" * 32, draws=4.5, converged=False, scale=2.0, **common)])
    return table


def test_parts_of_one_run_each_get_one_schema_though_nothing_is_merged(tmp_path):
    table = widened(tmp_path)
    before = spell(table.read())
    for target_rows in (
        1,
        1,
        1_000_000,
        1_000_000,
    ):  # with 1 all are settled, and rewritten
        (report,) = compact(table, target_rows=target_rows)
        schemas = [pq.read_schema(table.folder.path / n) for n in parts(table.folder)]
        assert len(schemas) == (2 if target_rows == 1 else 1)
        assert len({s.remove_metadata().serialize().to_pybytes() for s in schemas}) == 1
        assert schemas[0].field("draws").type == pa.float64()
        assert spell(table.read()) == before
        query = f"SELECT draws, scale FROM '{table.folder}/*.parquet' ORDER BY run_id"
        # scale is a param that is newer than the first two rows
        assert duckdb.sql(query).fetchall() == [(2.0**53, 1.0), (4.0, 1.0), (4.5, 2.0)]
        assert not report.apart
    settled = parts(table.folder)
    compact(table)
    assert parts(table.folder) == settled


def test_a_part_that_cannot_have_the_schema_of_the_others_is_left_alone_and_named(tmp_path):
    table = widened(tmp_path)
    text = dataclasses.replace(toy.metrics[0], name="draws", kind="str")
    other = ParquetTable(tmp_path / "tables", dataclasses.replace(toy, metrics=(text,)))
    old = write_part(other, [row("e" * 32, draws="many")])
    (tmp_path / "tables/toy" / old).rename(tmp_path / "tables/toy" / f"part-0{old[6:]}")
    (report,) = compact(table)
    ((name, why),) = report.apart.items()
    assert why == "draws is string there and double in newer parts"
    assert sorted(parts(table.folder))[0] == name
    assert report.n_parts_after == 2
