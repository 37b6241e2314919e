"""The time to the end, said by launches of an experiment that states no cost, on a simulated clock.

The laws of seconds are the test's own; the loop, its order and its cost model are the real ones.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from toys import pair

from lawsweep.core.outcome import Event, Outcome
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.costs.simulated import Cluster, SimulatedExecutor
from lawsweep.launch.costs.work_left import Left, expected_end, still_to_come
from lawsweep.launch.loop import Loop
from lawsweep.launch.order import all_over, longest_first

GRID = {"n_target": [100, 200, 400, 800], "width": [8, 16, 32], "kernel": ["a", "b"]}
FIXED = {"n_compressed": 1}


class Nothing:
    """A table that keeps nothing."""

    def done(self, run_ids):
        return {}

    def append(self, rows, arrays=None):
        pass


def columns(plan):
    n = len(plan.seeds)
    return {k: np.repeat(np.broadcast_to(c, (plan.n_points,)), n)
            for k, c in plan.over_points().items()}  # fmt: skip


def looks(axes, seeds, law, n_slots=1, sd=0.1, total_s=100.0):
    """(share done, said, low, high, true seconds to the end) of all looks of a launch."""
    plan = make_plan(pair, params=FIXED, axes=axes, seeds=seeds)
    rng = np.random.default_rng(3)
    seconds = law(columns(plan), rng) * rng.lognormal(-sd * sd / 2, sd, len(plan))
    seconds *= total_s * n_slots / seconds.sum()
    seen = []
    executor = SimulatedExecutor(Cluster(n_nodes=1, slots_per_node=n_slots), seconds)
    report = Loop(plan, Nothing(), executor, launch_id="L", on_failure=OnFailure(),
                  clock=executor.clock, watcher=seen.append).run()  # fmt: skip
    assert dict(report.statuses) == {"ok": len(plan)}
    return [(s.finished / len(plan), s.eta_s, s.eta_low_s, s.eta_high_s,
             report.wall_s - s.elapsed_s) for s in seen if s.eta_s is not None]  # fmt: skip


def factor(said, true, whole=100.0):
    """By what factor it was off; of what is left the last hundredth of a launch is nobody's."""
    return math.exp(abs(math.log((said + 0.01 * whole) / (true + 0.01 * whole))))


LAWS = {
    "constant": lambda p, rng: 0 * p["width"] + 1.0,
    "n^2": lambda p, rng: p["n_target"] ** 2.0,
    "n^3 width": lambda p, rng: p["n_target"] ** 3.0 * p["width"],
    "falls": lambda p, rng: 1.0 / p["n_target"],
    "n^2 + width^3": lambda p, rng: (p["n_target"] / 100) ** 2.0 + (p["width"] / 8) ** 3.0,
    "a category": lambda p, rng: np.where(p["kernel"] == "b", 25.0, 1.0),
    "exponent by category": lambda p, rng: p["n_target"] ** np.where(p["kernel"] == "b", 2.5, 0.5),
}


@pytest.mark.parametrize("law", LAWS)
def test_it_is_right_from_a_tenth_on(law):
    said = looks(GRID, 10, LAWS[law])
    assert len([x for x in said if x[0] >= 0.1]) > 50
    for share, eta, _, _, true in said:
        assert share < 0.1 or factor(eta, true) < 1.3, (share, eta, true)


@pytest.mark.parametrize("law", ["constant", "n^2", "a category", "exponent by category"])
def test_on_many_slots_it_is_right_when_long_runs_have_answered_too(law):
    """Of runs that begin together the short ones answer first: ten slots hold up to ten long ones,
    of which nobody knows how long they are before some time has passed."""
    said = [x for x in looks(GRID, 10, LAWS[law], n_slots=10) if x[0] >= 0.1 and 5.0 < x[4] < 75.0]
    assert len(said) > 50
    for share, eta, _, _, true in said:
        assert factor(eta, true) < 1.4, (share, eta, true)


def test_runs_of_two_kinds_are_not_taken_for_accidents():
    """A sixth of all runs, by chance, takes 20 times as long: it is a third and more of the sum."""
    slow = lambda p, rng: np.where(rng.random(len(p["width"])) < 1 / 6, 20.0, 1.0)  # noqa: E731
    said = looks(GRID, 20, slow)
    # 48 of 480 runs: the share of slow ones is known to 0.05 of 0.17, the sum to a quarter.
    assert all(factor(eta, true) < 1.8 for share, eta, _, _, true in said if share >= 0.1)
    assert all(factor(eta, true) < 1.35 for share, eta, _, _, true in said if 0.4 <= share <= 0.8)


def test_before_that_the_interval_is_honest():
    covered = []
    for law in LAWS.values():
        for share, _, low, high, true in looks(GRID, 10, law):
            if share < 0.1:
                covered.append(low <= true <= high)
    # Seven launches, whose looks hang together: a tenth of them may be off, and half of one more.
    assert np.mean(covered) > 0.75


