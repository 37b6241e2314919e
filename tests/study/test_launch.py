"""A launch under way: looked at, iterated, waited for and cancelled, while its thread runs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import warnings

import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError, StoreError
from lawsweep.executors.serial import SerialExecutor
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.study import kept_outcomes
from lawsweep.study import launch as launches


@pytest.fixture
def sweep(folder):
    return Sweep(
        name="many",
        experiment="toys:faulty",
        axes={"i": "range(10, 50)"},
        executor={"kind": "serial"},
        store={"commit_every_s": 0},
    )


@pytest.fixture
def gate(monkeypatch):
    """Holds every run but the first few back until it is opened."""
    opened, poll, told = threading.Event(), SerialExecutor.poll, threading.Event()
    polls = []

    def waiting(self, timeout_s):
        if timeout_s and polls:
            told.set()
            while not opened.wait(0.01):  # as a long run, which Ctrl-C ends
                pass
        polls.append(timeout_s)
        return poll(self, min(timeout_s, 0.001))

    monkeypatch.setattr(SerialExecutor, "poll", waiting)
    opened.told = told
    yield opened
    opened.set()


def test_a_launch_is_an_iterator_of_its_outcomes_and_a_report(sweep):
    study = lawsweep.open(sweep)
    launch = study.start(executor="serial")
    outcomes = list(launch)
    assert sorted(o.index for o in outcomes) == list(range(40))
    assert {o.status for o in outcomes} == {"ok"}
    report = launch.wait()
    assert dict(report.statuses) == {"ok": 40}
    assert launch.status().finished == 40
    assert list(launch) == outcomes  # also who comes late has them all
    assert study.status().missing == 0  # it has looked again
    assert study.start().wait().done_before == 40


def test_it_is_under_way_when_start_returns_and_can_be_waited_for(sweep, gate):
    launch = lawsweep.open(sweep).start()
    first = next(iter(launch))
    assert first.status == "ok"
    with pytest.raises(TimeoutError, match=rf"{launch.id} had not ended after 0\.01 s, and goes"):
        launch.wait(0.01)
    assert 1 <= launch.status().finished < 40
    assert "under way" in repr(launch)
    gate.set()
    assert launch.wait().statuses["ok"] == 40
    assert "ended" in repr(launch)


def test_cancel_ends_it_as_an_interrupt_does(sweep, gate):
    launch = lawsweep.open(sweep).start()
    gate.told.wait(60)
    launch.cancel()  # while a run is under way: the thread is in the executor, and comes out
    report = launch.wait(60)
    assert report.stopped == "interrupted"
    n = report.statuses["ok"]
    assert 1 <= n < 40
    rows = ParquetTable("results/tables", sweep.find_experiment()).attempts()
    assert rows.num_rows == n  # what had finished, once each
    assert len(list(launch)) == n
    gate.set()
    assert lawsweep.run(sweep).statuses["ok"] == 40 - n


@pytest.mark.slow
def test_a_launch_on_ray_is_cancelled_from_another_thread_too(sweep, capfd):
    """Ray is started and stopped in the thread of the launch."""
    slow = dataclasses.replace(sweep, params={"pause_s": 0.2}, axes={"i": "range(10, 400)"})
    launch = lawsweep.open(slow).start(executor={"kind": "ray_local", "n_cpus": 1})
    first = next(iter(launch))
    launch.cancel()
    report = launch.wait(120)
    assert report.stopped == "interrupted"
    done = lawsweep.open(slow).done
    assert slow.plan().run_ids[first.index] in done
    assert len(done) == report.statuses["ok"] < 390
    assert "Traceback" not in capfd.readouterr().err


def test_a_launch_cancelled_before_it_began_does_next_to_nothing(sweep):
    launch = launches.Launch(lawsweep.open(sweep))
    launch.cancel()
    assert launch.run().stopped == "interrupted"


def test_a_cancel_that_comes_too_late_is_none(sweep):
    launch = lawsweep.open(sweep).start()
    launch.wait()
    launch.cancel()
    assert launch.wait().stopped is None


def test_bad_input_is_told_by_start_and_what_ends_it_later_by_wait(sweep, monkeypatch):
    study = lawsweep.open(sweep)
    with pytest.raises(InvalidValueError, match="executor"):
        study.start(executor=3)

    def full(self, rows, arrays=None):
        raise StoreError("The disk is full. Free some space.")

    monkeypatch.setattr(ParquetTable, "append", full)
    study = lawsweep.open(dataclasses.replace(sweep, store={"patience_s": 0}))
    launch = study.start()
    with pytest.raises(StoreError, match="disk is full"):
        launch.wait()
    assert launch.status().finished >= 0
    list(launch)  # ends
    with pytest.raises(StoreError):
        launch.wait()


def test_a_wait_for_the_store_is_cut_short_by_cancel(sweep, monkeypatch):
    tried = threading.Event()

    def full(self, rows, arrays=None):
        tried.set()
        raise StoreError("The disk is full. Free some space.")

    monkeypatch.setattr(ParquetTable, "append", full)
    launch = lawsweep.open(dataclasses.replace(sweep, store={"patience_s": 3600})).start()
    tried.wait(60)
    while not launch._ended.wait(0.05):
        launch.cancel()
    with pytest.raises(StoreError, match="disk is full"):
        launch.wait()


def test_an_iterator_that_comes_very_late_says_what_it_missed(monkeypatch):
    monkeypatch.setattr(kept_outcomes, "KEPT", 10)
    kept = kept_outcomes.Kept()
    kept.add([*range(25)])
    kept.end()
    with pytest.warns(UserWarning, match="the first 15 outcomes are not kept"):
        assert list(kept) == [*range(15, 25)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        early = kept_outcomes.Kept()
        early.add([1, 2])
        early.end()
        assert list(early) == [1, 2]


def test_where_a_person_types_no_ray_is_needed_unless_it_is_asked_for(folder, monkeypatch, capsys):
    sweep = Sweep(name="typed", experiment="toys:toy", axes={"n": [1, 2]})
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    made = []
    monkeypatch.setattr("lawsweep.executors.ray.tasks.RayLocalExecutor.start", made.append)
    assert dict(lawsweep.run(sweep).statuses) == {"ok": 2}
    assert "runs go to processes of this machine, which needs no Ray" in capsys.readouterr().err
    assert not made
    for chosen in (
        dataclasses.replace(sweep, executor={"kind": "ray_local", "n_cpus": 2}),
        dataclasses.replace(sweep, overrides=("executor=ray_local",)),
    ):
        assert launches.choose_executor(chosen, None) == chosen.executor
    late = dataclasses.replace(sweep, on_failure={"timeout_s": 60})
    assert launches.choose_executor(late, None) == "processes"  # its workers can be ended
    monkeypatch.delattr(sys, "ps1")
    assert launches.choose_executor(sweep, None) == sweep.executor


def test_a_notebook_shows_study_launch_and_report(sweep):
    study = lawsweep.open(dataclasses.replace(sweep, name="a<b"))
    launch = study.start()
    report = launch.wait()
    assert "40 planned: 40 ok" in study._repr_html_()
    assert "<b>Study a&lt;b</b>" in study._repr_html_()
    assert "40 of 40 runs" in launch._repr_html_()
    assert "<td style='text-align:left'>40</td>" in report._repr_html_()


def test_a_launch_that_has_ended_shows_nothing_under_way(sweep, gate):
    launch = lawsweep.open(sweep).start()
    gate.told.wait(60)
    launch.cancel()
    report = launch.wait(60)
    state = launch.status()
    assert (state.running, state.n_busy, state.slowest, state.eta_s) == (0, 0, (), None)
    assert state.statuses == dict(report.statuses)


def test_who_waits_is_not_left_waiting_where_the_end_goes_wrong(sweep, monkeypatch):
    study = lawsweep.open(sweep)

    def gone(self):
        raise StoreError("The mount is gone. Mount it again.")

    launch = launches.Launch(study)
    monkeypatch.setattr(lawsweep.Study, "refresh", gone)
    launch.begin()
    with pytest.raises(StoreError, match="mount is gone"):
        launch.wait(60)
    assert len(list(launch)) == 40


LEAVES = """
import os, signal, sys, threading, time
import lawsweep

