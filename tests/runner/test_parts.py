from __future__ import annotations

import numpy as np
import pytest
from toys import faulty, toy

from lawsweep import Sweep
from lawsweep.core.outcome import Outcome
from lawsweep.core.plan import make_plan
from lawsweep.runner.backlog import MAX_BATCH, TARGET_S, Backlog
from lawsweep.runner.committer import Committer
from lawsweep.runner.costs import CostModel
from lawsweep.runner.provenance import git_state, launch_record, new_launch_id


def drain(backlog, n_slots=2):
    batches = []
    while backlog:
        batches.append(backlog.take(n_slots))
    return batches


def test_longest_first_and_everything_once():
    plan = make_plan(toy, axes={"n": [5, 1, 900, 40]}, seeds=3)
    backlog = Backlog(plan, CostModel(plan), range(len(plan)), {})
    order = [run.index for batch in drain(backlog) for run in batch]
    assert sorted(order) == list(range(12))
    sizes = [plan.params_of(i)["n"] for i in order]
    assert sizes == sorted(sizes, reverse=True)


def test_batches_follow_measured_seconds():
    plan = make_plan(faulty, axes={"i": "range(4000)"})
    costs = CostModel(plan)
    backlog = Backlog(plan, costs, range(len(plan)), {})
    assert len(backlog.take(2)) <= 4  # nothing known: small
    costs.learn(0, 0.1)
    assert len(backlog.take(2)) == pytest.approx(TARGET_S / 0.1, abs=1)
    for _ in range(2000):
        costs.learn(0, 1e-5)
    assert len(backlog.take(2)) == MAX_BATCH
    costs = CostModel(plan)
    costs.learn(0, 30.0)
    assert len(Backlog(plan, costs, range(10), {}).take(2)) == 1  # long runs go one by one


def test_the_last_batches_are_cut_finer():
    plan = make_plan(faulty, axes={"i": "range(40)"})
    costs = CostModel(plan)
    costs.learn(0, 1e-3)
    sizes = [len(b) for b in drain(Backlog(plan, costs, range(40), {}), n_slots=4)]
    assert sizes[0] == 5
    assert sizes[-1] == 1
    assert sum(sizes) == 40


def test_costs_are_learnt_by_size_and_ignore_the_priors_rate():
    plan = make_plan(toy, axes={"n": [1, 1000]})
    costs = CostModel(plan)
    truth = np.array([0.4, 37.0])
    for _ in range(3):
        costs.learn(0, truth[0])
        costs.learn(1, truth[1])
        costs.learn(1, None)
    # 1e6 flops are little beside the prior's overhead: both points share a bin, so the mean holds
    assert costs.total_s([0, 1]) == pytest.approx(truth.sum(), rel=0.1)
    assert costs.n_measured == 6


def test_rows_are_due_by_time_and_by_count():
    plan = make_plan(toy, axes={"n": [1, 2, 3]})
    now = [0.0]
    written = []

    class Table:
        def append(self, rows):
            written.append([r["run_id"] for r in rows])

    committer = Committer(Table(), plan, "L", every_s=2.0, every_n=2, clock=lambda: now[0])
    assert not committer.due()
    committer.add(Outcome(0, "ok", metrics={"y": 1.0, "draws": 1, "converged": True}))
    now[0] = 1.9
    assert not committer.due()
    now[0] = 2.0
    assert committer.due()
    committer.flush()
    committer.add(Outcome(1, "failed", error="x"))
    committer.add(Outcome(2, "failed", error="x"))
    assert committer.due()
    committer.flush()
    committer.flush()
    assert written == [plan.run_ids[:1], plan.run_ids[1:]]
    assert committer.n_committed == 3


def test_a_launch_is_recorded_for_years(tmp_path):
    sweep = Sweep(name="s", experiment=toy, axes={"n": [1]}, overrides=("seeds=1",))
    record = launch_record(new_launch_id(), sweep, sweep.plan(), "lawsweep run s", {"kind": "x"})
    assert record["command"] == "lawsweep run s"
    assert record["overrides"] == ["seeds=1"]
    assert record["packages"]["numpy"] == np.__version__
    assert record["hardware"]["n_cpus"] >= 1
    assert record["id_scheme"] == 1
    assert git_state(tmp_path) is None
    assert new_launch_id() != new_launch_id()
