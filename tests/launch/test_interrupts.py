"""Ctrl-C at the worst moments: in a write, between a result and its row, twice, three times."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest
from toys import faulty

from lawsweep.core.outcome import Event
from lawsweep.executors.serial import SerialExecutor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch import loop as run_plan
from lawsweep.launch.interrupts import Interrupts
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable


class Interrupted(ParquetTable):
    """Interrupted in each of its first writes, when the part is durable and not yet known to be."""

    n_signals = 1
    n_appends = 0
    returned = 0

    def append(self, rows, arrays=None):
        super().append(rows)
        self.n_appends += 1
        if self.n_appends == 1:
            for _ in range(self.n_signals):
                os.kill(os.getpid(), signal.SIGINT)
        self.returned += 1


class Remote(SerialExecutor):
    """As Ray's: its runs are elsewhere, so a signal need not end its poll."""

    in_process = False
    interrupt_at = -1
    n_polls = 0

    def poll(self, timeout_s):
        self.n_polls += 1
        if self.n_polls == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().poll(timeout_s)


@pytest.fixture
def plan():
    return make_plan(faulty, axes={"i": "range(3, 43)"}, params={"pause_s": 0.002})


def launch(plan, table, executor=None, commit_every_s=0.0):
    executor = executor or SerialExecutor()
    executor.start(plan.experiment)
    return Loop(
        plan, table, executor, launch_id="L", on_failure=OnFailure(), commit_every_s=commit_every_s
    ).run()


def written(table):
    """Rows as they lie in the parts, duplicates included."""
    return table.attempts()["run_id"].to_pylist()


@pytest.fixture(autouse=True)
def same_handlers_afterwards():
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_interrupt_in_a_write_waits_for_it_and_writes_nothing_twice(plan, tmp_path):
    table = Interrupted(tmp_path, faulty)
    report = launch(plan, table)
    assert report.stopped == "interrupted"
    assert table.returned == table.n_appends >= 1
    assert 1 <= len(written(table)) == len(set(written(table))) == report.statuses["ok"] < 40
    again = launch(plan, ParquetTable(tmp_path, faulty))
    assert (again.stopped, len(written(table))) == (None, 40)


def test_a_second_interrupt_stops_at_once_when_the_rows_are_written(plan, tmp_path):
    table = Interrupted(tmp_path, faulty)
    table.n_signals = 2
    with pytest.raises(KeyboardInterrupt):
        launch(plan, table)
    assert table.returned == table.n_appends
    assert 1 <= len(written(table)) == len(set(written(table)))


def test_a_third_interrupt_does_not_wait_for_the_store(plan, tmp_path):
    table = Interrupted(tmp_path, faulty)
    table.n_signals = 3
    with pytest.raises(KeyboardInterrupt):
        launch(plan, table)
    assert table.returned < table.n_appends  # the write was left; the rows may be there twice
    assert len(table.done()) == len(set(written(table))) >= 1


def test_an_interrupt_while_results_come_in_loses_none_of_them(plan, tmp_path):
    table, executor = ParquetTable(tmp_path, faulty), Remote()
    executor.interrupt_at = 1
    report = launch(plan, table, executor, commit_every_s=60.0)
    assert report.stopped == "interrupted"
    assert len(table.done()) == report.statuses["ok"] >= 1


def test_an_interrupt_as_a_poll_returns_loses_none_of_its_runs(plan, tmp_path):
    """In process a signal comes at any bytecode: also when the outcomes are on their way."""

    class Late(SerialExecutor):
        told = 0

        def poll(self, timeout_s):
            events = super().poll(timeout_s)
            if timeout_s > 0 and not self.told:
                self.told = sum(len(e.outcomes) for e in events)
                raise KeyboardInterrupt
            return events

    table, executor = ParquetTable(tmp_path, faulty), Late()
    report = launch(plan, table, executor)
    assert report.stopped == "interrupted"
    assert executor.told >= 1
    assert report.statuses["ok"] == executor.told
    assert len(written(table)) == executor.told  # each once


@pytest.mark.parametrize("taken", [False, True])
def test_an_interrupt_as_an_outcome_is_handed_over_loses_none(plan, tmp_path, taken):
    class Late(SerialExecutor):
        told = 0

        def attend(self, hand, called_off):
            def interrupted(event):
                self.told += 1
                if taken:
                    hand(event)
                raise KeyboardInterrupt

            super().attend(interrupted, called_off)

    table, executor = ParquetTable(tmp_path, faulty), Late()
    report = launch(plan, table, executor)
    assert report.stopped == "interrupted"
    assert report.statuses["ok"] == executor.told == len(written(table)) == 1


