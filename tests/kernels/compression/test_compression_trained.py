import itertools
import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import activation
from lawsweep.kernels.compression.norm import choose_degree, profile_norm, series_error
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.trained import TrainedLoss
from lawsweep.kernels.gaussian import hermite
from lawsweep.kernels.gaussian.erf import ErfKernel
from lawsweep.kernels.gaussian.hermite import HermiteProfile
from lawsweep.kernels.gaussian.homogeneous import RELU, HomogeneousKernel
from lawsweep.kernels.optimise.minimise import MinimiseReason, minimise

# A reference of its own: E over the plane of two vectors by Gauss-Legendre panels that meet where
# either preactivation is zero (kinks), polar as in reference_compression but for any sigma.
_X, _W = np.polynomial.legendre.leggauss(24)
PLAIN = {
    "erf": lambda z: np.vectorize(math.erf)(z),
    "softplus": lambda z: np.logaddexp(z, 0.0),
    "gelu": lambda z: 0.5 * z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
}


def panels(edges):
    edges = np.asarray(edges)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (_X + 1)).ravel(), (half * _W).ravel()


def plane_mean(sigma, t, s, rho):
    """E sigma(t z) sigma(s (rho z + sqrt(1-rho^2) z')) in polar coordinates."""
    turn = math.acos(max(-1.0, min(1.0, rho)))
    kinks = sorted(
        {k % (2 * math.pi) for a in (0, turn) for k in (a - math.pi / 2, a + math.pi / 2)}
    )
    edges = [*kinks, kinks[0] + 2 * math.pi]
    fine = np.unique(np.concatenate([np.linspace(a, b, 5) for a, b in itertools.pairwise(edges)]))
    p, wp = panels(fine)
    r, wr = panels(np.linspace(0, 12, 25))
    z = r[:, None] * np.cos(p)
    y = r[:, None] * np.cos(p - turn)
    f = sigma(t * z) * sigma(s * y)
    return float((wr * r * np.exp(-0.5 * r * r)) @ f @ wp) / (2 * math.pi)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_profiles_against_quadrature_in_the_plane(name):
    norms = torch.tensor([0.6, 1.0], dtype=torch.float64)
    other = torch.tensor([0.9], dtype=torch.float64)
    profiles = [choose_degree(activation(name), norms, 1e-13)] + (
        [ErfKernel()] if name == "erf" else []
    )
    for profile in profiles:
        for rho in (0.7, -0.4, 0.0):
            at = torch.full((2, 1), rho, dtype=torch.float64)
            got = profile.pairs(at, profile.side(norms), profile.side(other), False).f
            for i in range(2):
                expected = plane_mean(PLAIN[name], float(norms[i]), 0.9, rho)
                # Angular and radial panels of 24 nodes: right to some 1e-13.
                assert float(got[i, 0]) == pytest.approx(expected, abs=2e-13)
        own = profile.own(norms)[0]
        for i in range(2):
            expected = plane_mean(PLAIN[name], float(norms[i]), float(norms[i]), 1.0)
            assert float(own[i]) == pytest.approx(expected, abs=2e-13)


@pytest.mark.parametrize("name", ["tanh", "elu"])
def test_the_series_says_what_it_leaves_out(name):
    s, t = torch.tensor([2.0], dtype=torch.float64), torch.tensor([1.5], dtype=torch.float64)
    for degree in (6, 20):
        profile = HermiteProfile(activation(name).f, degree)
        bound = float(profile.error(s) * profile.error(t))
        for rho in (1.0 - 1e-9, -0.9):
            at = torch.full((1, 1), rho, dtype=torch.float64)
            got = float(profile.pairs(at, profile.side(t), profile.side(s), False).f)
            error = abs(got - plane_mean(PLAIN[name], 1.5, 2.0, rho))
            assert error <= bound * abs(rho) ** (degree + 1) + 1e-12
        assert bound < 0.02  # E sigma^2 is about 0.6: the bound says something


