from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from toys import faulty, fusable, pair, toy

from lawsweep import Cost, Sweep
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import Outcome
from lawsweep.core.protocols import Done
from lawsweep.grid.plan import make_plan
from lawsweep.launch.backlog import MAX_BATCH, TARGET_S, Backlog
from lawsweep.launch.columns import params_of
from lawsweep.launch.committer import Committer
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.record.provenance import git_state, launch_record, new_launch_id


def drain(backlog, n_slots=2):
    batches = []
    while backlog:
        batches.append(backlog.take(n_slots).runs)
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
    assert len(backlog.take(2).runs) <= 4  # nothing known: small
    for i in range(400):  # a tenth
        costs.learn(10 * i, 0.1)
    assert len(backlog.take(2).runs) == pytest.approx(TARGET_S / 0.1, abs=1)
    costs = CostModel(plan)
    for i in range(2000):
        costs.learn(2 * i, 1e-5)
    backlog = Backlog(plan, costs, range(len(plan)), {})
    assert len(backlog.take(2).runs) == MAX_BATCH
    costs = CostModel(plan)
    costs.learn(0, 30.0)
    assert len(Backlog(plan, costs, range(10), {}).take(2).runs) == 1  # long runs go one by one


def test_runs_of_a_batch_need_the_same_and_are_few_batches_all_the_same():
    plan = make_plan(faulty, axes={"i": "range(400)"})
    costs = CostModel(plan)
    for run in range(400):
        costs.learn(run, 1e-3)
    kinds = np.arange(400) % 2
    batches = drain(Backlog(plan, costs, range(400), {}, 1, kinds))
    assert sorted(r.index for b in batches for r in b) == list(range(400))
    assert all(len({r.index % 2 for r in b}) == 1 for b in batches)
    assert len(batches) <= 1 + len(drain(Backlog(plan, costs, range(400), {})))
    costs = CostModel(plan)
    for run in range(0, 400, 10):
        costs.learn(run, 60.0)  # long runs are batches of their own, so they need not be moved
    order = [r.index for b in drain(Backlog(plan, costs, range(400), {}, 1, kinds)) for r in b]
    assert order == list(range(400))


