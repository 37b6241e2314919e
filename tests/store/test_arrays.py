from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lawsweep
from lawsweep import Array, Field, Sweep, experiment
from lawsweep.core.errors import StoreError, UnknownNameError
from lawsweep.store.arrays import arrays as arrays_module
from lawsweep.store.arrays import values as array_values
from lawsweep.store.arrays.arrays import ArrayTable, encode
from lawsweep.store.arrays.values import decode
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.table import part_writer
from lawsweep.store.table.parquet import ParquetTable


@dataclass(frozen=True, kw_only=True)
class Params:
    n: int


@dataclass(frozen=True, kw_only=True)
class Metrics:
    largest: float
    spectrum: Annotated[Array | None, Field("eigenvalues", unit="nat")]
    loss_curve: Array | None = None


@experiment(version=1)
def spectral(params: Params, seed: int) -> Metrics:
    """A few numbers and an array."""
    if params.n == 13:
        raise ValueError("an unlucky number")
    spectrum = np.arange(params.n, dtype=float) + seed
    return Metrics(largest=1.0, spectrum=None if params.n == 7 else spectrum)


def part_names(folder):
    return [n for n in folder.names() if n.startswith("part-")]


def row(run_id, second=0, attempt=1, status="ok"):
    return {
        "run_id": run_id, "experiment": "spectral", "version": 1, "n": 3, "seed": 0,
        "status": status, "largest": 1.0, "attempt": attempt,
        "started_at": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC),
    }  # fmt: skip


@pytest.fixture
def table(tmp_path):
    return ArrayTable(tmp_path / "arrays", spectral, "spectrum")