def test_coefficients_of_erf_are_geometric():
    # E erf(s z) h_n(z): odd n only, c_1 = 2 s/sqrt(pi (1 + 2 s^2)).
    s = torch.tensor([0.7], dtype=torch.float64)
    c = hermite.coefficients(torch.erf, s, 9)[0]
    assert float(c[1]) == pytest.approx(2 * 0.7 / math.sqrt(math.pi * (1 + 2 * 0.49)), rel=1e-13)
    assert float(c[::2].abs().max()) < 1e-15
    first = hermite.scaled_derivative(hermite.coefficients(torch.erf, s, 9))[0] / 0.7
    slope = 2 / math.sqrt(math.pi) / (1 + 2 * 0.49) ** 1.5
    assert float(first[1]) == pytest.approx(slope, rel=1e-12)


def instance(k=2, trained=True, profile=None, n=12, d=4, m=3, size=0.5):
    rng = np.random.default_rng(0)
    w, alpha, outputs, v = (
        torch.from_numpy(rng.standard_normal(s)) for s in ((n, d), (n, k), (2, m, k), (2, m, d))
    )
    target = Target(size * w, alpha, profile or ErfKernel())
    loss = TrainedLoss(target, outputs, trained)
    return loss, loss.join(size * v, outputs), size * w, alpha


def naive(loss, w, alpha, kernel, r):
    """J by loops over pairs, for autograd; fixed outputs are those of restart r."""

    def f(x):
        rows, b = loss.split(x.unsqueeze(0))
        v = rows.v[0]
        b = b[0] if loss.trained else loss.outputs[r]
        total = x.new_zeros(())
        for j in range(len(v)):
            for i in range(len(w)):
                total = total - 2 * (alpha[i] @ b[j]) * kernel(w[i], v[j])
            for i in range(len(v)):
                total = total + (b[i] @ b[j]) * kernel(v[i], v[j])
        return total

    return f


def erf_kernel(u, v):
    y = 2 * (u @ v) / torch.sqrt((1 + 2 * u @ u) * (1 + 2 * v @ v))
    return 2 / math.pi * torch.asin(y)


def relu_kernel(u, v):
    if u is v:
        return 0.5 * (u @ u)
    size = u.norm() * v.norm()
    r = (u @ v / size).clamp(-1 + 1e-15, 1 - 1e-15)
    same = torch.equal(u, v)
    k = torch.sqrt(1 - r * r) + r * (math.pi - torch.acos(r))
    return 0.5 * (u @ v) if same else size * k / (2 * math.pi)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(("profile", "kernel"), [(ErfKernel(), erf_kernel), (RELU, relu_kernel)])
def test_loss_gradient_and_hessian_against_autograd(profile, kernel, trained):
    loss, x, w, alpha = instance(trained=trained, profile=profile)
    value, gradient = loss.value_gradient(x)
    hessian = loss.hessian(x)
    p = torch.linspace(-1, 1, x.shape[1], dtype=torch.float64).expand_as(x)
    assert torch.allclose(loss.hessian_product(x)(p)[0], hessian[0] @ p[0], rtol=1e-12, atol=1e-12)
    for r in range(2):
        f = naive(loss, w, alpha, kernel, r)
        assert float(value[r]) == pytest.approx(float(f(x[r])), rel=1e-12)
        expected = torch.autograd.functional.hessian(f, x[r])
        size = float(expected.abs().max())
        slope = torch.autograd.functional.jacobian(f, x[r])
        assert torch.allclose(gradient[r], slope, rtol=0, atol=1e-12 * size)
        assert torch.allclose(hessian[r], expected, rtol=0, atol=1e-11 * size)