def test_groups_of_a_batch_need_the_same_too():
    plan = make_plan(fusable, axes={"n": "range(1, 21)"}, seeds=3)
    costs = CostModel(plan)
    for run in range(60):
        costs.learn(run, 1e-3)
    kinds = np.arange(20) % 2
    backlog = Backlog(plan, costs, range(60), {}, 64, kinds)
    cuts = []
    while backlog:
        cuts.append(backlog.take(2))
    assert sorted(r.index for c in cuts for r in c.runs) == list(range(60))
    assert all(len({kinds[r.index // 3] for r in c.runs}) == 1 for c in cuts)
    assert all(sum(c.groups) == len(c.runs) for c in cuts)


def test_the_last_batches_are_cut_finer():
    plan = make_plan(faulty, axes={"i": "range(40)"})
    costs = CostModel(plan)
    for run in range(0, 40, 10):
        costs.learn(run, 1e-3)
    sizes = [len(b) for b in drain(Backlog(plan, costs, range(40), {}), n_slots=4)]
    assert sizes[0] == 5
    assert sizes[-1] == 1
    assert sum(sizes) == 40


def test_costs_are_learnt_by_size_and_ignore_the_priors_rate():
    sized = dataclasses.replace(toy, cost=lambda p: Cost(flops=1e9 * p.n))
    plan = make_plan(sized, axes={"n": [1, 30, 1000]})
    costs = CostModel(plan)
    truth = [0.4, 2.0, 370.0]  # not proportional to n: each size has a ratio of its own
    for _ in range(3):
        for run in (0, 2):
            costs.learn(run, truth[run])
        costs.learn(1, None)
    assert costs.n_measured == 6
    assert costs.seconds_of([0, 2]) == pytest.approx([0.4, 370.0])
    # The size nobody measured lies between, by the ratio of the nearest size.
    assert 0.4 < costs.seconds(1) < 370.0


def test_rows_of_another_kind_of_host_do_not_mislead():
    plan = make_plan(toy, axes={"n": [1, 2, 3]})
    ids = plan.run_ids
    rows = {
        ids[0]: Done("ok", 1, 10.0, None, "cpu", 1),
        ids[1]: Done("ok", 1, 1.0, None, "cuda:0", 1),
        ids[2]: Done("ok", 1, 5.0, None, "cpu", 2),
    }
    for kind, expected in ((("cpu", 1), 10.0), (("cuda", 4), 1.0), (("cpu", 2), 5.0)):
        costs = CostModel(plan)
        costs.learn_table(plan, rows, *kind)
        assert costs.seconds(0) == pytest.approx(expected, rel=0.01)
    assert CostModel(plan).n_measured == 0


def test_a_slow_run_counts_by_how_often_there_is_one():
    """One alone may be an accident, and counts by half; of many each has its full say."""
    plan = make_plan(toy, axes={"n": [1]}, seeds=60)
    for slow, low, high in (((), 1.0, 1.0), ((7,), 1.5, 2.0), (range(0, 60, 4), 20.0, 25.75)):
        costs = CostModel(plan)
        for run in range(60):
            costs.learn(run, 100.0 if run in slow else 1.0)
        assert low - 1e-6 <= costs.seconds(0) <= high + 1e-6


def test_the_trend_over_sizes_carries_to_sizes_not_measured():
    """Seconds like flops^0.85: from the largest third of a grid the whole is told within 30 %."""
    sized = dataclasses.replace(toy, cost=lambda p: Cost(flops=1e9 * p.n))
    plan = make_plan(sized, axes={"n": "logspace(1, 1000, 60)"}, seeds=4)
    rng = np.random.default_rng(0)
    n = np.repeat(plan.params["n"], 4).astype(float)
    truth = 0.02 * n**0.85 * rng.lognormal(-0.03, 0.25, len(plan))
    costs = CostModel(plan)
    order = np.argsort(-n, kind="stable")
    for run in order[: len(plan) // 3].tolist():
        costs.learn(run, float(truth[run]))
    left = order[len(plan) // 3 :]
    assert costs.seconds_of(left).sum() == pytest.approx(truth[left].sum(), rel=0.3)


def test_memory_is_never_expected_under_what_was_seen():
    plan = make_plan(toy, axes={"n": [1, 2]})
    costs = CostModel(plan)
    assert costs.memory_bytes(0) > 1e8
    for peak in (4e8, 9e8, 5e8):
        costs.learn(0, 0.1, int(peak))
    assert 9e8 <= costs.memory_bytes(1) <= 1.2 * 9e8


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (lambda p: Cost(flops="many"), "its flops is not"),
        (lambda p: None, "its flops is not"),
        (lambda p: p.nothing, "failed: AttributeError"),
        (lambda p: 1 // 0, "failed: ZeroDivisionError"),
    ],
)
def test_a_cost_function_that_does_not_fit_is_one_sentence(cost, message):
    with pytest.raises(InvalidValueError, match=message):
        CostModel(make_plan(dataclasses.replace(toy, cost=cost), axes={"n": [1]}))


def test_costs_of_large_points_do_not_wrap_around():
    cubic = dataclasses.replace(pair, cost=lambda p: Cost(flops=p.n_target**3))
    plan = make_plan(cubic, params={"n_compressed": 1}, axes={"n_target": [3_000_000, 10_000_000]})
    assert CostModel(plan).seconds(1) > CostModel(plan).seconds(0) > 1e8


def test_the_interval_of_the_work_left_covers_the_truth():
    """Seconds are drawn with noise; the 90 % interval from a tenth of them holds mostly."""
    plan = make_plan(toy, axes={"n": "range(1, 1001)"})
    covered = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        costs = CostModel(plan)
        truth = costs.prior_s * 3.0 * rng.lognormal(0.0, 0.5, 1000)
        backlog = Backlog(plan, costs, range(1000), {})
        for run in rng.permutation(1000)[:100].tolist():
            costs.learn(run, truth[run])
            backlog.finished(run)
            truth[run] = 0.0
        left = backlog.work_left()
        covered += left.low_s <= truth.sum() <= left.high_s
    assert 80 <= covered <= 98  # 90 of 100, binomial sd 3


def test_work_left_falls_to_nothing():
    plan = make_plan(toy, axes={"n": [1, 5, 900]})
    costs = CostModel(plan)
    backlog = Backlog(plan, costs, range(3), {})
    costs.learn(0, 1.0)
    assert backlog.work_left().expected_s > 0
    for run in range(3):
        backlog.finished(run)
    assert backlog.work_left().expected_s == pytest.approx(0.0, abs=1e-12)


def test_params_of_many_runs_are_those_of_each():
    axes = {
        "n_target": [5, 6],
        "n_compressed": [1, 2],
        "widths": [[1, 2], [3]],
        "kernel": ["full", "2"],
        "rate": [None, 0.5],
    }
    plan = make_plan(pair, axes=axes, seeds=3)
    runs = np.random.default_rng(0).permutation(len(plan)).tolist()
    for order in (range(len(plan)), runs, []):
        found = params_of(plan, list(order))
        assert found == [plan.params_of(i) for i in order]
        assert all(type(v) in (int, str, float, tuple, type(None)) for p in found
                   for v in p.values())  # fmt: skip


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


def test_large_arrays_are_due_by_their_bytes_and_go_with_their_rows():
    plan = make_plan(toy, axes={"n": [1, 2, 3]})
    written = []

    class Table:
        def append(self, rows, arrays=None):
            written.append((len(rows), arrays))

    committer = Committer(Table(), plan, "L", every_s=1e9, every_bytes=100)
    metrics = {"y": 1.0, "draws": 1, "converged": True}
    some = {"spectrum": np.zeros(6)}
    committer.add(Outcome(0, "ok", metrics=metrics, arrays=some))
    assert not committer.due()  # 48 bytes
    committer.add(Outcome(1, "ok", metrics=metrics, arrays={"a": np.zeros(4), "b": np.zeros(4)}))
    assert committer.due()
    committer.flush()
    assert not committer.due()
    committer.add(Outcome(2, "ok", metrics=metrics))
    committer.flush()
    assert [(n, a is not None) for n, a in written] == [(2, True), (1, False)]
    assert written[0][1][0] is some
    assert set(written[0][1][1]) == {"a", "b"}


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
