"""Curves in the store: parts, readers, and the verbs that keep a table well."""

from __future__ import annotations

import errno
import math
import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from toys import toy

from lawsweep.core.errors import StoreError
from lawsweep.core.outcome import CurvePoint
from lawsweep.store.curves.curves import CurveTable, standing
from lawsweep.store.places import files
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.upkeep.compact import compact
from lawsweep.store.upkeep.gc import gc
from lawsweep.store.upkeep.verify import verify

START = datetime(2026, 1, 1, tzinfo=UTC)


def points(run, steps, attempt=1, second=0, **metrics):
    at = START + timedelta(seconds=second)
    return [CurvePoint(run, attempt, at, s, metrics or {"loss": s / 2}) for s in steps]


def row(run, attempt=1, second=0, status="ok"):
    return {
        "run_id": run, "experiment": "toy", "version": 1, "n": 3, "seed": 0, "status": status,
        "y": 1.0, "attempt": attempt, "started_at": START + timedelta(seconds=second),
    }  # fmt: skip


@pytest.fixture
def table(tmp_path):
    return ParquetTable(tmp_path / "tables", toy)


def plain(found):
    return [tuple(r.values()) for r in found.drop_columns(["started_at"]).to_pylist()]


def test_points_of_other_metrics_share_a_table_and_nan_is_not_missing(tmp_path):
    curves = CurveTable(tmp_path, "toy")
    curves.append(points("a", [0], loss=math.nan))
    curves.append([*points("b", [4], acc=1.0), *points("a", [3], loss=2.0)])
    curves.append([])
    found = curves.read().to_pylist()
    assert [(r["run_id"], r["step"]) for r in found] == [("a", 0), ("a", 3), ("b", 4)]
    assert math.isnan(found[0]["loss"])
    assert found[1]["loss"] == 2.0
    assert (found[0]["acc"], found[2]["acc"], found[2]["loss"]) == (None, 1.0, None)
    assert [r["step"] for r in curves.read(["b"]).to_pylist()] == [4]
    assert CurveTable(tmp_path, "none").read().num_rows == 0


def test_small_parts_are_merged_and_a_point_that_stands_twice_is_one(tmp_path):
    curves = CurveTable(tmp_path, "toy")
    for i in range(40):
        curves.append(points("a", [i], **{f"m{i % 3}": float(i)}))
    assert len(curves.folder.names()) < 12
    again = CurveTable(tmp_path, "toy")
    again.append(points("a", range(40), loss=5.0))
    found = again.read()
    assert found["step"].to_pylist() == list(range(40))
    assert found["loss"].to_pylist() == [5.0] * 40  # of two the newer


def test_torn_and_foreign_parts_are_named_and_the_others_read(tmp_path, table):
    curves = CurveTable(tmp_path / "curves", "toy")
    curves.append(points("a", [0, 1]))
    (name,) = curves.folder.names()
    whole = curves.folder.read(name)
    curves.folder.write("part-1.parquet", whole[:-20])
    table.append([row("a")])
    (part,) = table.parts()
    curves.folder.write("part-2.parquet", table.folder.read(part))
    assert curves.read().num_rows == 2
    assert sorted(curves.skipped) == ["part-1.parquet", "part-2.parquet"]
    assert "torn" in curves.skipped["part-1.parquet"]
    assert "not a part of curves" in curves.skipped["part-2.parquet"]


def test_the_attempt_whose_row_stands_is_shown_and_of_a_run_without_one_the_latest(tmp_path):
    def rows(*given):
        return pa.Table.from_pylist(list(given))

    curves = CurveTable(tmp_path, "toy")
    curves.append(points("a", [0, 1]) + points("a", [5], attempt=2, second=9))
    curves.append(points("b", [7]) + points("b", [8], second=3) + points("c", [1], second=1))
    read = curves.read()
    assert plain(standing(read, rows(row("a"), row("c", second=7)))) == [
        ("a", 1, 0, 0.0), ("a", 1, 1, 0.5), ("b", 1, 8, 4.0),
    ]  # fmt: skip
    assert plain(standing(read, rows(row("a", 2, 9))))[0] == ("a", 2, 5, 2.5)


def test_a_full_disk_loses_no_point_that_was_written(tmp_path, monkeypatch):
    curves = CurveTable(tmp_path, "toy")
    curves.append(points("a", [0]))

    def full(*given, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        curves.append(points("a", [1]))
    monkeypatch.undo()
    curves.append(points("a", [1]))
    assert curves.read()["step"].to_pylist() == [0, 1]


def test_compact_verify_and_gc_know_curves(tmp_path, table):
    table.append([row("a"), row("b", attempt=2, second=5)])
    for i in range(3):
        CurveTable(tmp_path / "curves", "toy").append(
            points("a", [i], **{f"m{i}": 1.0}) + points("b", [i], attempt=1)
        )
    before = table.curve_table.read()
    report = compact(table)[-1]
    assert report.folder.endswith("curves/toy")
    assert (report.n_parts_before, report.n_parts_after) == (3, 1)
    assert not report.skipped
    assert not report.apart
    assert table.curve_table.read().select(before.column_names).equals(before)
    said = {f.message for f in verify(table) if f.check == "curves"}
    assert "3 points of curves belong to rows (2 runs)" in said
    assert any(m.startswith("3 points of curves are of attempts without a row") for m in said)
    later = (tmp_path / "tables").stat().st_mtime + 100 * 3600
    found = gc(tmp_path, dry=False, now=lambda: later)
    assert [(r.kind, r.n, r.removed) for r in found] == [("values without rows", 3, True)]
    assert plain(table.curve_table.read().select(["run_id", "attempt", "started_at", "step"])) == [
        ("a", 1, 0), ("a", 1, 1), ("a", 1, 2),
    ]  # fmt: skip
    assert not [f for f in verify(table) if f.check == "curves" and f.severity != "ok"]


def test_a_bit_that_flipped_is_a_problem_that_verify_names(tmp_path, table):
    table.append([row("a")])
    table.append_curves(points("a", range(200)))
    folder = table.curve_table.folder
    (name,) = folder.names()
    data = bytearray(folder.read(name))
    data[len(data) // 3] ^= 1
    folder.write(name, bytes(data))
    said = [f.message for f in verify(table) if f.severity == "problem"]
    assert any(f"{folder}/{name}" in m for m in said)
