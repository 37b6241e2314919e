"""Batches of lambda_min and of compression on a device: mixed ones, and what they hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from card_memory import Held
from pretending import Card

from lawsweep import Infeasible
from lawsweep.core.registry import find_experiment
from lawsweep.experiments import batches
from lawsweep.experiments.compression import run_bytes
from lawsweep.experiments.ntk_min_eig import fused as ntk_fused
from lawsweep.experiments.ntk_min_eig.held import stacked_bytes
from lawsweep.kernels.base import devices
from lawsweep.kernels.ntk import rank as ntk_rank

ntk, compression = find_experiment("ntk_min_eig"), find_experiment("compression")
NTK = {"n_samples": 31, "input_dim": 9, "width": 13, "depth": 3, "activation": "tanh"}
STUDENT = {"n_target": 31, "input_dim": 3, "n_compressed": 2, "target_norm_method": "skip"}
NOISE = {"residual", "gram_error", "grad_norm", "chaotic_from", "n_iterations", "solver_used"}


def assert_same(here, there, rel=1e-9):
    scale = 64 * np.finfo(float).eps * (getattr(here, "lambda_max", None) or 0.0)
    for f in dataclasses.fields(here):
        a, b = getattr(here, f.name), getattr(there, f.name)
        if f.name in NOISE:
            continue
        if isinstance(a, float):
            assert b == pytest.approx(a, rel=rel, abs=scale, nan_ok=True), f.name
        else:
            np.testing.assert_equal(b, a, err_msg=f.name)


MIXED = [
    (
        ntk,
        [
            {**NTK, "data": "sphere"},
            {**NTK, "data": "correlated", "covariance_exponent": 0.3},
            {**NTK, "data": "file:nowhere.npy"},
            {**NTK, "data": "mixture", "separation": 0.7},
            {**NTK, "data": "rademacher"},  # an exact zero: two rows are opposite
            NTK,
        ],
    ),
    (
        compression,
        [
            STUDENT,
            {**STUDENT, "row_mean": 0.4, "target_rows": "gaussian"},
            {**STUDENT, "target_rows": "sparse", "row_density": 1e-9},  # no row but zeros
            {**STUDENT, "centre_rows": True, "target_outputs": "uniform"},
        ],
    ),
]


@pytest.mark.parametrize(("experiment", "points"), MIXED, ids=["ntk_min_eig", "compression"])
def test_a_mixed_batch_is_the_answers_of_each_alone(experiment, points):
    given = [experiment.params_type(**p) for p in points]
    seeds = [7 + k for k in range(len(given))]
    with Card():
        found = experiment.fused(given, seeds, "cuda:0")
    here = experiment.fused(given, seeds, "cpu")
    n_failed = 0
    for p, seed, on_card, one in zip(given, seeds, found, here, strict=True):
        if isinstance(one, Exception):
            n_failed += 1
            assert (type(on_card), str(on_card)) == (type(one), str(one))
            with pytest.raises(type(one)) as alone:
                experiment.function(p, seed, "cpu")
            assert str(alone.value) == str(one)
            continue
        assert_same(experiment.function(p, seed, "cpu"), one)
        assert_same(one, on_card)
    assert n_failed == 1
    if experiment is ntk:
        assert sum(bool(getattr(one, "zero_reason", None)) for one in here) == 1


def test_an_infeasible_member_is_no_failure():
    p = compression.params_type(**{**STUDENT, "target_rows": "sparse", "row_density": 1e-9})
    assert isinstance(compression.fused([p, p], [0, 1], "cpu")[0], Infeasible)


NTK_HELD = {
    "samples": {"n_samples": 260},
    "weights": {"n_samples": 17, "width": 90, "input_dim": 70},
    "depth": {"depth": 6, "bias": True},
    "all eigenvalues at once": {"solver": "dense", "n_samples": 75},
}


@pytest.mark.parametrize("name", NTK_HELD)
def test_a_stack_holds_what_its_model_says_and_at_least_half(name):
    p = ntk.params_type(**{**NTK, **NTK_HELD[name]})
    ntk.function(p, 0, "cpu")  # constants are computed once a process
    with Card() as card:
        ntk.fused([p] * 8, list(range(8)), "cuda:0")
    model = 8 * stacked_bytes(p)
    assert card.memory.peak - 4000 <= model <= 2.0 * card.memory.peak


@pytest.mark.parametrize(
    "point",
    [{}, {"n_target": 500}, {"n_compressed": 4, "solver": "newton_cg"}, {"solver": "lbfgs"}],
    ids=["newton", "rows", "products", "lbfgs"],
)
def test_compression_holds_its_model_within_a_factor_of_two_and_a_half(point):
    """Either way: how many restarts it takes is decided on the way."""
    p = compression.params_type(**{**STUDENT, "input_dim": 7, "max_iterations": 4, **point})
    held = Held()
    with held:
        compression.fused([p] * 4, list(range(4)), "cpu")
    assert held.memory.peak / 2.5 <= 4 * run_bytes(p) <= 2.5 * held.memory.peak + 1e5


def test_what_a_hermite_series_holds_once_is_in_what_a_run_alone_holds():
    p = compression.params_type(
        **{**STUDENT, "n_target": 1800, "activation": "tanh", "student_outputs": "trained"},
        max_iterations=1, n_restarts=1,
    )  # fmt: skip
    held = Held()
    with held:
        compression.function(p, 0, "cpu")
    stated = float(compression.cost(p).memory_bytes)
    assert held.memory.peak <= stated <= 4.0 * held.memory.peak


def test_small_cards_take_several_stacks_and_no_fewer_answers(monkeypatch):
    p = ntk.params_type(**NTK)
    here = ntk.fused([p] * 9, list(range(9)), "cpu")
    a_run = stacked_bytes(p)
    for claimed, real in ((3.5 * a_run / batches.SHARE, 1e9), (1e9, 3.5 * a_run)):
        monkeypatch.setattr(batches, "free_bytes", lambda device, claimed=claimed: claimed)
        with Card(memory_bytes=int(real)) as card:
            found = ntk.fused([p] * 9, list(range(9)), "cuda:0")
        for one, other in zip(here, found, strict=True):
            assert_same(one, other)
        assert (card.memory.refused > 0) == (real < 1e9)
        assert card.memory.peak <= 3.5 * a_run


def test_a_card_of_several_workers_is_shared_out():
    from lawsweep.worker.cards import placed

    with Card(memory_bytes=1000) as card:
        one = torch.zeros(10, dtype=torch.uint8, device="cuda")
        assert batches.free_bytes("cuda:0") == 990
        with placed("GPU 0", 0.25):
            assert batches.free_bytes("cuda:0") == 240
            assert batches.most_at_once(50.0, "cuda:0") == int(0.7 * 240 / 50)
        assert batches.most_at_once(1e9, "cuda:0") == 1
        assert batches.most_at_once(50.0, "cpu") is None
        del one
    assert card.memory.live == 0


def test_a_batch_that_runs_out_is_halved_and_so_are_those_after_it():
    asked = []

    def room_for_three(some):
        asked.append(len(some))
        if len(some) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if 13 in some:
            raise MemoryError("none for this one")
        return [k * 10 for k in some]

    assert batches.in_batches(list(range(12)), room_for_three, None) == [10 * k for k in range(12)]
    assert asked == [12, 6, 3, 3, 3, 3]
    found = batches.in_batches([12, 13], room_for_three, 2)
    assert found[0] == 120
    assert isinstance(found[1], MemoryError)
    with pytest.raises(ZeroDivisionError):
        batches.in_batches([1, 2], lambda some: [1 // 0], None)


def test_a_batch_is_no_larger_than_what_its_host_can_draw(monkeypatch):
    """The weights of a batch are drawn there, and those of the next one beside them."""
    real = batches.free_bytes
    monkeypatch.setattr(batches, "free_bytes", lambda d: 8e6 if d == "cpu" else real(d))
    with Card(memory_bytes=10**9):
        assert batches.most_at_once(100.0, "cuda:0") == 7_000_000
        assert batches.most_at_once(100.0, "cuda:0", draws=50.0) == 2000  # 8e5 / 400
        assert batches.most_at_once(100.0, "cuda:0", draws=1e9) == 1


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_what_names_an_exact_zero_comes_to_the_host_some_members_at_a_time(activation, monkeypatch):
    p = ntk.params_type(**{**NTK, "n_samples": 9, "activation": activation})
    given, seeds = [p] * 5, list(range(5))
    here, sizes = ntk.fused(given, seeds, "cpu"), []

    def counted(lin, reports=ntk_rank.rank_reports):
        sizes.append(lin.batch[0])
        return reports(lin)

    monkeypatch.setattr(ntk_rank, "rank_reports", counted)
    monkeypatch.setattr(ntk_fused, "REPORTED", 2 * p.n_samples * p.network.passed)
    with Card():
        for one, other in zip(here, ntk.fused(given, seeds, "cuda:0"), strict=True):
            assert_same(one, other)
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(("crossover", "sizes"), [(100, [4]), (20, [])])
def test_how_large_a_kernel_is_batched_says_the_table_of_the_card(crossover, sizes, monkeypatch):
    """Where all eigenvalues are taken at once there; on a CPU up to FUSE_UP_TO."""
    p = ntk.params_type(**NTK)
    together, found = ntk_fused._together, []

    def counted(runs, *more):
        found.append(len(runs))
        return together(runs, *more)

    monkeypatch.setattr(ntk_fused, "_together", counted)
    monkeypatch.setattr(ntk_fused, "FUSE_UP_TO", 10)
    monkeypatch.setitem(devices.OVERRIDES, "dense_below", crossover)
    here = ntk.fused([p] * 4, list(range(4)), "cpu")
    assert found == []
    with Card() as card:
        there = ntk.fused([p] * 4, list(range(4)), "cuda:0")
        with card.counting() as alone:
            ntk.function(p, 0, "cuda:0")
    assert found == sizes
    for one, other in zip(here, there, strict=True):
        assert_same(one, other)
    if sizes:  # a batch sends about what one run does
        assert card.counts.operations.total() <= 2.5 * alone.operations.total()
