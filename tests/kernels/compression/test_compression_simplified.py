import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.base import devices
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.search import frame_start, random_starts
from lawsweep.kernels.compression.simplified import ReducedLoss, SimplifiedLoss
from lawsweep.kernels.compression.solve import solve
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import (
    frame_cosine,
    frame_holds,
    limit_loss,
    mean_field_objective,
    predicted_gap,
    target_moments,
)
from lawsweep.kernels.data import sampling
from lawsweep.kernels.gaussian.homogeneous import RELU, HomogeneousKernel
from lawsweep.kernels.optimise.minimise import MinimiseReason

OPTIONS = {"scale": 1.0, "tol": 1e-10, "max_iterations": 300}


def ones(n, m):
    return torch.ones(n, m, dtype=torch.float64)


def sphere(d, n, seed=0):
    rng = np.random.default_rng(seed)
    w = sampling.rows("sphere", rng, n, d) / math.sqrt(d)
    return w, torch.full((n,), 1.0 / n, dtype=torch.float64)


@pytest.mark.parametrize("slope", [-1.0, -0.5, 0.0, 0.3])
@pytest.mark.parametrize(("m", "d"), [(2, 4), (3, 5), (5, 8)])
def test_every_slope_reaches_its_frame(slope, m, d):
    kernel = HomogeneousKernel(slope)
    starts = random_starts(np.random.default_rng(0), 4, m, d, 1.0, kernel)
    found = solve(SimplifiedLoss(Target.averaged(1.0, d, kernel), ones(4, m)), starts, **OPTIONS)
    loss = kernel.mean_factor(d) + found.result.loss
    assert frame_holds(m, d, kernel)
    assert MinimiseReason.CONVERGED in found.result.reason
    best = float(loss[found.agreement.best])
    assert best == pytest.approx(limit_loss(1.0, d, m, kernel), abs=2e-14)
    unit = found.v / found.v.norm(dim=-1, keepdim=True)
    cosines = (unit @ unit.T)[~torch.eye(m, dtype=torch.bool)]
    expected = frame_cosine(m, kernel)
    # At cosine -1 (M = 2) the loss is flat to third order.
    assert torch.allclose(cosines, torch.full_like(cosines, expected), rtol=0, atol=1e-4)


def test_common_cosines_of_leaky_slopes():
    assert frame_cosine(4, RELU) == -1 / 3
    assert frame_cosine(4, HomogeneousKernel(-1.0)) == 0.0
    a = -0.6
    derived = -math.sin(math.pi * (1 + a) ** 2 / (2 * (1 - a) ** 2))
    assert frame_cosine(4, HomogeneousKernel(a)) == pytest.approx(derived, rel=1e-14)
    assert not frame_holds(5, 4, HomogeneousKernel(-1.0))
    assert frame_holds(5, 4, RELU)


def test_a_linear_mean_term_is_the_minimum_over_one_common_cosine():
    # Equal norms and one common cosine c, the sum of the rows along m:
    # J(t, c) = -2 t [M A D + |m| |sum v^|/4] + t^2 [M/2 + M (M-1) k(c)], least over t and c.
    d, m, size = 9, 4, 0.3
    rows = torch.zeros(2, d, dtype=torch.float64)
    rows[:, 2] = torch.tensor([1.0, -1.0])  # A = 1 and |m| = size
    target = Target(rows, torch.tensor([0.5 + 0.5 * size, 0.5 - 0.5 * size], dtype=torch.float64))
    starts = random_starts(np.random.default_rng(1), 6, m, d, 1.0)
    found = solve(SimplifiedLoss(target, ones(6, m), linear=True), starts, **OPTIONS)

    def least(c):
        pull = m * RELU.mean_factor(d) + 0.25 * size * math.sqrt(m + m * (m - 1) * c)
        k = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / (2 * math.pi)
        return -(pull**2) / (0.5 * m + m * (m - 1) * k)

    low, high = -1 / 3 + 1e-12, 0.5
    for _ in range(200):  # golden section
        a, b = high - 0.6180339887498949 * (high - low), low + 0.6180339887498949 * (high - low)
        low, high = (low, b) if least(a) < least(b) else (a, high)
    assert set(found.result.reason) == {MinimiseReason.CONVERGED}
    assert float(found.result.loss.min()) == pytest.approx(least(0.5 * (low + high)), rel=1e-13)
    total = found.v.sum(0)
    assert float(total[2] / total.norm()) == pytest.approx(1.0, abs=1e-9)