def same(a, b):
    """Equal to the last bit, NaN and the sign of zero included."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


SPECIAL = [
    np.array(math.pi), np.array(math.nan), np.zeros(0), np.zeros((0, 3)), np.zeros((2, 0, 4)),
    np.array([math.nan, math.inf, -math.inf, -0.0, 5e-324]), np.arange(24.0).reshape(2, 3, 4),
    np.ones((1, 1, 1, 1)),
]  # fmt: skip


def test_every_shape_and_value_comes_back_to_the_bit(table):
    names = [f"{i:02d}" for i in range(len(SPECIAL))]
    table.append([row(n) for n in names], SPECIAL)
    found = table.values()
    assert list(found) == names
    for name, array in zip(names, SPECIAL, strict=True):
        assert same(found[name], array), name
    found["06"][0] = 99.0  # a copy: what is stored, and what is read next, stays
    assert same(found["06"], SPECIAL[6])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        hnp.arrays(
            np.float64,
            hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
            elements=st.floats(),
        ),
        max_size=6,
    )
)
def test_coding_is_exact(values):
    schema = arrays_module.array_schema(spectral, "spectrum")
    keys = pa.table(
        {
            "run_id": [str(i) for i in range(len(values))],
            "attempt": pa.array([1] * len(values), type=pa.int64()),
            "started_at": pa.array([0] * len(values), type=pa.timestamp("us", tz="UTC")),
        }
    )
    data = arrays_module.parquet_bytes(encode(keys, values, schema))
    read = pq.read_table(pa.BufferReader(data))
    assert [same(decode(read, i), v) for i, v in enumerate(values)] == [True] * len(values)


def test_the_latest_attempt_wins_and_duplicates_are_harmless(table):
    table.append([row("a", 5, attempt=2), row("b", 5)], [np.array([2.0]), np.array([8.0])])
    table.append([row("a", 9, attempt=1), row("b", 7)], [np.array([1.0]), np.array([9.0])])
    data = table.folder.read(part_names(table.folder)[0])
    table.folder.write("part-copy.parquet", data)
    found = table.values()
    assert {k: v.tolist() for k, v in found.items()} == {"a": [2.0], "b": [9.0]}
    assert len(found) == 2


def test_a_value_belongs_to_the_row_of_its_own_attempt(tmp_path):
    rows = ParquetTable(tmp_path / "tables", spectral)
    rows.append([row("a", 1), row("b", 1)], [{"spectrum": np.ones(1)}, {"spectrum": np.ones(2)}])
    # A writer that died after the arrays and before the rows: nobody acknowledged these.
    rows.array_store.append([row("a", 2), row("c", 2)], [{"spectrum": np.zeros(1)}] * 2)
    rows.append([row("b", 3, attempt=2)], [None])  # the latest attempt gave none
    table = rows.array_store.table("spectrum")
    found = table.values(rows.read())
    assert {k: v.tolist() for k, v in found.items()} == {"a": [1.0]}
    assert sorted(table.values()) == ["a", "b", "c"]
    assert "c" not in found
    with pytest.raises(KeyError):
        found["c"]


def full_disk(patch, under):
    """No write below a folder of this name succeeds."""
    real = LocalFolder.write

    def write(self, name, data, **options):
        if under in self.path.parts:
            raise StoreError("no space")
        real(self, name, data, **options)

    patch.setattr(LocalFolder, "write", write)


def test_arrays_are_durable_before_the_rows_that_acknowledge_them(tmp_path, monkeypatch):
    rows = ParquetTable(tmp_path / "tables", spectral)
    full_disk(monkeypatch, "tables")
    with pytest.raises(StoreError):
        rows.append([row("a")], [{"spectrum": np.ones(2)}])
    assert list(rows.array_store.table("spectrum").values()) == ["a"]
    monkeypatch.undo()
    full_disk(monkeypatch, "arrays")
    with pytest.raises(StoreError):
        rows.append([row("b")], [{"spectrum": np.ones(2)}])
    assert rows.read().num_rows == 0


def test_what_is_durable_is_not_written_again_when_the_rows_are_tried_again(tmp_path, monkeypatch):
    rows = ParquetTable(tmp_path / "tables", spectral)
    batch = [row("a")], [{"spectrum": np.ones(2)}]
    with monkeypatch.context() as patched:
        full_disk(patched, "tables")
        for _ in range(3):
            with pytest.raises(StoreError):
                rows.append(*batch)
    rows.append(*batch)
    table = rows.array_store.table("spectrum")
    assert len(part_names(table.folder)) == 1
    assert list(table.values(rows.read())) == ["a"]


def test_each_array_has_a_folder_of_its_own(tmp_path):
    rows = ParquetTable(tmp_path / "tables", spectral)
    both = {"spectrum": np.ones(2), "loss_curve": np.ones((2, 2))}
    rows.append([row("a"), row("b"), row("c")], [both, {"loss_curve": np.zeros(1)}, None])
    folders = sorted(p.name for p in (tmp_path / "arrays" / "spectral").iterdir())
    assert folders == ["loss_curve", "spectrum"]
    assert sorted(rows.array_store.table("loss_curve").values()) == ["a", "b"]
    field = pq.read_schema(next((tmp_path / "arrays/spectral/spectrum").iterdir())).field("values")
    assert field.metadata == {**field.metadata, b"unit": b"nat", b"meaning": b"eigenvalues"}


def test_unknown_arrays_name_the_nearest(tmp_path):
    with pytest.raises(
        UnknownNameError, match=r"Unknown array 'spektrum'.*Did you mean 'spectrum'"
    ):
        ArrayTable(tmp_path, spectral, "spektrum")
    rows = ParquetTable(tmp_path / "tables", spectral)
    with pytest.raises(UnknownNameError, match="Unknown array 'other'"):
        rows.append([row("a")], [{"other": np.ones(1)}])
    with pytest.raises(ValueError, match="Expected one entry a row, got 1 for 2 rows"):
        rows.append([row("a"), row("b")], [{"spectrum": np.ones(1)}])


def test_torn_foreign_and_newer_parts_are_named_and_skipped(table):
    table.append([row("a")], [np.ones(3)])
    (name,) = part_names(table.folder)
    whole = table.folder.read(name)
    table.folder.write("part-torn.parquet", whole[: len(whole) // 2])
    table.folder.write("part-empty.parquet", b"")
    pq.write_table(pa.table({"x": [1]}), table.folder.path / "part-foreign.parquet")
    newer = table.schema.with_metadata({**table.schema.metadata, b"lawsweep.format": b"99"})
    pq.write_table(newer.empty_table(), table.folder.path / "part-newer.parquet")
    assert list(table.values()) == ["a"]
    assert set(table.skipped) == {
        f"part-{x}.parquet" for x in ("torn", "empty", "foreign", "newer")
    }
    assert "newer lawsweep (format 99)" in table.skipped["part-newer.parquet"]
    assert "not a part of this table" in table.skipped["part-foreign.parquet"]


def test_a_part_of_another_array_is_none_of_ours(table):
    other = ArrayTable(table.root, spectral, "loss_curve")
    other.append([row("a")], [np.ones(3)])
    (name,) = part_names(other.folder)
    table.folder.write(name, other.folder.read(name))
    assert len(table.values()) == 0
    assert table.skipped == {name: "not a part of this array"}


def test_values_are_read_when_they_are_asked_for(table, monkeypatch):
    monkeypatch.setattr(arrays_module, "GROUP_BYTES", 800)
    table.append([row(f"{i:02d}") for i in range(20)], [np.full(100, i) for i in range(20)])
    found = table.values()
    read = []
    real = pq.ParquetFile.read_row_group

    def counted(self, group, **more):
        read.append(group)
        return real(self, group, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    assert len(found) == 20
    assert "07" in found
    assert read == []
    assert found["07"].tolist() == [7.0] * 100
    assert found["07"].tolist() == [7.0] * 100
    assert read == [7]  # one row group, once
    assert [v[0] for v in found.values()] == list(range(20))
    assert sorted(read) == list(range(20))


def test_the_cache_is_bounded(table, monkeypatch):
    monkeypatch.setattr(arrays_module, "GROUP_BYTES", 800)
    monkeypatch.setattr(array_values, "CACHE_BYTES", 3000)
    table.append([row(f"{i:02d}") for i in range(20)], [np.full(100, i) for i in range(20)])
    found = table.values()
    for _ in range(2):
        assert [v[0] for v in found.values()] == list(range(20))
    assert found._held <= 3000
    assert sum(t.nbytes for t in found._cache.values()) == found._held


def test_large_appends_are_cut_into_parts(table, monkeypatch):
    monkeypatch.setattr(arrays_module, "PART_BYTES", 2000)
    values = [np.full(100, float(i)) for i in range(5)] + [np.full(1000, 5.0)]
    table.append([row(str(i)) for i in range(6)], values)
    assert len(part_names(table.folder)) == 4  # 2 + 2 + 1, and the one that is larger than a part
    assert all(same(table.values()[str(i)], v) for i, v in enumerate(values))


def test_many_appends_leave_few_parts(table):
    for i in range(100):
        table.append([row(f"{i:03d}")], [np.full(3, i)])
    assert len(part_names(table.folder)) <= 2 * part_writer.MERGE
    found = table.values()
    assert [found[f"{i:03d}"][0] for i in range(100)] == list(range(100))


def test_large_parts_are_not_merged(table, monkeypatch):
    monkeypatch.setattr(arrays_module, "MERGE_BYTES", 100)
    table = ArrayTable(table.root, table.experiment, table.name)
    for i in range(20):
        table.append([row(f"{i:02d}")], [np.full(3, i)])
    assert len(part_names(table.folder)) == 20


def test_a_mapping_follows_parts_that_were_merged_away(table):
    table.append([row("a")], [np.ones(3)])
    found = table.values()
    (old,) = part_names(table.folder)
    table.folder.write("part-new.parquet", table.folder.read(old))
    table.folder.delete(old)
    assert found["a"].tolist() == [1.0] * 3


def test_a_damaged_value_is_one_sentence_and_not_a_wrong_number(table):
    table.append([row("a")], [np.random.default_rng(0).standard_normal(5000)])
    (name,) = part_names(table.folder)
    found = table.values()
    data = bytearray(table.folder.read(name))
    data[len(data) // 2] ^= 0xFF
    table.folder.write(name, bytes(data))
    with pytest.raises(StoreError, match="The file is damaged: put a copy of it back"):
        found["a"]


def test_two_writers_and_a_reader_at_once(table):
    stop, seen = threading.Event(), []

    def write(name):
        own = ArrayTable(table.root, spectral, "spectrum")
        for i in range(40):
            own.append([row(f"{name}{i}")], [np.full(4, i)])

    def read():
        while not stop.is_set():
            found = ArrayTable(table.root, spectral, "spectrum").values()
            seen.append(len(found))
            assert all(v[0] == int(k[1:]) for k, v in found.items())

    watcher = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(x,)) for x in "ab"]
    for thread in (watcher, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    watcher.join()
    assert seen == sorted(seen)
    assert len(table.values()) == 80


def test_a_sweep_with_arrays_end_to_end(folder):
    sweep = Sweep(
        name="s", experiment=spectral, axes={"n": [3, 7, 13]}, seeds=2,
        executor={"kind": "serial"}, results_dir="results",
    )  # fmt: skip
    lawsweep.run(sweep)
    frame = lawsweep.load(sweep).set_index("run_id")
    found = lawsweep.load_arrays(sweep, "spectrum")
    assert len(found) == 2  # n=7 has none, n=13 failed
    for run_id, values in found.items():
        expected = np.arange(frame.n[run_id], dtype=float) + frame.seed[run_id]
        assert same(values, expected)
    assert len(lawsweep.load_arrays(sweep, "loss_curve")) == 0
    with pytest.raises(UnknownNameError, match=r"Unknown array 'spectra'.*'spectrum'"):
        lawsweep.load_arrays(sweep, "spectra")
