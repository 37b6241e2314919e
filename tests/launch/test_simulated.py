"""The scheduler on a cluster that exists on paper: ten nodes, one lost every minute."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from toys import toy

from lawsweep import Cost
from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch import loop as run_plan
from lawsweep.launch.costs.simulate import simulate
from lawsweep.launch.costs.simulated import Cluster, SimulatedExecutor
from lawsweep.launch.loop import Loop

SEEDS = 10
sized = dataclasses.replace(toy, cost=lambda p: Cost(flops=1e10 * p.n))


class Counting:
    """A table that keeps how often each run had a row, and nothing else."""

    def __init__(self):
        self.n_rows = {}

    def done(self, run_ids):
        return {}

    def append(self, rows, arrays=None):
        for row in rows:
            assert row["status"] == "ok"
            self.n_rows[row["run_id"]] = self.n_rows.get(row["run_id"], 0) + 1


@pytest.fixture(autouse=True)
def same_prior_everywhere(monkeypatch):
    monkeypatch.setattr(run_plan, "core_flops_per_s", lambda: 4e10)


def planned(n_runs):
    """A plan, and true seconds that its stated flops tell only roughly: 0.01 s to some minutes."""
    plan = make_plan(sized, axes={"n": range(1, n_runs // SEEDS + 1)}, seeds=SEEDS)
    rng = np.random.default_rng(1)
    size = np.repeat(plan.params["n"].astype(float), SEEDS) / plan.n_points
    seconds = 30.0 * size**2.7 * rng.lognormal(0.0, 0.4, len(plan))
    slow = rng.random(len(plan)) < 0.01
    seconds[slow] *= np.minimum(10.0, 1.0 + rng.pareto(1.5, int(slow.sum())))
    return plan, 0.01 + seconds


def launched(plan, seconds, cluster):
    table, executor = Counting(), SimulatedExecutor(cluster, seconds)
    launch = Loop(
        plan, table, executor, launch_id="L", on_failure=OnFailure(), clock=executor.clock
    )
    report = launch.run()
    assert dict(report.statuses) == {"ok": len(plan)}
    assert set(table.n_rows) == set(plan.run_ids)
    assert set(table.n_rows.values()) == {1}
    return report, executor


def test_the_makespan_is_near_the_bound_though_nodes_are_lost():
    plan, seconds = planned(10_000)
    cluster = Cluster(n_nodes=10, slots_per_node=8, loss_every_s=60.0)
    report, executor = launched(plan, seconds, cluster)
    assert executor.n_losses >= 0.9 * report.wall_s / 60.0 > 10
    bound = executor.bound_s()
    # No schedule is shorter than it, and what was destroyed is no excuse either: 8 slots lose on
    # average half a run of theirs, so the bound of the planned work alone is not far.
    assert bound <= report.wall_s <= 1.05 * bound
    assert report.wall_s <= 1.10 * executor.bound_s(destroyed=False)


def test_without_losses_it_is_what_plan_on_would_say():
    plan, seconds = planned(3000)
    report, executor = launched(plan, seconds, Cluster(n_nodes=4, slots_per_node=8))
    assert executor.destroyed_s == 0.0
    said = simulate(seconds, 32)
    assert said.bound_s == pytest.approx(executor.bound_s())
    assert report.wall_s == pytest.approx(said.makespan_s, rel=0.03)


def test_what_the_driver_holds_grows_by_some_bytes_a_run():
    """An index in the backlog, and no task and no outcome once it is done with.

    Measured between two sizes, so that what does not grow with the number of runs cancels: tasks
    in flight (one run each here), and rows not yet written (few: they are written soon).
    """
    peaks = []
    for n_runs in (100, 1000, 7000):  # the first also pays for what is loaded or made once
        plan, seconds = planned(n_runs)
        executor = SimulatedExecutor(Cluster(n_nodes=2, slots_per_node=4), seconds + 1.0)
        table = Counting()
        table.n_rows = dict.fromkeys(plan.run_ids, 0)
        tracemalloc.start()
        Loop(
            plan,
            table,
            executor,
            launch_id="L",
            on_failure=OnFailure(),
            clock=executor.clock,
            commit_every_s=0.1,
        ).run()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Eight bytes of order, and a dozen of its kind at the widest moment.  An outcome kept for
    # each run would be over 200 more.
    assert (peaks[2] - peaks[1]) / 6000 < 160


def test_nodes_that_come_back_are_used():
    plan, seconds = planned(2000)
    away = {}
    for away_s in (30.0, 1e9):
        cluster = Cluster(n_nodes=6, slots_per_node=2, loss_every_s=60.0, away_s=away_s)
        away[away_s] = launched(plan, seconds, cluster)[0].wall_s
    assert away[30.0] < 0.8 * away[1e9]


def test_a_cluster_has_nodes():
    with pytest.raises(InvalidValueError, match="nodes and slots from 1"):
        Cluster(n_nodes=0, slots_per_node=1)