def test_the_interval_covers_skewed_times():
    plan, covered, n_trials = make_plan(pair, params=FIXED, axes=GRID, seeds=10), 0, 100
    p = columns(plan)
    for trial in range(n_trials):
        rng = np.random.default_rng(trial)
        seconds = p["n_target"] / 100 * rng.lognormal(0.0, 0.8, len(plan))
        costs, first = CostModel(plan), all_over(len(plan), 0.2)
        left = Left(plan, costs, np.arange(len(plan)))
        for run in first.tolist():
            costs.learn(run, float(seconds[run]))
            left.finished(run)
        true = seconds.sum() - seconds[first].sum()
        work = left.work()
        covered += work.low_s <= true <= work.high_s
    assert 78 <= covered <= 100  # 90 of 100 less four of their binomial sd of 3


def test_the_first_tenth_comes_from_all_over():
    first = all_over(1000, 0.1)
    assert len(set(first.tolist())) == 100
    assert first[0] == 0
    assert np.bincount(first // 10, minlength=100).tolist() == [1] * 100
    assert np.ptp(first[:10]) > 500  # and so does what comes first of it
    kin = np.repeat(np.arange(30), 10)
    fused = all_over(300, 0.1, kin)
    assert len(set(kin[fused].tolist())) == 8  # four runs each
    assert kin[fused][0] == 0
    assert all(fused[i + 1] == fused[i] + 1 for i in range(len(fused) - 1) if (i + 1) % 4)


def test_longest_first_keeps_the_order_of_equals():
    assert longest_first(np.array([1.0, 3.0, 1.0, 2.0])).tolist() == [1, 3, 0, 2]


def test_what_is_under_way_has_been_begun():
    assert still_to_come(10.0, 0.3, 0.0) == 10.0
    sd = math.sqrt(math.log1p(0.09))
    draws = np.exp(sd * np.random.default_rng(0).standard_normal(400_000) - sd * sd / 2) * 10.0
    for since in (3.0, 9.0, 14.0):
        beyond = draws[draws > since]
        error = beyond.std() / math.sqrt(len(beyond))
        assert still_to_come(10.0, 0.3, since) == pytest.approx(
            float(beyond.mean() - since), abs=5 * error
        )
    assert still_to_come(1.0, 0.1, 50.0) == 50.0  # as long again


def test_the_last_runs_end_when_the_longest_does():
    assert expected_end([5.0, 1.0], [], 2, 0.0) == pytest.approx(5.0)
    assert expected_end([5.0, 1.0], [3.0, 3.0], 2, 0.0) == pytest.approx(7.0)
    assert expected_end([], [1.0] * 9, 8, 0.0) == pytest.approx(2.0)  # the ninth has to wait
    assert expected_end([], [1.0] * 8, 8, 0.5) > 1.2  # the slowest of eight


class Slow(SimulatedExecutor):
    """Each run costs a slot 20 ms beside its own millisecond."""

    def __init__(self, n):
        super().__init__(Cluster(n_nodes=1, slots_per_node=1), np.full(n, 0.021))

    def _outcome(self, run, at):
        return Outcome(run.index, "ok", wall_s=0.001, started_at=at)


def test_what_a_run_costs_beside_its_own_seconds_is_counted():
    """Else the time to the end of short runs is said to be 0 s, with most of them still to do."""
    plan = make_plan(pair, params=FIXED, axes=GRID, seeds=60)
    seen, executor = [], Slow(len(plan))
    report = Loop(plan, Nothing(), executor, launch_id="L", on_failure=OnFailure(),
                  clock=executor.clock, watcher=seen.append).run()  # fmt: skip
    for s in seen:
        if s.finished >= 0.3 * len(plan):
            assert factor(s.eta_s, report.wall_s - s.elapsed_s, report.wall_s) < 1.3


def test_a_search_has_more_to_do_than_it_has_asked_for():
    """Between two rounds nothing is wanted: what will be is not nothing."""
    plan = make_plan(pair, params=FIXED, axes=GRID, seeds=1)
    costs = CostModel(plan)
    left = Left(plan, costs, np.arange(8))
    for run in range(8):
        costs.learn(run, 2.0)
        left.finished(run)
    assert left.work().expected_s == 0.0
    assert left.work(n_more=16).expected_s == pytest.approx(32.0, rel=0.01)


def test_an_answer_that_begins_a_task_is_news(monkeypatch):
    executor = SimulatedExecutor(Cluster(n_nodes=1, slots_per_node=1), np.ones(3))
    plan = make_plan(pair, params=FIXED, axes={"n_target": [1, 2, 3]}, seeds=1)
    loop = Loop(plan, Nothing(), executor, launch_id="L", on_failure=OnFailure(),
                clock=executor.clock)  # fmt: skip
    loop.begin()
    (begun,) = executor.poll(0.5)
    assert begun == Event(begun.task_id)
    assert dataclasses.asdict(begun)["outcomes"] == ()
