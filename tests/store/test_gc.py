from __future__ import annotations

import math
import os
import time

import numpy as np
import pytest
from rows import parts, row, spectral, write_part
from toys import toy

from lawsweep.grid.plan import make_plan
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.upkeep.compact import compact
from lawsweep.store.upkeep.gc import gc


def age(root, hours=2.0):
    then = time.time() - 3600 * hours
    for folder, _, names in os.walk(root):
        for name in names:
            os.utime(os.path.join(folder, name), (then, then))  # noqa: PTH118


def files(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


@pytest.fixture
def table(tmp_path):
    table = ParquetTable(tmp_path / "tables", spectral)
    table.append([row("a", y=math.nan), row("b")], [{"spectrum": np.ones(2)}, None])
    return table


def test_a_clean_folder_has_nothing_to_collect(table, tmp_path):
    age(tmp_path)
    assert gc(tmp_path, dry=False) == []
    assert gc(tmp_path / "nowhere", dry=False) == []


def test_temporary_files_and_dead_launches_go_when_they_are_old(table, tmp_path):
    sweep = SweepFolder(tmp_path / "sweeps" / "s")
    sweep.beat("L1", {"running": 1})
    sweep.write_launch("L1", {"command": "x"})
    left = ["tables/toy/.tmp-1", "arrays/toy/spectrum/.tmp-2", "sweeps/s/launches/.tmp-3",
            "sweeps/s/.tmp-4", ".tmp-5", "sweeps/s/launches/L1.live"]  # fmt: skip
    for name in left[:-1]:
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "notes.live").write_text("mine")  # no launch's
    before = files(tmp_path)
    assert gc(tmp_path, dry=False) == []  # a living writer may be at them
    age(tmp_path)
    listed = gc(tmp_path)
    assert files(tmp_path) == before  # dry: nothing happens
    assert sorted(r.where for r in listed) == sorted(str(tmp_path / n) for n in left)
    assert {r.kind for r in listed} == {"temporary", "dead launch"}
    assert not any(r.removed for r in listed)
    assert all(r.removed for r in gc(tmp_path, dry=False))
    assert set(before) - set(files(tmp_path)) == set(left)


def test_what_an_interrupted_compaction_left_goes(table, tmp_path, monkeypatch):
    write_part(table, [row("c")])
    before = table.read().sort_by("run_id")
    with monkeypatch.context() as patched:
        patched.setattr(LocalFolder, "delete", lambda *_: None)
        compact(table)
    assert len(parts(table.folder)) == 3
    age(tmp_path)
    listed = gc(tmp_path, dry=False)
    assert [(r.kind, r.removed) for r in listed] == [("covered", True)] * 2
    assert len(parts(table.folder)) == 1
    assert repr(table.read().sort_by("run_id").to_pylist()) == repr(before.to_pylist())


def test_a_part_whose_rows_are_elsewhere_goes_and_the_last_copy_stays(table, tmp_path):
    first = write_part(table, [row("x", y=math.nan), row("y")])
    write_part(table, [row("y"), row("x", y=math.nan)])
    write_part(table, [row("x", y=math.nan), row("y"), row("z")])
    almost = write_part(table, [row("x", y=math.nan), row("y", y=1.0000000000000002)])
    for _ in range(2):
        write_part(table, [row("w")])
    age(tmp_path)
    before = {repr(r) for r in table.attempts().to_pylist()}
    said = [r.where for r in gc(tmp_path)]
    listed = gc(tmp_path, dry=False)
    assert [r.kind for r in listed] == ["covered"] * 3
    assert said == [r.where for r in listed]
    assert first in listed[0].where
    assert {repr(r) for r in table.attempts().to_pylist()} == before
    assert almost in parts(table.folder)
    assert gc(tmp_path, dry=False) == []


def test_values_without_rows_go_and_those_with_rows_stay(table, tmp_path):
    array = table.array_store.table("spectrum")
    # One part holds a value that a row acknowledges, and one whose writer died.
    array.append([row("p", second=1), row("q", second=1)], [np.full(2, 3.0), np.full(2, 4.0)])
    write_part(table, [row("p", second=1)])
    array.append([row("r", second=2)], [np.full(2, 5.0)])
    assert gc(tmp_path, dry=False) == []  # its row may be on its way
    age(tmp_path)
    listed = gc(tmp_path)
    assert [(r.kind, r.n, r.removed) for r in listed] == [("values without rows", 1, False)] * 2
    assert len(array.values()) == 4
    assert all(r.removed for r in gc(tmp_path, dry=False))
    assert {k: v.tolist() for k, v in array.values().items()} == {"a": [1.0, 1.0], "p": [3.0, 3.0]}
    assert gc(tmp_path, dry=False) == []


@pytest.mark.parametrize("harm", ["torn", "moved"])
def test_values_stay_while_their_rows_may_be_in_a_file_that_cannot_be_read(table, tmp_path, harm):
    (name,) = parts(table.folder)
    if harm == "torn":
        table.folder.write(name, table.folder.read(name)[:100])
    else:
        (tmp_path / "tables").rename(tmp_path / "elsewhere")
    age(tmp_path)
    (found,) = gc(tmp_path, dry=False)
    assert (found.kind, found.removed) == ("values without rows", False)
    assert ("cannot be read" in found.kept) == (harm == "torn")
    assert list(table.array_store.table("spectrum").values()) == ["a"]


def test_rows_of_no_sweep_are_listed_when_asked_and_never_removed(table, tmp_path):
    plan = make_plan(toy, params={"n": 3})
    SweepFolder(tmp_path / "sweeps" / "s").freeze(plan, {}, "L1")
    write_part(table, [row(plan.run_ids[0])])
    age(tmp_path)
    before = files(tmp_path)
    assert gc(tmp_path, dry=False) == []
    (found,) = gc(tmp_path, dry=False, orphans=True)
    assert (found.kind, found.n, found.removed) == ("rows of no sweep", 2, False)
    assert "2 of 3 runs are in no plan" in found.message
    assert "never removed" in found.kept
    assert files(tmp_path) == before


def test_no_row_goes_whatever_dies_on_the_way(tmp_path, monkeypatch):
    """A death at each call in turn: rows, and values that have rows, are all there after it."""

    class Death(BaseException):
        pass

    for at in range(200):
        root = tmp_path / str(at)
        table = ParquetTable(root / "tables", spectral)
        table.append([row("a"), row("b")], [{"spectrum": np.ones(2)}, None])
        table.array_store.table("spectrum").append([row("a"), row("q")], [np.ones(2)] * 2)
        write_part(table, [row("a"), row("b"), row("c")])
        age(root)
        calls = [0]

        def dying(real, calls=calls, at=at):
            def call(*args, **more):
                calls[0] += 1
                if calls[0] > at:
                    raise Death
                return real(*args, **more)

            return call

        died = False
        with monkeypatch.context() as patched:
            for name in ("names", "read", "open", "write", "delete", "modified"):
                patched.setattr(LocalFolder, name, dying(getattr(LocalFolder, name)))
            try:
                gc(root, dry=False)
            except Death:
                died = True
        assert sorted(table.read()["run_id"].to_pylist()) == ["a", "b", "c"]
        assert set(table.array_store.table("spectrum").values(table.read())) == {"a"}
        if not died:
            break
    assert not died
    assert at > 20
