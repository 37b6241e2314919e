"""A search over a plan: its cells, its event, and the launch that runs what it wants."""

from __future__ import annotations

import math

import pytest
from search_toys import memory

from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.outcome import Outcome
from lawsweep.executors.serial import SerialExecutor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.sampling.threshold.cells import find_cells
from lawsweep.sampling.threshold.event import Event
from lawsweep.sampling.threshold.options import ThresholdOptions
from lawsweep.sampling.threshold.sampler import ThresholdSearch
from lawsweep.store.table.parquet import ParquetTable

SPEC = ThresholdOptions("n", "loss < 1", tolerance=0.1, max_runs=30)


def make(derive=None, spec=SPEC, seeds=30, **given):
    axes = given.pop("axes", {"d": [20, 40], "ratio": "logspace(0.3, 1.5, 40)"})
    derive = {"n": "round(ratio * d**2)"} if derive is None else derive
    plan = make_plan(memory, axes=axes, derive=derive, seeds=seeds, params=given)
    return plan, lambda known=None, again=(): ThresholdSearch(plan, spec, known, again)


class Dying(SerialExecutor):
    """Is interrupted after so many rows, on a machine of any speed: a look is one run.

    A run without room is tried once more, alone: its first answer is no row.
    """

    def __init__(self, after):
        super().__init__()
        self.left = after

    def poll(self, timeout_s):
        if self.left <= 0 and timeout_s > 0:
            raise KeyboardInterrupt
        news = super().poll(min(timeout_s, 1e-9))
        if timeout_s > 0:
            outcomes = [o for event in news for o in event.outcomes]
            self.left -= sum(o.status != "oom" or o.attempt > 1 for o in outcomes)
        return news


