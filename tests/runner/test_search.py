"""A search over a plan: its cells, its event, and the launch that runs what it wants."""

from __future__ import annotations

import math

import pytest
from search_toys import memory

from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.outcome import Outcome
from lawsweep.core.plan import make_plan
from lawsweep.core.search import SearchSpec
from lawsweep.core.sweep import OnFailure
from lawsweep.executors.serial import SerialExecutor
from lawsweep.runner.run_plan import Launch
from lawsweep.runner.search import Search, all_derived, find_cells
from lawsweep.store.parquet import ParquetTable

SPEC = SearchSpec("n", "loss < 1", tolerance=0.1, max_runs=30)


def make(derive=None, spec=SPEC, seeds=30, **given):
    axes = given.pop("axes", {"d": [20, 40], "ratio": "logspace(0.3, 1.5, 40)"})
    derive = {"n": "round(ratio * d**2)"} if derive is None else derive
    plan = make_plan(memory, axes=axes, derive=derive, seeds=seeds, params=given)
    return plan, lambda known=None: Search(plan, spec, known, derive)


class Dying(SerialExecutor):
    """Is interrupted after some looks for news."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def poll(self, timeout_s):
        self.left -= timeout_s > 0
        if self.left < 0 and timeout_s > 0:
            raise KeyboardInterrupt
        return super().poll(timeout_s)


def launch(plan, table, search, executor=None, **options):
    executor = executor or SerialExecutor()
    executor.start(plan.experiment)
    policy = options.pop("on_failure", OnFailure())
    return Launch(
        plan, table, executor, launch_id="L", on_failure=policy, search=search, **options
    ).run()


def known_rows(plan, table):
    place = {r: i for i, r in enumerate(plan.run_ids)}
    rows = table.read(plan.run_ids).to_pylist()
    return {place[r["run_id"]]: (r["status"], {m: r[m] for m in ("loss", "reading")}) for r in rows}


def test_a_launch_runs_what_the_search_wants_and_nothing_else(tmp_path):
    plan, search = make()
    table, found = ParquetTable(tmp_path, memory), search()
    report = launch(plan, table, found)
    assert report.statuses["ok"] == found.n_asked == report.planned
    assert table.attempts().num_rows == found.n_asked < len(plan) / 10
    for cell, t in zip(found.cells, found.results(), strict=True):
        d = {plan.params_of(p * 30)["d"] for p in cell.points}
        assert len(d) == 1
        assert t.state == "resolved"
        # The transition is 5 % wide: a median off by more than 3 half widths of 10 % is a bug.
        assert abs(math.log(t.n_star / (0.7 * d.pop() ** 2))) < 0.3
    again = search(known_rows(plan, table))
    assert again.wanted() == []
    assert again.results() == found.results()


def test_a_search_killed_in_mid_round_and_run_again_ends_as_if_undisturbed(tmp_path):
    plan, search = make()
    whole = search()
    launch(plan, ParquetTable(tmp_path / "whole", memory), whole)
    table = ParquetTable(tmp_path / "cut", memory)
    n_cuts = 0
    for _ in range(40):
        part = search(known_rows(plan, table))
        if not part.wanted():
            break
        executor = Dying(after=2)  # some ten runs: rounds of 4 are cut
        n_cuts += launch(plan, table, part, executor=executor).stopped == "interrupted"
    assert n_cuts >= 3
    assert search(known_rows(plan, table)).results() == whole.results()
    assert table.attempts().num_rows == whole.n_asked  # nothing was done twice


def test_two_drivers_that_share_a_table_end_with_the_same_thresholds(tmp_path):
    plan, search = make()
    table = ParquetTable(tmp_path, memory)
    a, b = search(), search()  # neither sees what the other writes
    launch(plan, table, a)
    launch(plan, table, b)
    assert a.results() == b.results() == search(known_rows(plan, table)).results()


def test_failed_runs_are_no_evidence_and_end_the_search(tmp_path):
    plan, search = make(fault="always")
    found = search()
    report = launch(plan, ParquetTable(tmp_path, memory), found, on_failure=OnFailure(stop_after=0))
    assert report.statuses["failed"] == 60
    assert {(t.state, t.n_unanswered, t.n_star) for t in found.results()} == {
        ("unresolved", 30, None)
    }
    plan, search = make(fault="always")
    report = launch(plan, ParquetTable(tmp_path / "stopped", memory), search())
    assert report.stopped == "same_failure"


def test_some_failed_runs_leave_a_threshold_and_are_counted(tmp_path):
    plan, search = make(fault="sometimes", axes={"d": 40, "ratio": "logspace(0.3, 1.5, 40)"})
    found = search()
    launch(plan, ParquetTable(tmp_path, memory), found)
    (t,) = found.results()
    assert t.n_unanswered >= t.n_runs // 3 - 1
    assert t.low < 0.7 * 1600 < t.high


def test_a_row_without_the_metric_or_not_converged_is_no_evidence():
    plan, _ = make()
    event = Search(plan, SearchSpec("n", "reading < 1"), None, {"n": "round(ratio * d**2)"}).event
    assert event.answer(0, "ok", {"loss": 0.0, "reading": 0.5}) is True
    assert event.answer(0, "ok", {"loss": 0.0, "reading": float("nan")}) is False
    assert event.answer(0, "ok", {"loss": 0.0, "reading": None}) is None
    assert event.answer(0, "oom", {}) is None
    assert event.answer(0, "ok", {"reading": 0.5, "converged": False}) is None


def test_an_outcome_told_twice_asks_for_nothing_more():
    _, search = make()
    found = search()
    run = found.wanted()[0]
    outcome = Outcome(index=run, status="ok", metrics={"loss": 0.0, "reading": 0.0})
    found.next(outcome)
    asked = found.n_asked
    assert found.next(outcome) == []
    assert found.n_asked == asked


def test_cells_are_what_is_alike_but_for_the_axis_and_what_goes_with_it():
    derive = {"n": "round(ratio * d**2)", "spread": "n / 1e6"}
    plan = make_plan(memory, axes={"d": [20, 40], "ratio": [0.5, 1.0, 0.25]}, derive=derive)
    cells = find_cells(plan, "n", derive)
    assert [c.values for c in cells] == [(100.0, 200.0, 400.0), (400.0, 800.0, 1600.0)]
    assert cells[0].points == (2, 0, 1)
    assert [c.values for c in find_cells(plan, "ratio", derive)] == [(0.25, 0.5, 1.0)] * 2
    axes = [{"union": [{"axes": {"d": 3}, "derive": {"n": "d"}}]}, {"when": {"axes": {}}}]
    assert all_derived({"spread": "d"}, axes) == {"spread": "d", "n": "d"}


@pytest.mark.parametrize(
    ("spec", "axes", "error", "said"),
    [
        (SearchSpec("m", "loss < 1"), None, UnknownNameError, "'m'.*n, d|d, "),
        (SearchSpec("n", "los < 1"), None, UnknownNameError, "loss"),
        (SearchSpec("n", "n < 1"), None, InvalidValueError, "something of a metric"),
        (SearchSpec("fault", "loss < 1"), None, InvalidValueError, "must hold numbers"),
        (SearchSpec("n", "loss < 1"), {"n": 5, "d": [1, 2]}, InvalidValueError, "at least 2"),
    ],
)
def test_a_search_that_does_not_fit_its_plan_is_told_so(spec, axes, error, said):
    axes = axes or {"n": [1, 2], "d": 3, "fault": ["none", "always"]}
    with pytest.raises(error, match=said):
        Search(make_plan(memory, axes=axes), spec)


def test_an_event_that_is_no_question_is_told_so():
    plan = make_plan(memory, axes={"n": [1, 2], "d": 3})
    event = Search(plan, SearchSpec("n", "loss + 1")).event
    with pytest.raises(InvalidValueError, match="must be true or false"):
        event.answer(0, "ok", {"loss": 1.0})