def test_an_interrupt_in_the_last_write_is_still_told(tmp_path):
    plan = make_plan(faulty, axes={"i": [5]})
    table = Interrupted(tmp_path, faulty)
    report = launch(plan, table, commit_every_s=60.0)
    assert (report.stopped, dict(report.statuses)) == ("interrupted", {"ok": 1})


def test_signals_without_a_python_handler_are_left_alone():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray leaves a handler of its own
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_handler_is_called_when_it_is_time():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGTERM)
            assert seen == []
            interrupts.deliver()
            assert seen == [signal.SIGTERM]
            with interrupts.released():
                os.kill(os.getpid(), signal.SIGTERM)
                assert len(seen) == 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_have_no_signals(plan, tmp_path):
    reports = []
    table = ParquetTable(tmp_path, faulty)
    thread = threading.Thread(target=lambda: reports.append(launch(plan, table)))
    thread.start()
    thread.join(60)
    assert reports[0].statuses["ok"] == 40


class Elsewhere(Remote):
    """Runs elsewhere, a tenth of a second each; the first poll that has news is interrupted."""

    n_interrupts = 1
    polls = 0

    def poll(self, timeout_s):
        events = [Event(t.id) for t, _ in self._queue] if not self.polls else []
        self.polls += 1
        if self.polls == 1:
            os.kill(os.getpid(), signal.SIGINT)
            return events
        if timeout_s > 0 and self.polls < 5:
            if self.polls == 3 and self.n_interrupts > 1:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            return []
        return super().poll(timeout_s)


def test_runs_under_way_are_finished_and_no_more_are_begun(tmp_path):
    plan = make_plan(faulty, axes={"i": "range(3, 43)"})
    table, executor, seen = ParquetTable(tmp_path, faulty), Elsewhere(), []
    executor.start(faulty)
    report = Loop(
        plan, table, executor, launch_id="L", on_failure=OnFailure(), watcher=seen.append
    ).run()
    assert report.stopped == "interrupted"
    (told,) = [s for s in seen if s.finishing_s is not None]
    assert told.finishing_s == run_plan.FINISH_S
    assert [u.params["i"] for u in told.slowest][:1] == [3]
    # The batches that had begun, whole; of the others none.
    assert 1 <= len(table.done()) == report.statuses["ok"] < 40
    assert not executor._queue


def test_a_second_interrupt_does_not_wait_for_them(tmp_path):
    plan = make_plan(faulty, axes={"i": "range(3, 43)"})
    table, executor = ParquetTable(tmp_path, faulty), Elsewhere()
    executor.n_interrupts = 2
    executor.start(faulty)
    with pytest.raises(KeyboardInterrupt):
        Loop(plan, table, executor, launch_id="L", on_failure=OnFailure()).run()
    assert executor.polls == 3


def test_what_does_not_finish_in_time_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(run_plan, "FINISH_S", 0.05)

    class Slow(Elsewhere):
        def poll(self, timeout_s):
            self.polls = min(self.polls, 2)
            return super().poll(timeout_s) if timeout_s > 0 else []

    plan = make_plan(faulty, axes={"i": "range(3, 43)"})
    table, executor = ParquetTable(tmp_path, faulty), Slow()
    executor.start(faulty)
    report = Loop(plan, table, executor, launch_id="L", on_failure=OnFailure()).run()
    assert (report.stopped, dict(report.statuses)) == ("interrupted", {})


class Swallowing(SerialExecutor):
    """Its first poll is stopped from another thread, and eats what is raised in it."""

    stop = None

    def poll(self, timeout_s):
        found = super().poll(timeout_s)
        if self.stop is not None and found:
            thread = threading.Thread(target=self.stop)
            self.stop = None
            thread.start()
            with contextlib.suppress(BaseException):
                thread.join()
                while True:  # until it comes
                    pass
        return found


@pytest.mark.parametrize("executor", [Swallowing(), Remote()])
def test_a_stop_from_another_thread_is_not_lost(plan, tmp_path, executor):
    executor.start(plan.experiment)
    loop = Loop(
        plan, ParquetTable(tmp_path, faulty), executor, launch_id="L", on_failure=OnFailure()
    )
    if isinstance(executor, Swallowing):
        executor.stop = loop.stop
    else:
        loop.stop()
    report = loop.run()
    assert report.stopped == "interrupted"
    table = ParquetTable(tmp_path, faulty)
    assert len(written(table)) == len(set(written(table))) == report.statuses["ok"] < 40