def launch(plan, table, search, executor=None, **options):
    executor = executor or SerialExecutor()
    executor.start(plan.experiment)
    policy = options.pop("on_failure", OnFailure())
    return Loop(
        plan, table, executor, launch_id="L", on_failure=policy, sampler=search, **options
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
        executor = Dying(after=10)  # rounds of 4 are cut
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


def test_a_search_of_runs_without_room_is_killed_shared_and_ends_the_same(tmp_path):
    # N* is at 0.7 d^2, and from 0.5 d^2 on no run has room: what is known is a bound.
    plan, search = make(fault="large")
    policy = OnFailure(stop_after=0)
    whole = search()
    launch(plan, ParquetTable(tmp_path / "whole", memory), whole, on_failure=policy)
    for t, d in zip(whole.results(), (20, 40), strict=True):
        assert (t.state, t.reason, t.n_star, t.high) == ("at_least", "fails_above", None, None)
        assert 0.4 * d**2 < t.low <= 0.5 * d**2
        assert 2 <= t.n_unanswered <= 10
    table, n_cuts = ParquetTable(tmp_path / "cut", memory), 0
    for _ in range(40):
        part = search(known_rows(plan, table))
        if not part.wanted():
            break
        stopped = launch(plan, table, part, executor=Dying(after=5), on_failure=policy).stopped
        n_cuts += stopped == "interrupted"
    assert n_cuts >= 2
    assert search(known_rows(plan, table)).results() == whole.results()
    assert table.attempts().num_rows == whole.n_asked
    # Another launch at once, which sees nothing of the first, asks for the same.
    beside = search()
    launch(plan, table, beside, on_failure=policy)
    assert beside.asked() == whole.asked()
    assert search(known_rows(plan, table)).results() == whole.results()


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
    event = Event(plan, ThresholdOptions("n", "reading < 1"))
    assert event.answer(0, "ok", {"loss": 0.0, "reading": 0.5}) is True
    assert event.answer(0, "ok", {"loss": 0.0, "reading": float("nan")}) is False
    assert event.answer(0, "ok", {"loss": 0.0, "reading": None}) is None
    assert event.answer(0, "oom", {}) is None
    assert event.answer(0, "ok", {"reading": 0.5, "converged": False}) is None
    # Nor is one that the event cannot be computed of; a NaN compares as everywhere.
    rounds = Event(plan, ThresholdOptions("n", "round(100 * loss) < 100"))
    assert rounds.answer(0, "ok", {"loss": 0.5}) is True
    assert rounds.answer(0, "ok", {"loss": float("nan")}) is None
    asks = Event(plan, ThresholdOptions("n", "reading != None and reading < 1"))
    assert asks.answer(0, "ok", {"loss": 0.0, "reading": None}) is False
    turned = Event(plan, ThresholdOptions("n", "not loss > 1"))
    assert turned.answer(0, "ok", {"loss": float("nan")}) is True


def test_an_outcome_told_twice_asks_for_nothing_more():
    _, search = make()
    found = search()
    run = found.wanted()[0]
    outcome = Outcome(index=run, status="ok", metrics={"loss": 0.0, "reading": 0.0})
    found.ask()
    found.tell(outcome)
    asked = found.n_asked
    found.tell(outcome)
    assert found.ask() == []
    assert found.n_asked == asked


def test_cells_are_what_is_alike_but_for_the_axis_and_what_goes_with_it():
    derive = {"n": "round(ratio * d**2)", "spread": "n / 1e6"}
    plan = make_plan(memory, axes={"d": [20, 40], "ratio": [0.5, 1.0, 0.25]}, derive=derive)
    cells = find_cells(plan, "n")
    assert [c.values for c in cells] == [(100.0, 200.0, 400.0), (400.0, 800.0, 1600.0)]
    assert cells[0].points == (2, 0, 1)
    assert [c.values for c in find_cells(plan, "ratio")] == [(0.25, 0.5, 1.0)] * 2


@pytest.mark.parametrize("derive", [{"d": "base", "n": "round(ratio * base)"},
                                    {"d": "2 * base", "n": "round(ratio * d)"}])  # fmt: skip
def test_an_axis_that_another_param_reads_too_tells_cells_apart(derive):
    plan = make_plan(memory, axes={"base": [5, 8], "ratio": [2.0, 4.0, 9.0]}, derive=derive)
    cells = find_cells(plan, "n")
    assert [len(c.points) for c in cells] == [3, 3]
    assert [{plan.params["d"][p] for p in c.points} for c in cells] == (
        [{5}, {8}] if derive["d"] == "base" else [{10}, {16}]
    )
    # With the ratio read by another param, a walk along n alone is not in the plan.
    mixed = {"d": "round(10 * ratio)", "n": "round(100 * ratio * base)"}
    plan = make_plan(memory, axes={"base": [5, 8], "ratio": [0.5, 0.7]}, derive=mixed)
    assert [c.values for c in find_cells(plan, "n")] == [(250.0, 400.0), (350.0, 560.0)]

    # Two bases of one d are two cells: which of them a point is of is not its n's doing.
    axes = {"base": [4, 5], "ratio": [2.0, 4.0]}
    coarse = {"d": "base // 4", "n": "round(ratio * base)"}
    cells = find_cells(make_plan(memory, axes=axes, derive=coarse), "n")
    assert [c.values for c in cells] == [(8, 16), (10, 20)]
    # So they are where what follows n reads them: else spread / n would change along a cell.
    follows = {"n": "round(ratio * base)", "spread": "n * base / 1000"}
    cells = find_cells(make_plan(memory, params={"d": 3}, axes=axes, derive=follows), "n")
    assert [c.values for c in cells] == [(8, 16), (10, 20)]
    # Of one ratio, though, n knows all: the cell is whole.
    alone = {"n": "round(ratio * d)", "spread": "n * ratio / 1000"}
    plan = make_plan(memory, params={"d": 10}, axes={"ratio": [2.0, 4.0]}, derive=alone)
    assert [c.values for c in find_cells(plan, "n")] == [(20, 40)]


def test_a_grid_of_a_union_derives_for_its_own_points():
    grids = [
        {"axes": {"n": [10, 20]}, "params": {"edge": 0.4}},
        {"axes": {"n": [35, 50]}, "params": {"edge": 0.5}},
        {"axes": {"n": [40, 60]}, "derive": {"edge": "n / 100"}},
        {"axes": {"n": [70, 80]}, "derive": {"edge": "n / 100 + 0 * d"}},
        {"axes": {"n": [30, 90]}, "params": {"edge": 0.4}},
    ]
    cells = find_cells(make_plan(memory, params={"d": 5}, axes={"union": grids}), "n")
    assert [c.values for c in cells] == [(10, 20, 30, 90), (35, 50), (40, 60), (70, 80)]
    assert ["edge" in c.moving for c in cells] == [False, False, True, True]


def test_runs_tried_again_are_run_once_and_counted_whether_the_search_asks_for_them_or_not(
    tmp_path,
):
    plan, search = make(axes={"d": 20, "ratio": "logspace(0.3, 1.5, 40)"})
    plain = search()
    plain_report = launch(plan, ParquetTable(tmp_path / "plain", memory), plain)
    asked = plain.asked()
    first, later = asked[0], [r for r in asked if r not in search().wanted()]
    outside = [r for r in range(len(plan)) if r not in asked][:3]
    again = [later[0], later[-1], *outside]
    table, found = ParquetTable(tmp_path, memory), search(again=again)
    assert set(again) < set(found.wanted())
    assert found.n_wanted == len(found.wanted())
    assert first in found.wanted()
    report = launch(plan, table, found)
    assert found.results() == plain.results()
    assert table.attempts().num_rows == plain_report.statuses["ok"] + len(outside)
    assert (report.planned, report.done_before) == (table.attempts().num_rows, 0)


def test_an_outcome_is_worked_into_its_own_cell_alone():
    # There may be thousands of cells, and as many outcomes each.
    _, search = make(axes={"d": [20, 30, 40], "ratio": "logspace(0.3, 1.5, 40)"})
    found, alike = search(), search()
    others, found.searches[1:] = found.searches[1:], [None, None]
    assert found.ask() == alike.ask()
    for run in found.wanted()[: SPEC.batch]:
        outcome = Outcome(index=run, status="ok", metrics={"loss": 0.0})
        found.tell(outcome)
        alike.tell(outcome)
        more = found.ask()
        assert more == alike.ask()
        assert (found.n_planned, found.n_done) == (alike.n_planned, alike.n_done)
    assert len(more) == found.n_done == SPEC.batch
    found.searches[1:] = others
    assert found.n_asked == len(found.asked()) == SPEC.batch * 4
    assert found.n_expected == len(found.asked()) + len(found.outlook()) - len(found.wanted())


def test_a_search_never_expects_more_runs_than_there_are(tmp_path):
    """Six candidates with two seeds, and a tolerance that no answers satisfy."""
    spec = ThresholdOptions("n", "loss < 1", tolerance=0.001, max_runs=500)
    plan, search = make(axes={"d": 20, "ratio": "linspace(0.5, 1.0, 6)"}, spec=spec, seeds=2)
    found = search()
    most = []
    while found.wanted():
        most.append(found.n_expected)
        assert found.n_most == len(plan) == 12 >= len(found.outlook())
        (rounds,) = found.rounds()
        assert rounds[0] == found.wanted()
        assert sorted(found.outlook()) == sorted(run for r in rounds for run in r)
        assert {len(r) for r in rounds[1:-1]} <= {spec.batch}
        run = found.wanted()[0]
        fits = plan.params_of(run)["n"] < 280
        found.tell(Outcome(index=run, status="ok", metrics={"loss": 0.0 if fits else 9.0}))
    assert max(most) <= 12
    assert (found.n_most, found.rounds()) == (found.n_asked, [])


def test_rows_that_a_search_comes_to_count_on_are_told_as_done(tmp_path):
    plan, search = make()
    table = ParquetTable(tmp_path, memory)
    launch(plan, table, search())
    # All rows but the first round's: the launch runs those, and meets the others as it goes.
    rows = known_rows(plan, table)
    first = search().wanted()
    part = search({k: v for k, v in rows.items() if k not in first})
    report = launch(plan, ParquetTable(tmp_path / "part", memory), part)
    assert report.statuses["ok"] == len(first)
    assert report.done_before + len(first) == report.planned == part.n_asked == len(rows)


@pytest.mark.parametrize(
    ("spec", "axes", "error", "said"),
    [
        (ThresholdOptions("m", "loss < 1"), None, UnknownNameError, "'m'.*n, d|d, "),
        (ThresholdOptions("n", "los < 1"), None, UnknownNameError, "loss"),
        (ThresholdOptions("n", "n < 1"), None, InvalidValueError, "something of a metric"),
        (ThresholdOptions("fault", "loss < 1"), None, InvalidValueError, "must hold numbers"),
        (ThresholdOptions("n", "loss < 1"), {"n": 5, "d": [1, 2]}, InvalidValueError, "at least 2"),
        (ThresholdOptions("n", "loss + 1"), None, InvalidValueError, "must be true or false"),
        (ThresholdOptions("n", "loss"), None, InvalidValueError, "must be true or false"),
        (
            ThresholdOptions("n", "loss < 1 if n > 1 else loss"),
            None,
            InvalidValueError,
            "true or false",
        ),
        (ThresholdOptions("n", "loss < fault"), None, InvalidValueError, "answered by no row"),
    ],
)
def test_a_search_that_does_not_fit_its_plan_is_told_so(spec, axes, error, said):
    axes = axes or {"n": [1, 2], "d": 3, "fault": ["none", "always"]}
    with pytest.raises(error, match=said):
        ThresholdSearch(make_plan(memory, axes=axes), spec)
