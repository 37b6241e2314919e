"""Which runs travel together, how many of them, and what the cost model learns of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from toys import fusable

from lawsweep import Cost
from lawsweep.grid.plan import make_plan
from lawsweep.launch.backlog import (
    FINEST_S,
    FIRST_BATCH,
    FIRST_LOOKS,
    GROUP_S,
    MAX_BATCH,
    TARGET_S,
    Backlog,
)
from lawsweep.launch.costs.costs import BASE_MEMORY_BYTES, MEMORY_MARGIN, CostModel
from lawsweep.launch.fusing import FAILURES_IN_A_ROW, ONE_ACCIDENT_S, FusingPolicy, kin_of


def made(seconds=None, max_fused=64, n_seeds=10, cost=None, **axes):
    """A backlog of ``fusable`` whose fused runs were measured to take ``seconds`` each."""
    experiment = dataclasses.replace(fusable, cost=cost)
    plan = make_plan(experiment, axes=axes or {"n": [1, 2, 3]}, seeds=n_seeds)
    costs = CostModel(plan)
    costs.fusing = True
    for _ in range(0 if seconds is None else 10):
        for point in range(plan.n_points):
            costs.learn(point * n_seeds, seconds, n_fused=2)
    return Backlog(plan, costs, range(len(plan)), {}, max_fused)


def drain(backlog, n_slots=2, memory=float("inf")):
    cuts = []
    while backlog:
        cuts.append(backlog.take(n_slots, memory))
        for run in cuts[-1].runs:
            backlog.finished(run.index)
    return cuts


def pieces(cut):
    """The runs of each group of a batch."""
    runs = iter(cut.runs)
    return [[next(runs).index for _ in range(n)] for n in cut.groups]


def test_points_are_kin_that_differ_in_the_fused_params_alone():
    plan = make_plan(fusable, axes={"rate": [0.1, 0.2], "n": [1, 2], "log": ["a", "b"]})
    params = [plan.params_of(i) for i in range(len(plan))]
    kin = kin_of(plan)
    for i, p in enumerate(params):
        for j, q in enumerate(params):
            assert (kin[i] == kin[j]) == ((p["n"], p["log"]) == (q["n"], q["log"]))
    seeds_only = make_plan(dataclasses.replace(fusable, fuse_over=()), axes={"rate": [0.1, 0.2]})
    assert len(set(kin_of(seeds_only))) == 2


def test_groups_are_whole_and_everything_goes_once():
    backlog = made(1e-3, rate=[0.1, 0.2], n=[1, 2, 3])
    cuts = drain(backlog)
    assert sorted(r.index for c in cuts for r in c.runs) == list(range(60))
    kin = kin_of(backlog.plan)
    groups = [piece for cut in cuts for piece in pieces(cut)]
    for piece in groups:
        assert len({kin[i // 10] for i in piece}) == 1
    assert list(map(len, groups)) == [20, 20, 20]  # over rates and seeds


def test_a_batch_is_about_a_second_and_a_group_may_be_longer():
    cuts = drain(made(0.01, n_seeds=20, n=list(range(200))), n_slots=4)
    assert len(cuts[0].runs) == pytest.approx(TARGET_S / 0.01, abs=20)
    assert set(cuts[0].groups) == {20}
    long = drain(made(0.3, n_seeds=20, n=list(range(100))), n_slots=4)
    assert long[0].groups == (10,)  # 20 of 0.3 s are too many at once: halves of 3 s
    assert 0.3 * 10 <= GROUP_S < 0.3 * 20
    longest = drain(made(9.0, n_seeds=3, n=[1, 2]), n_slots=2)
    assert [c.groups for c in longest] == [(1,)] * 6
    short = drain(made(1e-6, n_seeds=64, n=list(range(200))), n_slots=1)
    assert len(short[0].runs) <= MAX_BATCH


def test_the_last_groups_are_cut_finer_but_not_to_dust():
    cuts = drain(made(0.1, n_seeds=40, n=[1]), n_slots=2)
    sizes = [n for c in cuts for n in c.groups]
    assert sizes[0] == 10  # a quarter of 4 s of work
    assert sizes == sorted(sizes, reverse=True)
    tiny = drain(made(1e-3, n_seeds=40, n=[1]), n_slots=2)
    assert [c.groups for c in tiny] == [(40,)]
    assert FINEST_S > 40 * 1e-3


def test_while_nothing_is_known_groups_are_small():
    assert max(made(None).take(2).groups) <= 4


def test_the_cap_holds_and_one_means_alone():
    assert {n for c in drain(made(1e-3, max_fused=4)) for n in c.groups} <= {2, 3, 4}
    assert all(c.groups == () for c in drain(made(1e-3, max_fused=1)))


def test_a_group_fits_into_a_slots_memory():
    backlog = made(1e-3, cost=lambda p: Cost(flops=1e6, memory_bytes=1e9))
    room = MEMORY_MARGIN * (BASE_MEMORY_BYTES + 3.5e9)
    assert {n for c in drain(backlog, memory=room) for n in c.groups} <= {1, 2, 3}
    costs = backlog.costs
    assert costs.fused_memory_bytes(0, 3) <= room < costs.fused_memory_bytes(0, 4)
    assert costs.fused_memory_bytes(0, 1) == pytest.approx(costs.memory_bytes(0))
    assert costs.most_fused(0, 1.0) == 1  # a run alone always goes
    assert made(1e-3).costs.most_fused(0, 1.0) == float("inf")  # no cost function: no limit


def test_longest_first_holds_for_groups():
    backlog = made(None, cost=lambda p: Cost(flops=1e9 * p.n), n=[5, 900, 40])
    backlog.costs.learn(0, 0.01, n_fused=2)
    order = [backlog.plan.params_of(r.index)["n"] for c in drain(backlog) for r in c.runs]
    assert order == [900] * 10 + [40] * 10 + [5] * 10


def test_while_nothing_is_known_a_few_short_runs_give_the_first_rows():
    """A guess that is ten times too low would else keep every slot busy for a minute, rowless."""
    backlog = made(None, cost=lambda p: Cost(flops=1e9 * p.n), n=[5, 6, 900, 40])
    cuts = drain(backlog)
    n_of = [[backlog.plan.params_of(r.index)["n"] for r in c.runs] for c in cuts]
    assert n_of[:FIRST_LOOKS] == [[5] * FIRST_BATCH] * 2 + [[5] * 2]
    assert [c.groups for c in cuts[:FIRST_LOOKS]] == [(4,), (4,), (2,)]
    rest = [n for ns in n_of[FIRST_LOOKS:] for n in ns]
    assert rest == [900] * 10 + [40] * 10 + [6] * 10  # then longest first, as ever
    runs = [r.index for c in cuts for r in c.runs]
    assert sorted(runs) == list(range(40))
    # Where none are short, few are left, or something is known, there is nothing to look for.
    for costs, n in ((lambda p: Cost(flops=1e9 * p.n), [800, 900]), (None, [5, 6, 900, 40])):
        first = made(None, cost=costs, n=n).take(2)
        assert first.runs[0].index == (10 if costs else 0)
    few = made(None, n_seeds=2, cost=lambda p: Cost(flops=1e9 * p.n), n=[5, 900])
    assert few.plan.params_of(few.take(2).runs[0].index)["n"] == 900


def test_first_looks_keep_to_the_cap_the_memory_and_one_kind():
    costs = {"cost": lambda p: Cost(flops=1e9 * p.n), "n": [5, 6, 900, 40]}
    assert [c.groups for c in drain(made(None, max_fused=1, **costs))][:3] == [()] * 3
    assert made(None, max_fused=2, **costs).take(2).groups == (2,)
    room = MEMORY_MARGIN * (BASE_MEMORY_BYTES + 3.5e9)
    held = made(None, cost=lambda p: Cost(flops=1e9 * p.n, memory_bytes=1e9), n=[5, 6, 900, 40])
    assert held.take(2, room).groups == (3,)


def test_a_group_of_what_was_never_measured_is_smaller():
    """Runs 200 times as long as any that was measured: a guess, which may be far too low."""
    backlog = made(None, n_seeds=200, cost=lambda p: Cost(flops=1e7 * p.n), n=[5, 1000])
    for _ in range(20):
        backlog.costs.learn(0, float(backlog.costs.prior_s[0]), n_fused=4)
    expected = backlog.costs.seconds(200)
    assert 1 <= len(backlog.take(2).runs) <= max(1.0, GROUP_S / (2 * expected))
    for _ in range(20):
        backlog.costs.learn(200, expected, n_fused=4)
    assert len(backlog.take(2).runs) > GROUP_S / (2 * expected)


def test_runs_of_a_lost_group_come_back_alone():
    backlog = made(1e-3)
    cut = backlog.take(2)
    backlog.put_back(cut.runs[:5])
    assert backlog.take(2) == dataclasses.replace(cut, runs=cut.runs[:5], groups=())


def test_fused_seconds_do_not_mix_with_those_of_alone():
    plan = make_plan(fusable, axes={"n": [1, 2]}, seeds=50)
    costs = CostModel(plan)
    for run in range(10):
        costs.learn(run, 1.0)
        costs.learn(run, 0.1, n_fused=8)
    assert costs.seconds(20) == pytest.approx(1.0)
    costs.fusing = True
    assert costs.seconds(20) == pytest.approx(0.1)
    assert costs.n_measured == 20
    only_alone = CostModel(plan)  # rows of the table: nobody knows how they were computed
    only_alone.fusing = True
    only_alone.learn(0, 1.0)
    assert only_alone.seconds(20) == pytest.approx(1.0)


def test_the_estimate_of_work_left_is_that_of_fused_runs():
    backlog = made(0.02)
    assert backlog.work_left().expected_s == pytest.approx(30 * 0.02)


def test_a_fused_form_that_always_fails_is_given_up():
    policy = FusingPolicy("toy")
    assert policy.notes() == ()
    for _ in range(10):  # now and then is no reason
        assert not policy.failed("ValueError: no\nsecond line")
        policy.worked()
    stops = [policy.failed("KeyError: 'k'") for _ in range(FAILURES_IN_A_ROW)]
    assert stops == [False] * (FAILURES_IN_A_ROW - 1) + [True]
    assert policy.notes() == (
        f"the fused form of toy failed for {10 + FAILURES_IN_A_ROW} groups, whose runs were done "
        "one by one; fusing was given up (first: ValueError: no)",
    )


def test_a_lost_node_is_one_accident():
    policy = FusingPolicy("toy")
    assert not any(policy.failed("crashed: it died", 100.0 + 0.01 * i) for i in range(50))
    later = [policy.failed("crashed", 100.0 + i * (ONE_ACCIDENT_S + 1)) for i in (1, 2)]
    assert later == [False, True]


def test_many_points_are_sorted_into_kin_quickly():
    rng = np.random.default_rng(0)
    axes = {"n": "range(1, 201)", "rate": rng.random(50).tolist()}
    assert len(set(kin_of(make_plan(fusable, axes=axes)))) == 200