def test_the_series_gives_what_the_closed_form_gives():
    closed, x, _, _ = instance()
    series, _, w, alpha = instance(profile=HermiteProfile(torch.erf, 120))
    for a, b in zip(closed.value_gradient(x), series.value_gradient(x), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)
    assert torch.allclose(closed.hessian(x), series.hessian(x), rtol=1e-9, atol=1e-9)
    norm, error = profile_norm(Target(w, alpha, HermiteProfile(torch.erf, 120)))
    exact, nothing = profile_norm(Target(w, alpha, ErfKernel()))
    assert nothing == 0.0
    assert norm == pytest.approx(exact, abs=error + 1e-12 * exact)
    rows, b = closed.split(x)
    short = HermiteProfile(torch.erf, 3)
    rough, _, _, _ = instance(profile=short)
    bound = series_error(Target(w, alpha, short), rows.v[0], b[0])
    off = abs(float(rough.value_gradient(x)[0][0] - closed.value_gradient(x)[0][0]))
    assert 1e-6 < off <= bound


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_homogeneous_outputs_absorbed_or_not_are_the_same_loss(slope):
    kernel = HomogeneousKernel(slope)
    loss, x, w, alpha = instance(k=1, profile=kernel)
    rows, b = loss.split(x)
    signs, v = b[..., 0].sign(), b.abs() * rows.v
    target = Target(w, alpha, kernel)
    other = PopulationLoss(target, signs)
    assert torch.allclose(
        loss.value_gradient(x)[0], other.value_gradient(v.flatten(1))[0], rtol=1e-12
    )
    norm, _ = profile_norm(target)
    assert norm == pytest.approx(target.norm[0], rel=1e-12)


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_erf_at_small_and_large_norms(size):
    loss, x, w, alpha = instance(k=1, size=size)
    rows, b = loss.split(x)
    total = 0.0
    v, w, alpha, b = rows.v[0].numpy(), w.numpy(), alpha.numpy(), b[0].numpy()

    def k(a, c):
        # 1 - y^2 by Lagrange's identity, free of cancellation
        z = 2 * a @ c
        off = c - (c @ a) / (a @ a) * a
        rest = 1 + 2 * a @ a + 2 * c @ c + 4 * (a @ a) * (off @ off)
        return 2 / math.pi * math.atan2(z, math.sqrt(rest))

    for j in range(3):
        total -= 2 * sum(alpha[i, 0] * b[j, 0] * k(w[i], v[j]) for i in range(12))
        total += sum(b[i, 0] * b[j, 0] * k(v[i], v[j]) for i in range(3))
    scale = np.abs(alpha).sum() * np.abs(b).sum() * min(1.0, size**2)
    assert float(loss.value_gradient(x)[0][0]) == pytest.approx(total, abs=1e-12 * scale)


def test_a_perfect_copy_is_found_and_has_loss_zero():
    rng = np.random.default_rng(1)
    w = torch.from_numpy(rng.standard_normal((2, 3)))
    alpha = torch.tensor([[1.0, 0.5], [-0.7, 1.0]], dtype=torch.float64)
    outputs = torch.from_numpy(rng.standard_normal((6, 2, 2)))
    rows = torch.from_numpy(rng.standard_normal((6, 2, 3)))
    for profile in (ErfKernel(), choose_degree(activation("tanh"), w.norm(dim=1), 1e-13)):
        target = Target(w, alpha, profile)
        loss = TrainedLoss(target, outputs)
        found = minimise(loss, loss.join(rows, outputs), scale=2.0)
        norm, _ = profile_norm(target)
        good = torch.tensor([r is MinimiseReason.CONVERGED for r in found.reason])
        assert bool(good.any())
        assert norm + float(found.loss[good].min()) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.portable
def test_zero_rows_stay_where_they_are():
    loss, x, _, _ = instance()
    x[0, 4:8] = 0.0
    value, gradient = loss.value_gradient(x)
    hessian = loss.hessian(x)
    assert bool(value.isfinite().all())
    assert torch.equal(gradient[0, 4:8], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(hessian[0, 4:8, 4:8], torch.eye(4, dtype=torch.float64))
    assert torch.equal(
        loss.move(x, torch.ones_like(x)).point[0, 4:8], torch.zeros(4, dtype=torch.float64)
    )
    part = loss.take(torch.tensor([1]))
    assert float(part.value_gradient(x[1:])[0]) == pytest.approx(float(value[1]), rel=1e-12)


def test_bad_shapes_are_refused():
    w, a = torch.zeros(5, 3), torch.zeros(5, 2)
    with pytest.raises(ValueError, match="give one output weight a row and output"):
        Target(w, a[:4])
    with pytest.raises(ValueError, match=r"expected outputs \(R, M, 2\)"):
        TrainedLoss(Target(w, a, ErfKernel()), torch.zeros(1, 2, 1))
