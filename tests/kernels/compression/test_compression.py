import math

import numpy as np
import pytest
import torch
from reference_compression import objective, objective_gradient, value

from lawsweep.kernels.compression.norm import target_norm
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.simplified import SimplifiedLoss
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import simplex_frame
from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel

SIGNS = torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)


def instance(n=12, d=4, m=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal((2, m, d))


def target(w, alpha, slope=0.0):
    profile = HomogeneousKernel(slope)
    return Target(torch.from_numpy(w), torch.from_numpy(alpha), profile)


def loss(w, alpha, signs=SIGNS, slope=0.0, **options):
    return PopulationLoss(target(w, alpha, slope), signs, **options)


def check_against_reference(w, alpha, v, slope=0.0):
    """Value and gradient to 1e-12 of the sum of the terms' sizes."""
    got, gradient = loss(w, alpha, slope=slope).value_gradient(torch.from_numpy(v).flatten(1))
    norms = np.linalg.norm(v, axis=-1).sum(-1)
    target = np.abs(alpha) @ np.linalg.norm(w, axis=-1)
    for r in range(len(v)):
        s = SIGNS[r].numpy()
        expected = objective(w, alpha, v[r], s, slope)
        assert float(got[r]) == pytest.approx(expected, abs=1e-12 * norms[r] * (target + norms[r]))
        difference = gradient[r].numpy() - objective_gradient(w, alpha, v[r], s, slope).ravel()
        assert np.abs(difference).max() <= 1e-12 * (target + norms[r])


@pytest.mark.parametrize("slope", [0.0, 0.3, -1.0])
def test_loss_and_gradient_against_quadrature(slope):
    check_against_reference(*instance(), slope)


def test_target_rows_parallel_and_opposite_to_compressed_rows():
    w, alpha, v = instance()
    w[0], w[1], w[2] = 2.0 * v[0, 0], -v[0, 1], v[1, 2]
    w[3] = v[0, 0] + 1e-9 * w[4]
    w[5] = -v[1, 1] + 1e-7 * w[6]
    check_against_reference(w, alpha, v)


def test_equal_and_opposite_compressed_rows():
    w, alpha, v = instance()
    v[0, 1] = v[0, 0]
    v[1, 2] = -0.5 * v[1, 0]
    check_against_reference(w, alpha, v)


@pytest.mark.parametrize("size", [1e-120, 1e-12, 1e12, 1e120])
def test_tiny_and_huge_norms_scale_exactly(size):
    w, alpha, v = instance()
    base, base_gradient = loss(w, alpha).value_gradient(torch.from_numpy(v).flatten(1))
    got, gradient = loss(size * w, alpha).value_gradient(torch.from_numpy(size * v).flatten(1))
    assert torch.allclose(got / size / size, base, rtol=1e-12, atol=0)
    assert torch.allclose(gradient / size, base_gradient, rtol=1e-11, atol=1e-13)


def test_scaling_target_rows_against_output_weights_changes_nothing():
    w, alpha, v = instance()
    x = torch.from_numpy(v).flatten(1)
    c = np.exp(np.linspace(-20, 20, len(alpha)))
    a, ga = loss(w, alpha).value_gradient(x)
    b, gb = loss(w * c[:, None], alpha / c).value_gradient(x)
    assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)
    assert torch.allclose(ga, gb, rtol=1e-12, atol=1e-12)


