import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.compression.choice import (
    LADDER,
    WORTH,
    by_risk,
    likely_restarts,
    prior_stake,
    sizes,
)
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.search import (
    both_sides,
    chance_better,
    enough,
    random_starts,
    turned,
)
from lawsweep.kernels.compression.solve import solve
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.trained import TrainedLoss
from lawsweep.kernels.gaussian.homogeneous import RELU
from lawsweep.kernels.optimise.minimise import Agreement, MinimiseReason, Result, joined, split


def result(losses, converged=None):
    losses = torch.tensor(losses, dtype=torch.float64)
    good = [True] * len(losses) if converged is None else converged
    return Result(
        x=losses[:, None].clone(),
        loss=losses,
        grad_norm=torch.zeros_like(losses),
        n_iterations=torch.arange(len(losses)),
        reason=tuple(MinimiseReason.CONVERGED if g else MinimiseReason.STALLED for g in good),
        curvature_min=torch.zeros_like(losses),
    )


def test_the_first_batch_is_no_smaller_than_it_has_to_be():
    assert list(sizes(7, 0.5)) == [7]
    assert list(sizes(None, 0.0)) == [3, 3, 6, 12, 24]
    for stake in (0.01, 0.05, 0.2, 1.0):
        batches = list(sizes(None, stake))
        assert sum(batches) == LADDER[-1]
        first = batches[0]
        # If all of the first agreed it would be enough, and not with fewer.
        assert first == LADDER[-1] or stake / (first * (first + 1)) <= WORTH
        smaller = [r for r in LADDER if r < first]
        assert not smaller or stake / (smaller[-1] * (smaller[-1] + 1)) > WORTH


def test_the_stake_rises_with_m_and_falls_with_n():
    stakes = [float(prior_stake(m, 5, 20)) for m in (1, 2, 3, 4, 5, 6, 7, 8)]
    assert stakes[:2] == [0.0, 0.0]
    assert stakes[1:] == sorted(stakes[1:])
    assert float(prior_stake(5, 5, 200)) == pytest.approx(stakes[4] / 10)
    assert float(prior_stake(4, 8, math.inf)) == 0.0
    assert float(prior_stake(12, 8, math.inf)) > 0.0
    assert float(prior_stake(1, 1, 9, True)) > 0.0
    assert np.all(likely_restarts(np.array([0.0, 1e9])) == [LADDER[0], LADDER[-1]])


def test_enough_asks_for_chance_and_stake():
    agree = result([-1.0, -1.0, -1.0])
    assert chance_better(Agreement(0, 3, 1), 3) == 1 / 12
    assert enough(agree, Agreement(0, 3, 1), stake=0.0, loss_scale=1.0)
    assert not enough(agree, Agreement(0, 3, 1), stake=0.01, loss_scale=1.0)
    apart = result([-1.0, -1.0, -0.99])
    assert not enough(apart, Agreement(0, 2, 2), stake=0.0, loss_scale=1.0)
    assert enough(apart, Agreement(0, 2, 2), stake=0.0, loss_scale=100.0)
    # Of another sign pattern, a worse minimum was to be expected.
    patterns = torch.tensor([0, 0, 1])
    assert enough(apart, Agreement(0, 2, 2), stake=0.0, loss_scale=1.0, patterns=patterns)
    none = result([-1.0, -2.0], [False, False])
    assert chance_better(Agreement(1, 0, 0), 0) is None
    assert enough(none, Agreement(1, 0, 0), stake=1.0, loss_scale=1.0)


def test_parts_of_results_are_the_whole():
    whole = result([3.0, 1.0, 2.0, 5.0], [True, False, True, True])
    again = joined(split(whole, [1, 3]))
    assert again.reason == whole.reason
    for name in ("x", "loss", "grad_norm", "n_iterations", "curvature_min"):
        assert torch.equal(getattr(again, name), getattr(whole, name))


