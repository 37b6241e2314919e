"""On a GPU a group has as many runs as its memory holds, and no more than anyone asked for."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from pretending import Card
from toys import fusable

from lawsweep import Cost
from lawsweep.core.protocols import MAX_FUSED, Executor, ExecutorOptions
from lawsweep.core.registry import find_experiment
from lawsweep.executors.serial import SerialExecutor, SerialOptions
from lawsweep.experiments.ntk_min_eig.held import stacked_bytes
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.backlog import GROUP_S, MAX_BATCH, Backlog
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.fusing import Most
from lawsweep.launch.loop import Loop

GIB = 2.0**30
ntk = find_experiment("ntk_min_eig")


class Farm(Executor):
    """Workers on cards, ``n_workers`` a card of so much memory; kind 1 has none."""

    name = "farm"
    n_slots = 2

    def __init__(self, card_bytes, n_workers=1, max_fused=None):
        super().__init__(ExecutorOptions(max_fused=max_fused))
        self._room = card_bytes / n_workers

    def card_memory_bytes(self, kind=0):
        return None if kind else self._room

    def start(self, experiment): ...
    def submit(self, task): ...
    def poll(self, timeout_s): ...
    def kill(self, task_id): ...
    def close(self): ...


def drained(plan, farm, n_slots=2, seconds=1e-4, kinds=None, before=0, host=math.inf):
    """Sizes of the groups, and the backlog; each run takes ``seconds`` once some have answered."""
    costs = CostModel(plan)
    most = Most(costs, farm)
    costs.fusing = most.fuses
    for run in range(before):
        costs.learn(run, seconds, n_fused=2)
    backlog = Backlog(plan, costs, range(len(plan)), {}, most, kinds)
    groups, runs = [], []
    while backlog:
        cut = backlog.take(n_slots, host)
        groups += cut.groups
        runs += [r.index for r in cut.runs]
        for run in runs[-len(cut.runs) :]:
            costs.learn(run, seconds, n_fused=len(cut.runs))
            backlog.finished(run)
    assert sorted(runs) == list(range(len(plan)))
    return groups, backlog


def small_kernels(n_seeds):
    point = {"n_samples": 64, "input_dim": 16, "width": 32, "depth": 3, "activation": "tanh"}
    return make_plan(ntk, params=point, seeds=n_seeds), ntk.params_type(**point)


@pytest.mark.parametrize("n_workers", [1, 4])
def test_a_sweep_of_65536_small_kernels_goes_as_the_memory_of_its_cards_has_it(n_workers):
    plan, params = small_kernels(65_536)
    a_run = float(stacked_bytes(params))
    card_bytes = 12_000 * a_run
    groups, _ = drained(plan, Farm(card_bytes, n_workers))
    largest = max(groups)
    assert largest > MAX_BATCH
    assert 0.7 * card_bytes / n_workers <= largest * a_run <= card_bytes / n_workers
    # Nothing was known at first but a core's seconds: no group was longer than one may be.
    assert groups[0] <= GROUP_S / CostModel(plan).seconds(0)


def test_the_groups_of_a_card_are_no_finer_than_its_slots():
    """Half a group takes a card about as long as all of it."""
    plan, _ = small_kernels(1024)
    assert drained(plan, Farm(80 * GIB), n_slots=1, before=50)[0] == [1024]
    # At the end nobody waits for a tenth of a second: two slots share what is longer.
    assert drained(plan, Farm(80 * GIB), seconds=1e-3, before=50)[0][0] == 512


def test_who_gives_a_number_is_obeyed_and_so_is_the_card():
    plan, params = small_kernels(2000)
    assert max(drained(plan, Farm(80 * GIB, max_fused=100))[0]) == 100
    assert max(drained(plan, Farm(80 * GIB, max_fused=1500), n_slots=1, before=9)[0]) == 1500
    # A number above what fits does not make it fit.
    fits = drained(plan, Farm(50 * stacked_bytes(params), max_fused=1500))[0]
    assert 30 <= max(fits) <= 50


@pytest.mark.parametrize("cost", [None, lambda p: Cost(flops=1e6 * p.n)])
def test_where_memory_is_not_known_a_group_is_as_on_a_cpu(cost):
    plan = make_plan(dataclasses.replace(fusable, cost=cost), axes={"n": [5]}, seeds=300)
    assert max(drained(plan, Farm(80 * GIB), seconds=1e-6)[0]) == MAX_FUSED
    stated = dataclasses.replace(fusable, cost=lambda p: Cost(memory_bytes=1e6 * p.n))
    plan = make_plan(stated, axes={"n": [5]}, seeds=300)
    assert max(drained(plan, Farm(math.inf), seconds=1e-6)[0]) == MAX_FUSED
    assert max(drained(plan, Farm(80 * GIB), seconds=1e-6, n_slots=1, before=9)[0]) == 300


def test_beside_cards_the_groups_of_a_cpu_are_what_they_were():
    stated = dataclasses.replace(fusable, cost=lambda p: Cost(memory_bytes=1e6 * p.n))
    plan = make_plan(stated, axes={"n": [5, 6]}, seeds=300)
    groups, _ = drained(plan, Farm(80 * GIB), 1, 1e-6, kinds=np.array([0, 1]), before=9)
    assert max(groups) > 290  # but for the first looks
    assert max(n for n in groups if n < 290) == MAX_FUSED


def test_what_runs_hold_on_a_card_is_learnt_and_bounds_the_groups():
    plan, _ = small_kernels(100)
    costs = CostModel(plan)
    stated = costs.most_fused_on_card(0, 80 * GIB)
    costs.on_cards.learn(0, 1000.0)  # less than stated, by a run alone
    assert costs.most_fused_on_card(0, 80 * GIB) == stated
    alone = float(costs.stated_bytes(np.array([0]))[0]) + 2.0**20
    costs.on_cards.learn(0, 3.0 * alone)
    assert costs.most_fused_on_card(0, 80 * GIB) == pytest.approx(stated / 3.0, rel=1e-3)
    assert costs.most_fused_on_card(0, 1.0) == 1


def test_a_group_that_ran_out_of_memory_halves_those_that_follow():
    plan, _ = small_kernels(4000)
    _, backlog = drained(plan, Farm(80 * GIB), n_slots=1, before=50)
    most = backlog.most
    assert most.largest == 4000
    for half in (2000, 1000):
        most.halve()
        assert most.of(0, 0, math.inf) == half
    most.ceiling = 1
    assert not most.fuses


class Kept:
    """A table that keeps what it is given."""

    def __init__(self):
        self.rows = []

    def check_writable(self): ...
    def learn(self, experiment): ...

    def done(self, run_ids):
        return {}

    def news(self, columns=()):
        return []

    def append(self, rows, arrays=None):
        self.rows += rows


@pytest.mark.parametrize("max_fused", [None, 40])
def test_a_launch_on_a_card_makes_batches_by_its_memory(max_fused):
    point = {"n_samples": 12, "input_dim": 4, "width": 6, "depth": 2, "activation": "tanh"}
    with Card():
        ntk.function(ntk.params_type(**point), 0, "cuda:0")  # what is checked once a process
    plan, table = make_plan(ntk, params=point, seeds=120), Kept()
    a_run = float(stacked_bytes(ntk.params_type(**point)))
    executor = SerialExecutor(SerialOptions(device="cuda", max_fused=max_fused))
    with Card(memory_bytes=int(100 * a_run)) as card:
        executor.start(ntk)
        loop = Loop(plan, table, executor, launch_id="a", on_failure=OnFailure())
        loop.run()
        executor.close()
    assert {row["status"] for row in table.rows} == {"ok"}
    sizes = {row["n_fused"] for row in table.rows}
    assert card.memory.refused == 0
    assert card.memory.peak <= card.memory.size
    assert max(sizes) == 40 if max_fused else 65 < max(sizes) <= 100