def naive_loss(x, w, alpha, signs, shape, slope, cross=None):
    """J by loops over torch scalars, for autograd; generic positions only."""

    def k(u, v):
        r = (u @ v) / (u.norm() * v.norm())
        lin, even = (1 + slope) ** 2 / 4, (1 - slope) ** 2 / (2 * math.pi)
        ke = torch.sqrt(1 - r**2) + r * (math.pi / 2 - torch.acos(r))
        return u.norm() * v.norm() * (lin * r + even * ke)

    v = x.reshape(shape)
    total = sum((1 + slope**2) / 2 * (row @ row) for row in v)
    for j in range(len(v)):
        total = total + sum(signs[j] * signs[i] * k(v[i], v[j]) for i in range(len(v)) if i != j)
        if cross is None:
            total = total - 2 * signs[j] * sum(
                a * k(u, v[j]) for a, u in zip(alpha, w, strict=True)
            )
        else:
            total = total - 2 * signs[j] * cross * v[j].norm()
    return total


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("simplified", [False, True])
def test_hessian_and_its_products_against_autograd(slope, simplified):
    w, alpha, v = instance()
    kernel = HomogeneousKernel(slope)
    x = torch.from_numpy(v).flatten(1)
    tested = (
        SimplifiedLoss(Target.averaged(1.3, 4, kernel), SIGNS)
        if simplified
        else loss(w, alpha, slope=slope)
    )
    cross = 1.3 * kernel.mean_factor(4) if simplified else None
    tw, ta = torch.from_numpy(w), torch.from_numpy(alpha)
    values, gradients = tested.value_gradient(x)
    hessian, product = tested.hessian(x), tested.hessian_product(x)
    p = torch.from_numpy(np.random.default_rng(9).standard_normal(x.shape))
    for r in range(2):

        def f(y, r=r):
            return naive_loss(y, tw, ta, SIGNS[r], (3, 4), slope, cross)

        assert float(values[r]) == pytest.approx(float(f(x[r])), rel=1e-12)
        expected = torch.autograd.functional.hessian(f, x[r])
        size = float(expected.abs().max())
        assert torch.allclose(gradients[r], torch.func.grad(f)(x[r]), rtol=0, atol=1e-12 * size)
        # 1/s of the closest pair, about 10 here, multiplies the rounding.
        assert torch.allclose(hessian[r], expected, rtol=0, atol=1e-11 * size)
        assert torch.allclose(product(p)[r], expected @ p[r], rtol=0, atol=1e-11 * size)


def test_hessian_is_continuous_where_a_target_row_is_met():
    # The second derivative of k there is s (...) -> 0; 1/s in its formula must not show.
    w, alpha, v = instance()
    w[0] = v[0, 0]
    x = torch.from_numpy(v).flatten(1)
    tested = loss(w, alpha)
    shift = torch.zeros_like(x)
    shift[:, 1] = 1e-4
    at, near = tested.hessian(x), tested.hessian(x + shift)
    assert bool(at.isfinite().all())
    assert float((at - near).abs().max()) < 1e-2