class Interrupts:  # once the program has nothing else to do than to wait for the launch
    def outcome(self, outcome):
        frame, names = sys._current_frames()[threading.main_thread().ident], []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        if "_shutdown" in names and names[0] == "wait":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)  # once is enough

lawsweep.open("slow").start(executor="serial", sinks=[Interrupts()])
"""


def test_an_interrupt_while_a_program_waits_at_its_end_loses_nothing(folder, module):
    module(
        "slow_toy",
        """
        import time
        from dataclasses import dataclass
        from lawsweep import experiment

        @dataclass(frozen=True, kw_only=True)
        class Params:
            i: int

        @dataclass(frozen=True, kw_only=True)
        class Metrics:
            y: float

        @experiment(version=1)
        def slow(params: Params, seed: int) -> Metrics:
            time.sleep(0.05)
            return Metrics(y=1.0)
        """,
    )
    (folder / "sweeps").mkdir(exist_ok=True)
    (folder / "sweeps/slow.yaml").write_text(
        "experiment: slow_toy:slow\naxes: {i: range(5000)}\nstore: {commit_every_s: 3600}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", LEAVES], cwd=folder, capture_output=True, text=True, timeout=200
    )
    assert "Traceback" not in done.stderr
    statuses = lawsweep.open("slow").status().statuses
    assert 1 <= statuses["ok"] < 5000