def test_runs_together_make_the_batches_they_would_make_alone():
    made = {0: [], 1: [], 2: []}

    def batch(runs, size):
        for i in runs:
            made[i].append(size)

    ends = {0: 1, 1: 3, 2: 9}
    plans = [sizes(None, 0.0), sizes(None, 0.0), sizes(None, 0.05)]
    by_risk(plans, batch, lambda i: len(made[i]) >= ends[i])
    assert made == {0: [3], 1: [3, 3, 6], 2: [12, 12, 24]}


@pytest.mark.slow
def test_the_chance_is_above_the_truth():
    """Draws of R from 100 starts of each of 6 targets: how often is another one better?"""
    claimed, true = {3: [], 6: [], 12: []}, {3: [], 6: [], 12: []}
    rng = np.random.default_rng(0)
    for d, n, m in ((2, 12, 5), (4, 20, 6), (5, 20, 5)):
        for seed in range(2):
            losses = all_losses(d, n, m, seed, 100)
            for size in claimed:
                for _ in range(40):
                    own = rng.choice(len(losses), size, replace=False)
                    best = losses[own].min()
                    hits = int((losses[own] - best <= 1e-9 * abs(best)).sum())
                    claimed[size].append(chance_better(Agreement(0, hits, 1), size))
                    others = np.delete(losses, own)
                    true[size].append((others < best - 1e-9 * abs(best)).mean())
    for size in claimed:
        # 240 means of chances of 0.02 to 0.15: known to about 10 %.
        assert np.mean(claimed[size]) > 1.1 * np.mean(true[size])


def target(d, n, seed):
    w = torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))
    return w / w.norm(dim=1, keepdim=True), torch.full((n,), 1.0 / n, dtype=torch.float64)


def all_losses(d, n, m, seed, n_starts):
    w, alpha = target(d, n, seed)
    starts = random_starts(np.random.default_rng(99), n_starts, m, d, 1.0)
    signs = torch.ones(n_starts, m, dtype=torch.float64)
    found = solve(
        PopulationLoss(Target(w, alpha), signs), starts, scale=1.0, tol=1e-10, max_iterations=300
    )
    return found.result.loss[found.result.converged].numpy()


def test_rows_that_only_shrink_are_turned():
    w = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    alpha = torch.tensor([1.0, -1.0], dtype=torch.float64)
    v = torch.tensor([[[-1.0, 0.2], [0.1, 1.0]], [[1.0, 0.0], [0.0, -1.0]]], dtype=torch.float64)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    loss = PopulationLoss(Target(w, alpha), signs)
    gains = loss.gains(v.flatten(1))
    pairs = RELU.value(w[:, None, None], v)
    direct = signs * (alpha[:, None, None] * pairs).sum(0)
    assert torch.allclose(gains, direct.reshape(gains.shape), rtol=1e-12)
    after = turned(loss, v.flatten(1), 2, 2).reshape(v.shape)
    for r in range(2):
        for j in range(2):
            mirror = signs[r, j] * (alpha * RELU.value(w, -v[r, j])).sum()
            worse = gains[r, j] <= 0 and mirror > gains[r, j]
            assert torch.equal(after[r, j], -v[r, j] if worse else v[r, j])
    assert float(loss.gains(after.flatten(1)).min()) > float(gains.min())
    # With outputs of their own: the same gains, and outputs stay.
    outputs = signs.unsqueeze(-1)
    free = TrainedLoss(Target(w, alpha), outputs)
    points = free.join(v, outputs)
    assert torch.allclose(free.gains(points), gains, rtol=1e-12)
    moved = turned(free, points, 2, 2)
    assert torch.equal(moved[:, :4].reshape(v.shape), after)
    assert torch.equal(moved[:, 4:], points[:, 4:])


def test_one_dimension_has_two_sides():
    starts = torch.tensor([[[1.0], [1.0], [1.0]]] * 6, dtype=torch.float64)
    found = both_sides(starts, 3)
    assert found[0, :, 0].tolist() == [1, -1, 1]
    assert found[1, :, 0].tolist() == [-1, 1, -1]
    assert found[2, :, 0].tolist() == [1, 1, 1]
    assert torch.equal(found[3:], found[:3])
    wide = torch.ones(2, 3, 2, dtype=torch.float64)
    assert torch.equal(both_sides(wide, 1), wide)
