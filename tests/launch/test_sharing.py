"""Two launches of one sweep: each leaves to the other what that has done, and says so."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from toys import faulty

import lawsweep
from lawsweep.cli.main import run_command
from lawsweep.core.outcome import RunSpec
from lawsweep.executors.serial import SerialExecutor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.backlog import Backlog, Cut
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.loop import Loop
from lawsweep.launch.sharing import own_order
from lawsweep.remote import submitting
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.study.launch import beside
from lawsweep.worker.presence import RUNNING, is_dead, presence

SUPPORT = Path(__file__).parents[1] / "support"
SWEEP = """
experiment: toys:faulty
params: {pause_s: 0.05}
axes: {i: "range(0, 300, 1)"}
executor: serial
store: {commit_every_s: 0.2}
"""


@pytest.fixture
def slow(folder):
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "slow.yaml").write_text(SWEEP)
    return folder


def driver(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "lawsweep.cli.main", "run", "slow", "--no-analysis", *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def table_of(folder):
    return ParquetTable(folder / "results" / "tables", faulty)


def wait_for(condition, process, limit_s=120):
    end = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not come to it"
        time.sleep(0.05)


def test_two_drivers_of_one_sweep_share_it_and_the_second_says_so(slow):
    first = driver(slow)
    wait_for(lambda: len(table_of(slow).done()) > 3, first)
    second = driver(slow)
    told = [p.communicate(timeout=200) for p in (first, second)]
    assert [p.returncode for p in (first, second)] == [0, 0], told
    assert "this sweep is being run already: launch 2" in told[1][1]
    assert f"({presence()['by']}, since 20" in told[1][1]
    assert "being run already" not in told[0][1]
    rows = table_of(slow).attempts()
    n_by = Counter(rows["launch_id"].to_pylist())
    assert len(set(rows["run_id"].to_pylist())) == 300
    assert len(n_by) == 2
    assert min(n_by.values()) >= 20  # both worked,
    assert rows.num_rows <= 450  # and most of it was done once
    for out, _ in told:
        assert "300 planned: 300 ok" in out
    by_others = [int(n) for n in re.findall(r"(\d+) were done by other launches", told[1][0])]
    assert by_others
    assert not list((slow / "results/sweeps/slow/launches").glob("*.live"))


def other_table(table):
    return ParquetTable(table.folder.parent, faulty)


def outcome_row(plan, i, status="ok", attempt=1, y=1.0):
    return {
        **plan.params_of(i), "run_id": plan.run_ids[i], "experiment": "faulty", "version": 1,
        "seed": plan.seed_of(i), "status": status, "y": y if status == "ok" else None,
        "attempt": attempt, "device": "cpu", "host": "h", "n_threads": 1, "launch_id": "other",
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip


class Meddling(SerialExecutor):
    """After its first run another launch commits some rows."""

    def __init__(self, meddle):
        super().__init__()
        self.meddle, self.did = meddle, []

    def poll(self, timeout_s):
        events = super().poll(timeout_s)
        self.did += [o.index for e in events for o in e.outcomes]
        if self.meddle and self.did:
            self.meddle()
            self.meddle = None
        return events


def launch(plan, table, meddle, **more):
    worker = Meddling(meddle)
    worker.start(faulty)
    made = Loop(plan, table, worker, launch_id="ours", on_failure=OnFailure(),
                  look_every_s=0.0, **more)  # fmt: skip
    return made.run(), worker.did


def test_what_another_has_committed_is_left_to_it(tmp_path):
    plan, table = make_plan(faulty, axes={"i": "range(0, 30)"}), ParquetTable(tmp_path, faulty)
    theirs = list(range(12, 24))
    report, did = launch(
        plan, table,
        lambda: other_table(table).append([outcome_row(plan, i) for i in theirs]),
    )  # fmt: skip
    assert not set(did[5:]) & set(theirs)  # a batch of four may be under way
    assert len(did) + report.by_others == 30
    assert (report.done_before, report.by_others) == (30 - len(did), 30 - len(did))
    assert sum(report.statuses.values()) == len(did)
    assert len(table.done()) == 30


def test_a_retry_is_left_to_another_retry_and_not_to_the_failure_of_before(tmp_path):
    # Fewer than LOOK_FROM runs, which are taken in order.
    plan, table = make_plan(faulty, axes={"i": "range(0, 19)"}), ParquetTable(tmp_path, faulty)
    table.append([outcome_row(plan, i, "failed") for i in range(19)])
    again = other_table(table)

    def meddle():
        again.append([outcome_row(plan, i, "failed") for i in range(8)])  # merged anew: old news
        again.append([outcome_row(plan, i, attempt=2) for i in range(14, 19)])

    report, did = launch(plan, table, meddle, retry=True)
    assert set(did) == set(range(14))
    assert report.by_others == 5
    assert {d.status for d in table.done().values()} == {"ok"}


def test_parts_of_its_own_are_no_news_and_those_of_others_are_read_once(tmp_path):
    plan, table = make_plan(faulty, axes={"i": "range(0, 60)"}), ParquetTable(tmp_path, faulty)
    table.append([outcome_row(plan, 0)])
    mine = other_table(table)
    assert len(mine.done()) == 1
    for i in range(1, 40):
        mine.append([outcome_row(plan, i)])  # some are merged
    assert mine.news() == []
    table.append([outcome_row(plan, 50, y=2.5)])
    (row,) = mine.news(["y"])
    assert (row["run_id"], row["status"], row["y"]) == (plan.run_ids[50], "ok", 2.5)
    assert mine.news() == []
    mine.folder.write("part-torn.parquet", b"PAR1")
    assert mine.news() == []


def test_a_search_takes_in_what_another_found(tmp_path):
    from lawsweep.sampling.threshold.options import ThresholdOptions
    from lawsweep.sampling.threshold.sampler import ThresholdSearch

    plan = make_plan(faulty, axes={"i": "range(0, 64)"}, seeds=4)
    spec = ThresholdOptions(axis="i", event="y > 40", batch=4, max_runs=4)

    def meddle():
        rows = [outcome_row(plan, i, y=plan.params_of(i)["i"] + 0.0) for i in range(len(plan))]
        other_table(table).append(rows)

    table = ParquetTable(tmp_path, faulty)
    search = ThresholdSearch(plan, spec)
    report, did = launch(plan, table, meddle, sampler=search)
    assert len(did) <= 16  # what was under way
    assert not search.wanted()
    assert report.planned == report.done_before + sum(report.statuses.values())
    alone = ThresholdSearch(plan, spec)
    launch(plan, ParquetTable(tmp_path / "alone", faulty), None, sampler=alone)
    assert [t.n_star for t in search.results()] == [t.n_star for t in alone.results()]


def test_a_backlog_turns_and_drops_wherever_its_runs_wait():
    plan = make_plan(faulty, axes={"i": "range(0, 10)"})
    backlog = Backlog(plan, CostModel(plan, 1.0), range(10), {})
    spec = [RunSpec(i, plan.run_ids[i], {}, 0) for i in range(10)]
    backlog.shuffle(own_order("one"))
    taken = []
    while backlog:
        taken += [r.index for r in backlog.take(1).runs]
    assert sorted(taken) == list(range(10))
    assert taken != sorted(taken)
    backlog = Backlog(plan, CostModel(plan, 1.0), range(4), {})
    before = backlog.work_left().expected_s
    backlog.put_back(spec[4:8], groups=[4])
    backlog.put_apart(spec[9])
    assert backlog.drop({0, 3, 5, 9}) == 4
    assert backlog._again[0] == Cut((spec[4], spec[6], spec[7]))
    assert len(backlog) == 5
    assert backlog.drop({4, 6, 7}) == 3
    assert not backlog._again
    assert backlog.work_left().expected_s < before
    assert own_order("a") != own_order("b")


def beat(folder, **more):
    SweepFolder(folder).beat("L1", {"launch_id": "L1", "running": 1, "rate": 1.0, **more})


ALIVE = {"machine": "another", "pid": 1, "by": "me@there", "started_at": "2026-01-01T00:00:00"}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (ALIVE, True),
        ({**presence(), "pid": 2**22 + 1}, False),
        ({**presence(), "process_started": 5.0}, False),
        (presence(), False),  # of this process, and none of its launches
        ({"host": "old", "at": time.time()}, True),  # an older lawsweep's
    ],
    ids=["elsewhere", "killed", "another process of its number", "ended", "older"],
)
def test_only_a_live_launch_is_told_of(slow, capsys, state, told):
    sweep = lawsweep.load_sweep("slow", "params.pause_s=0", "seeds=1")
    beat(sweep.folder, **state)
    report = lawsweep.run(sweep)
    assert sum(report.statuses.values()) == 300  # nobody is waited for, or believed
    err = capsys.readouterr().err
    assert ("being run already" in err) == told
    if told and state is ALIVE:
        assert "launch L1 (me@there, since 2026-01-01T00:00:00)" in err


def test_an_old_sign_of_another_host_is_no_launch(slow, capsys):
    sweep = lawsweep.load_sweep("slow", "params.pause_s=0")
    beat(sweep.folder, **ALIVE)
    then = time.time() - 60
    os.utime(sweep.folder / "launches" / "L1.live", (then, then))
    lawsweep.run(sweep)
    assert "being run already" not in capsys.readouterr().err


def test_a_launch_gives_a_sign_while_a_serial_run_takes_long(slow, monkeypatch):
    """Also of who it is; and none is left when it has ended, whatever ended it."""
    monkeypatch.setattr("lawsweep.launch.record.heart.LIVE_S", 0.05)
    sweep = lawsweep.load_sweep("slow", "params.pause_s=0.4", "axes.i=[1,2]")
    ages = []

    def watch(snapshot):
        (sign,) = SweepFolder(sweep.folder).signs()
        ages.append(sign.state["at"])
        assert sign.is_alive
        assert sign.state["patience_s"] == 60.0
        assert not is_dead(sign.state)

    lawsweep.run(sweep, watcher=watch)
    assert len(set(ages)) > 1
    assert not SweepFolder(sweep.folder).signs()
    assert not RUNNING
    bad = dataclasses.replace(sweep, seeds=9, executor={"kind": "serial"})
    monkeypatch.setattr(SerialExecutor, "start", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lawsweep.run(bad)
    assert not SweepFolder(sweep.folder).signs()
    assert not RUNNING


def test_rerun_and_json_say_it_on_stderr_too(slow, capsys):
    sweep = lawsweep.load_sweep("slow", "params.pause_s=0", "params.fault=raise")
    words = ["slow", "params.pause_s=0", "params.fault=raise", "--json"]
    assert run_command(["run", *words]) == 3
    capsys.readouterr()
    beat(sweep.folder, **ALIVE)
    assert run_command(["rerun", *words, "--failed"]) == 3
    told = capsys.readouterr()
    assert "being run already: launch L1" in told.err
    assert json.loads(told.out)["by_others"] == 0


def test_submit_refuses_beside_a_launch_that_is_no_job(slow):
    folder = SweepFolder(lawsweep.load_sweep("slow").folder)
    beat(folder.at, **ALIVE, job="slow-1")
    submitting._refuse_beside(folder)
    beat(folder.at, **ALIVE)
    with pytest.raises(
        submitting.AlreadyRunsError, match=r"being run already: launch L1 .*--again"
    ):
        submitting._refuse_beside(folder)
    assert submitting.AlreadyRunsError.exit_code == 7


def test_what_is_said_names_all_of_them():
    assert beside(["one", "two"]).startswith("this sweep is being run already: one; two.")