def test_derivatives_of_the_reduced_loss_against_autograd():
    w, alpha = sphere(4, 30)
    moments = target_moments(w, alpha)
    tested = ReducedLoss(Target(w, alpha), ones(2, 3))
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((2, 12)))
    d2 = RELU.mean_factor(4) * 4 * 6 / (2 * 25)
    directions = w / w.norm(dim=1, keepdim=True)
    e = (alpha * w.norm(dim=1) * directions.T) @ directions
    e = e - torch.trace(e) / 4 * torch.eye(4, dtype=torch.float64)

    def naive(y):
        v = y.reshape(3, 4)
        total = 0.5 * (v * v).sum()
        for j in range(3):
            n = v[j].norm()
            h = n * moments.scale * RELU.mean_factor(4) + 0.25 * (alpha @ w) @ v[j]
            total = total - 2 * (h + d2 * v[j] @ e @ v[j] / n)
            for i in range(3):
                if i != j:
                    r = v[i] @ v[j] / (n * v[i].norm())
                    k = torch.sqrt(1 - r * r) + r * (math.pi - torch.acos(r))
                    total = total + n * v[i].norm() * k / (2 * math.pi)
        return total

    values, gradients = tested.value_gradient(x)
    hessian, p = tested.hessian(x), torch.ones_like(x)
    for r in range(2):
        expected = torch.autograd.functional.hessian(naive, x[r])
        assert float(values[r]) == pytest.approx(float(naive(x[r])), rel=1e-12)
        assert torch.allclose(gradients[r], torch.func.grad(naive)(x[r]), rtol=0, atol=1e-13)
        assert torch.allclose(hessian[r], expected, rtol=0, atol=1e-12)
        assert torch.allclose(tested.hessian_product(x)(p)[r], expected.sum(1), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("d", "n", "m", "tolerance"), [(10, 100, 3, 0.012), (10, 100, 5, 0.02)])
def test_the_reduced_problem_predicts_the_gap_where_first_order_is_off(d, n, m, tolerance):
    # What is left are degrees 4 and higher; over six seeds 0.5 % (M = 3) and 1.3 % (M = 5).
    for seed in range(2):
        w, alpha = sphere(d, n, seed)
        moments = target_moments(w, alpha)
        starts = random_starts(np.random.default_rng(seed), 3, m, d, 1.0)
        starts[0] = frame_start(m, 1.0, moments.mean, moments.eigenvectors)
        whole = solve(PopulationLoss(Target(w, alpha), ones(3, m)), starts, **OPTIONS)
        reduced = solve(ReducedLoss(Target(w, alpha), ones(3, m)), starts, **OPTIONS)
        limit = mean_field_objective(moments.scale, d, m)
        gaps = [float(f.result.loss[f.agreement.best]) - limit for f in (whole, reduced)]
        assert gaps[1] == pytest.approx(gaps[0], rel=tolerance)
        assert abs(gaps[0]) > abs(gaps[1])  # higher degrees are chosen to help
        assert sum(predicted_gap(moments, m)) == pytest.approx(gaps[0], rel=0.08)


def test_restarts_of_their_own_moments_are_as_if_alone():
    targets = [Target(*sphere(5, 40, seed)) for seed in range(2)]
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 15)))
    group = torch.tensor([0, 1, 1])
    together = ReducedLoss(targets, ones(3, 3), group=group)
    for r in range(3):
        alone = ReducedLoss(targets[group[r]], ones(1, 3))
        part = together.take(torch.tensor([r]))
        for a, b in zip(
            alone.value_gradient(x[r : r + 1]), part.value_gradient(x[r : r + 1]), strict=True
        ):
            assert torch.allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.portable
def test_targets_in_a_batch_are_as_if_alone():
    targets = [Target(*sphere(5, 40, seed)) for seed in range(3)]
    group = torch.tensor([2, 0, 0, 1, 2])
    signs = torch.tensor([[1.0, 1, -1]] * 5, dtype=torch.float64)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 15)))
    whole = PopulationLoss(targets, signs, group=group)
    p = torch.ones_like(x)
    for index in ([0, 1, 2, 3, 4], [1, 4], [3]):
        part, at = whole.take(torch.tensor(index)), torch.tensor(index)
        value, gradient = part.value_gradient(x[at])
        hessian, product = part.hessian(x[at]), part.hessian_product(x[at])(p[at])
        for row, r in enumerate(index):
            alone = PopulationLoss(targets[int(group[r])], signs[:1])
            one, slope = alone.value_gradient(x[r : r + 1])
            assert float(value[row]) == pytest.approx(float(one), rel=1e-13)
            assert torch.allclose(gradient[row], slope[0], rtol=1e-12, atol=1e-14)
            # Rows that nearly point the same way divide a cosine's rounding by their angle.
            assert torch.allclose(hessian[row], alone.hessian(x[r : r + 1])[0], rtol=0, atol=1e-9)
            assert torch.allclose(product[row], hessian[row] @ p[r], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="give the target of each restart"):
        PopulationLoss(targets, signs)
    with pytest.raises(ValueError, match="groups from 0 to 2"):
        PopulationLoss(targets, signs, group=torch.tensor([0, 1, 2, 3, 0]))


def test_products_that_keep_nothing_are_the_same(monkeypatch):

    w, alpha = sphere(5, 400)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 15)))
    tested = PopulationLoss(Target(w, alpha), ones(2, 3), block_elements=200)
    kept = tested.hessian_product(x)
    monkeypatch.setattr(devices, "KEPT_NUMBERS", 0)
    streamed = tested.hessian_product(x)
    for seed in range(2):  # twice: nothing may pile up from one product to the next
        p = torch.from_numpy(np.random.default_rng(seed).standard_normal(x.shape))
        assert torch.allclose(kept(p), streamed(p), rtol=1e-12, atol=1e-14)