@pytest.mark.parametrize("block_elements", [1, 300, 1 << 20])
def test_blocks_change_nothing(block_elements):
    w, alpha, v = instance(n=300)
    x = torch.from_numpy(v).flatten(1)
    a, b = loss(w, alpha), loss(w, alpha, block_elements=block_elements)
    for one, other in zip(a.value_gradient(x), b.value_gradient(x), strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
    assert torch.allclose(a.hessian(x), b.hessian(x), rtol=1e-11, atol=1e-11)


@pytest.mark.portable
def test_take_selects_restarts_with_their_signs():
    w, alpha, v = instance()
    x = torch.from_numpy(v).flatten(1)
    whole, part = loss(w, alpha), loss(w, alpha).take(torch.tensor([1]))
    # Another restart, or other signs, differ in the first digit.
    expected = float(whole.value_gradient(x)[0][1])
    assert float(part.value_gradient(x[1:])[0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("tile", [3, 1024])
@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_target_norm_against_the_double_sum(tile, slope):
    w, alpha, _ = instance()
    w[3], w[4] = w[2], -2.0 * w[2]
    w[5] = 0.0
    rows = [i for i in range(len(w)) if i != 5]
    expected = sum(alpha[i] * alpha[j] * value(w[i], w[j], slope) for i in rows for j in rows)
    got = target_norm(target(w, alpha, slope), tile=tile)
    size = (np.abs(alpha) @ np.linalg.norm(w, axis=1)) ** 2
    assert got == pytest.approx(expected, abs=1e-14 * size)


def test_a_perfect_copy_has_loss_zero():
    w, alpha, _ = instance(n=3)
    alpha = np.abs(alpha)
    x = torch.from_numpy(w * alpha[:, None]).reshape(1, -1)
    j, gradient = loss(w, alpha, SIGNS[1:]).value_gradient(x)
    norm = target_norm(target(w, alpha))
    assert norm + float(j) == pytest.approx(0.0, abs=1e-15 * norm * 10)
    assert float(gradient.abs().max()) < 1e-14 * math.sqrt(norm) * 10


def test_zero_rows_stay_and_say_nothing():
    w, alpha, v = instance()
    w[2] = 0.0
    v[0, 1] = 0.0
    x = torch.from_numpy(v).flatten(1)
    tested = loss(w, alpha)
    j, gradient = tested.value_gradient(x)
    keep = [0, 2]
    alone = loss(w, alpha, SIGNS[:1, keep]).value_gradient(
        x[:1].reshape(1, 3, 4)[:, keep].flatten(1)
    )
    assert float(j[0]) == pytest.approx(float(alone[0]), rel=1e-14)
    assert torch.equal(gradient[0, 4:8], torch.zeros(4, dtype=torch.float64))
    h = tested.hessian(x)[0]
    assert torch.equal(h[4:8, 4:8], torch.eye(4, dtype=torch.float64))
    assert float(h[4:8, :4].abs().max()) == 0.0
    p = torch.ones_like(x)
    assert torch.allclose(tested.hessian_product(x)(p)[0], h @ p[0], rtol=1e-12, atol=1e-12)
    assert torch.equal(tested.move(x, p).point[0, 4:8], torch.zeros(4, dtype=torch.float64))


def test_retraction_is_the_step_to_first_order():
    w, alpha, v = instance()
    x = torch.from_numpy(v).flatten(1)
    p = torch.from_numpy(np.random.default_rng(2).standard_normal(x.shape))
    errors = [
        float((loss(w, alpha).move(x, h * p).point - x - h * p).abs().max()) for h in (1e-3, 1e-4)
    ]
    assert errors[0] < 1e-4
    assert errors[1] < errors[0] / 80  # second order: a factor of 100


def test_retraction_of_a_rotation_turns_without_stretching():
    rng = np.random.default_rng(4)
    a = rng.standard_normal((6, 6))
    # An exact simplex frame, so that all of the step is a rotation of its M - 1 dimensions.
    frame = simplex_frame(3, torch.eye(6, dtype=torch.float64))
    step = 0.5 * frame @ torch.from_numpy(a - a.T)
    tested = SimplifiedLoss(Target.averaged(1.0, 6), SIGNS[1:])
    moved = tested.move(frame.reshape(1, -1), step.reshape(1, -1)).point.reshape(3, 6)
    straight = frame + step
    bent = float((moved @ moved.T - frame @ frame.T).abs().max())
    assert bent < 0.1 * float((straight @ straight.T - frame @ frame.T).abs().max())


def test_directions_turn_as_the_rows_do():
    rng = np.random.default_rng(5)
    tested = SimplifiedLoss(Target.averaged(1.0, 6), SIGNS)
    frame = simplex_frame(3, torch.eye(6, dtype=torch.float64))
    a = rng.standard_normal((6, 6))
    x = torch.stack([frame, 2.0 * frame]).flatten(1)
    step, p, q = (torch.from_numpy(rng.standard_normal(x.shape)) for _ in range(3))
    turn = tested.move(x, step).turn
    assert torch.allclose(turn.back(turn.forth(p)), p, rtol=0, atol=1e-13)
    # A rotation of space: all products of rows of p and q stay.
    turned = [turn.forth(y).reshape(2, 3, 6) for y in (p, q)]
    plain = [y.reshape(2, 3, 6) for y in (p, q)]
    assert torch.allclose(turned[0] @ turned[1].mT, plain[0] @ plain[1].mT, rtol=0, atol=1e-12)
    # Of a small step that turns the rows, it is the turn that the retraction makes: what is left
    # of the step is of second order, and so is the damping's share of it.
    errors = []
    for h in (1e-2, 1e-3):
        small = h * x[:1].reshape(3, 6) @ torch.from_numpy(a - a.T)
        move = tested.move(x[:1], small.reshape(1, -1))
        errors.append(float((move.turn.forth(x[:1]) - move.point).norm()) / h)
    assert max(errors) < 0.02 * float(np.linalg.norm(a - a.T))


def test_bad_shapes_are_refused():
    w, alpha, _ = instance()
    with pytest.raises(ValueError, match=r"alpha \(N,\) or \(N, K\), got \(12, 4\) and \(3,"):
        loss(w, alpha[:3])
    with pytest.raises(ValueError, match="one output weight a row"):
        target(w, np.zeros(3))
    with pytest.raises(ValueError, match="made of \\+1 and -1"):
        SimplifiedLoss(Target.averaged(1.0, 4), torch.zeros(1, 3))
