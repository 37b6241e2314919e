"""A fault at every step of a few appends with merges: nothing torn, lost or doubled.

Every write, fsync, close, rename, unlink and mkdir of the sequence fails in turn, or is where the
writer dies; besides, processes are killed for real at random moments.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time

import driver
import pytest
from rows import row
from toys import toy

from lawsweep.core.errors import StoreError
from lawsweep.store.table import part_writer
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.upkeep.compact import compact

N_APPENDS = 4  # by twos: two merges, and one of what they made
STEPS = ("write", "fsync", "close", "replace", "unlink", "mkdir")


class Death(BaseException):
    """The process is gone: nothing after this is done, no handler, no cleaning up."""


class Faults:
    """Counts the steps of the store on its files, and lets one of them go wrong.

    ``mode``: ``raise`` (not done, and reported), ``raise_after`` (done, but reported as failed),
    ``die`` (before it is done), ``die_half`` (half of the bytes are written), ``die_after``.
    """

    def __init__(self, monkeypatch, mode="", at=-1):
        self.mode, self.at, self.n, self.is_dead, self.is_on = mode, at, 0, False, False
        self.seen = []
        for step in STEPS:
            monkeypatch.setattr(os, step, self.wrap(step, getattr(os, step)))

    def wrap(self, step, real):
        def stepped(*given, **options):
            if not self.is_on:
                return real(*given, **options)
            if self.is_dead:
                raise Death
            self.n += 1
            self.seen.append(step)
            if self.n - 1 != self.at:
                return real(*given, **options)
            return self.fail(step, real, given, options)

        return stepped

    def fail(self, step, real, given, options):
        if self.mode == "die_half" and step == "write":
            real(given[0], given[1][: len(given[1]) // 2])
        if self.mode in ("raise_after", "die_after") or step == "close":
            real(*given, **options)  # after a failed close the handle is gone all the same
        if self.mode.startswith("die"):
            self.is_dead = True
            raise Death
        number = (errno.ENOSPC, errno.EIO, errno.ESTALE)[self.at % 3]
        raise OSError(number, os.strerror(number))

    def __enter__(self):
        self.is_on = True

    def __exit__(self, *_):
        self.is_on = False


def batch(k):
    return [row(f"{k:02d}-{i}", y=float(k + i)) for i in range(2)]


def write_all(root, faults):
    """Append batch after batch, again after an error as the runner does; the ones acknowledged."""
    table, acknowledged = ParquetTable(root, toy), []
    try:
        for k in range(N_APPENDS):
            with faults:
                try:
                    table.append(batch(k))
                except StoreError:
                    table.append(batch(k))
            acknowledged.append(k)
    except Death:
        pass
    return acknowledged


def check(root, acknowledged, attempted, where):
    """A fresh reader finds every acknowledged row once, as it was, and nothing torn."""
    table = ParquetTable(root, toy)
    rows = table.read().to_pylist()
    found = {r["run_id"]: r["y"] for r in rows}
    assert len(rows) == len(found), where
    assert not table.skipped, where
    wanted = {r["run_id"]: r["y"] for k in acknowledged for r in batch(k)}
    possible = {r["run_id"]: r["y"] for k in attempted for r in batch(k)}
    assert wanted.items() <= found.items() <= possible.items(), where


@pytest.fixture
def small_merges(monkeypatch):
    monkeypatch.setattr(part_writer, "MERGE", 2)


def steps_of(tmp_path):
    """The steps of the sequence when nothing goes wrong."""
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(patch)
        assert write_all(tmp_path / "whole", faults) == list(range(N_APPENDS))
    assert set(faults.seen) == set(STEPS)
    return faults.seen


def distinct_faults(mode, steps):
    """Where the mode is a fault of its own.

    Only a write can be half done; and death after a step is death before the next.
    """
    if mode == "die_half":
        return [at for at, step in enumerate(steps) if step == "write"]
    return [len(steps) - 1] if mode == "die_after" else list(range(len(steps)))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["raise", "raise_after", "die", "die_half", "die_after"])
def test_a_fault_at_every_step(tmp_path, small_merges, mode):
    steps = steps_of(tmp_path)
    assert len(steps) > 35
    for k, at in enumerate(distinct_faults(mode, steps)):
        root, where = tmp_path / f"{at}", f"{mode} at step {at}"
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, mode, at)
            acknowledged = write_all(root, faults)
        assert faults.n > at, where
        assert faults.seen[at] == steps[at], where
        where += f" ({steps[at]})"
        if mode.startswith("raise"):
            assert acknowledged == list(range(N_APPENDS)), where
        attempted = [*acknowledged, len(acknowledged)]
        check(root, acknowledged, attempted, where)
        if k % 3 == 0:  # what is left behind is no hindrance later on
            later = ParquetTable(root, toy)
            later.check_writable()
            for k in (20, 21):  # with a merge of its own
                later.append(batch(k))
            compact(ParquetTable(root, toy))
            check(root, [*acknowledged, 20, 21], [*attempted, 20, 21], where)


def test_a_step_that_was_done_and_reported_as_failed_doubles_nothing(tmp_path):
    """Where the answer to a rename or a sync was lost, the rows are in one part, not in two."""
    with pytest.MonkeyPatch.context() as patch:
        write_all(tmp_path / "whole", counted := Faults(patch))
    for at in range(counted.n):
        with pytest.MonkeyPatch.context() as patch:
            acknowledged = write_all(tmp_path / f"{at}", Faults(patch, "raise_after", at))
        assert len(ParquetTable(tmp_path / f"{at}", toy).parts()) == len(acknowledged) == N_APPENDS


N_KILLS = 15


@pytest.mark.slow
def test_processes_killed_at_random_moments(tmp_path):
    """One table, many writers; each is killed while it appends or merges."""
    chance, known, root = random.Random(5), set(), tmp_path / "tables"
    with driver.drivers() as ask:
        for i in range(N_KILLS):
            output = tmp_path / f"writer{i}.txt"
            output.touch()
            pid = ask("start", root, f"writer{i}", output, 100_000)
            while i % 3 and b"\n" not in output.read_bytes():  # some die in their first append
                time.sleep(0.002)
            time.sleep(chance.uniform(0.0, 0.2))
            assert ask("kill", pid) == signal.SIGKILL
            known |= driver.acknowledged([output])
            table = ParquetTable(root, toy)
            ids = table.read()["run_id"].to_pylist()
            assert len(ids) == len(set(ids))
            assert known <= set(ids), f"lost after kill {i}"
            assert not table.skipped
            if i % 6 == 5:  # else reading what all of them left takes the longest
                compact(table)
    ParquetTable(root, toy).append([row("last")])
    before = set(ParquetTable(root, toy).done())
    compact(ParquetTable(root, toy))
    assert set(ParquetTable(root, toy).done()) == before >= known
    assert len(known) > 40
