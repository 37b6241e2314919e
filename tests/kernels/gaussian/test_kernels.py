import math

import numpy as np
import pytest
import torch
from reference_compression import gradient as ref_gradient
from reference_compression import pair

from lawsweep.kernels.gaussian.angles import unit
from lawsweep.kernels.gaussian.erf import ErfKernel
from lawsweep.kernels.gaussian.homogeneous import RELU, HomogeneousKernel

SLOPES = [0.0, 0.3, -0.5, -1.0]


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def at_angle(theta, supplement=None):
    if supplement is None:
        return tensor(math.cos(theta), math.sin(theta), 0.0)
    return tensor(-math.cos(supplement), math.sin(supplement), 0.0)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("theta", [0.0, 1e-8, 1e-4, 0.3, 0.69, 0.71, 1.2, math.pi / 2])
@pytest.mark.parametrize("mirrored", [False, True])
def test_value_against_quadrature(slope, theta, mirrored):
    supplement = theta if mirrored else None
    u, v = tensor(1.0, 0.0, 0.0), at_angle(theta, supplement)
    expected = pair(1.0, 1.0, theta, slope, supplement)
    # Each side is a handful of operations, each wrong by half an ulp; an ulp is 2.2e-16.
    assert float(HomogeneousKernel(slope).value(u, v)) == pytest.approx(expected, rel=1e-13)


def test_value_keeps_relative_accuracy_towards_the_zero_of_relu():
    # k -> (1/2pi) delta^3/3 at supplement delta; 1e-15 of the unit scale would be noise already.
    for delta in (1e-3, 1e-6, 1e-9):
        k = float(RELU.value(tensor(1.0, 0.0, 0.0), at_angle(0.0, delta)))
        assert k == pytest.approx(delta**3 / (6 * math.pi) * (1 - delta**2 / 10), rel=1e-12)
    assert float(RELU.value(tensor(1.0, 2.0), tensor(-1.0, -2.0))) == 0.0


def test_near_parallel_rows_of_general_position():
    rng = np.random.default_rng(0)
    u = rng.standard_normal(7)
    e = rng.standard_normal(7)
    e -= (e @ u) / (u @ u) * u
    e /= np.linalg.norm(e)
    for theta in (1e-3, 1e-2):
        for turn in (1.0, -1.0):
            v = turn * (u * math.cos(theta) + np.linalg.norm(u) * e * math.sin(theta))
            expected = pair(1.0, 1.0, theta, 0.0, None if turn > 0 else theta) * (u @ u)
            got = float(RELU.value(torch.from_numpy(u), torch.from_numpy(v)))
            # Rounding v moves the angle by eps; the value by 3 eps/theta of itself at worst.
            assert got == pytest.approx(expected, rel=20 * 2.3e-16 / theta)


def test_norms_scale_out_from_tiny_to_huge():
    u, v = tensor(0.3, -1.0, 0.2), tensor(1.0, 0.5, 2.0)
    base = float(RELU.value(u, v))
    assert float(RELU.value(1e-200 * u, 1e150 * v)) == pytest.approx(1e-50 * base, rel=1e-13)
    assert float(RELU.value(1e-170 * u, 1e-130 * v)) == pytest.approx(1e-300 * base, rel=1e-13)
    assert torch.allclose(RELU.gradient(u, 1e-250 * v), RELU.gradient(u, v), rtol=1e-13, atol=0)


@pytest.mark.parametrize("slope", SLOPES)
def test_gradient_and_hessian(slope):
    kernel = HomogeneousKernel(slope)
    rng = np.random.default_rng(1)
    for _ in range(5):
        u, v = rng.standard_normal(4), rng.standard_normal(4)
        tu, tv = torch.from_numpy(u), torch.from_numpy(v)
        got = kernel.gradient(tu, tv)
        assert np.allclose(got.numpy(), ref_gradient(u, v, slope), rtol=0, atol=1e-13)
        assert float(got @ tv) == pytest.approx(float(kernel.value(tu, tv)), abs=1e-14)  # Euler

        def naive(x, tu=tu):
            rho = (tu @ x) / (tu.norm() * x.norm())
            ke = torch.sqrt(1 - rho**2) + rho * torch.asin(rho)
            lin, even = (1 + slope) ** 2 / 4, (1 - slope) ** 2 / (2 * math.pi)
            return tu.norm() * x.norm() * (lin * rho + even * ke)

        expected = torch.autograd.functional.hessian(naive, tv)
        assert torch.allclose(kernel.hessian(tu, tv), expected, rtol=0, atol=1e-12)


def test_gradient_and_hessian_at_cosines_of_one():
    u = tensor(1.0, 2.0, -1.0)
    assert torch.allclose(RELU.gradient(u, 3.0 * u), 0.5 * u, rtol=1e-15, atol=0)
    assert torch.equal(RELU.gradient(u, -u).abs() < 1e-15, torch.ones(3, dtype=torch.bool))
    for v in (2.0 * u, -u):
        assert float(RELU.hessian(u, v).abs().max()) < 1e-15
    # One minus the other is of third order in the angle: |gradient(-cos, sin)| ~ delta^2/2 / pi ...
    assert float(RELU.gradient(tensor(1.0, 0.0), tensor(-1.0, 1e-5)).norm()) < 1e-5


def test_zero_rows_give_no_nan():
    u, zero = tensor(1.0, 2.0), tensor(0.0, 0.0)
    for a, b in ((u, zero), (zero, u), (zero, zero)):
        assert float(RELU.value(a, b)) == 0.0
        assert bool(RELU.gradient(a, b).isfinite().all())
        assert float(RELU.hessian(a, b).abs().max()) == 0.0
    assert torch.equal(unit(zero)[0], zero)


def test_broadcasting():
    u, v = torch.ones(5, 1, 3, dtype=torch.float64), torch.ones(4, 3, dtype=torch.float64)
    assert RELU.value(u, v).shape == (5, 4)
    assert RELU.gradient(u, v).shape == (5, 4, 3)
    assert RELU.hessian(u, v).shape == (5, 4, 3, 3)


@pytest.mark.parametrize("d", [2, 3, 5, 40])
def test_mean_factor_is_the_mean_over_directions(d):
    # The cosine of a uniform direction has the density sin^(d-2) of its angle.
    x, w = np.polynomial.legendre.leggauss(400)
    theta = 0.5 * math.pi * (x + 1)
    weight = w * np.sin(theta) ** (d - 2)
    values = np.array([pair(1.0, 1.0, t) for t in theta])
    assert RELU.mean_factor(d) == pytest.approx(weight @ values / weight.sum(), rel=1e-12)


def test_mean_factor_of_one_dimension_and_bad_dimension():
    assert RELU.mean_factor(1) == pytest.approx(0.25, rel=1e-15)
    with pytest.raises(ValueError, match="dimension d >= 1, got 0"):
        RELU.mean_factor(0)


def test_erf_value_against_gauss_hermite():
    x, w = np.polynomial.hermite_e.hermegauss(150)
    w = w / w.sum()
    u, v = tensor(0.7, 0.0), tensor(-0.4, 0.5)
    a = 0.7 * x[:, None] + 0.0 * x[None, :]
    b = -0.4 * x[:, None] + 0.5 * x[None, :]
    f = torch.erf(torch.from_numpy(a)).numpy() * torch.erf(torch.from_numpy(b)).numpy()
    # |u| < 1 keeps erf's nearest effective singularity far: doubling the nodes changes 1e-13.
    assert float(ErfKernel().value(u, v)) == pytest.approx(w @ f @ w, abs=1e-12)


def test_erf_derivatives_against_autograd():
    rng = np.random.default_rng(3)
    u, v = (torch.from_numpy(rng.standard_normal(4)) for _ in range(2))

    def naive(x):
        ratio = 2 * (u @ x) / torch.sqrt((1 + 2 * u @ u) * (1 + 2 * x @ x))
        return 2 / math.pi * torch.asin(ratio)

    k = ErfKernel()
    assert float(k.value(u, v)) == pytest.approx(float(naive(v)), rel=1e-13)
    assert torch.allclose(k.gradient(u, v), torch.func.grad(naive)(v), rtol=0, atol=1e-13)
    assert torch.allclose(
        k.hessian(u, v), torch.autograd.functional.hessian(naive, v), rtol=0, atol=1e-12
    )


def test_erf_of_huge_parallel_rows_stays_below_one():
    u = tensor(1e6, 1e6)
    # 1 - k = (2/pi) arctan(sqrt(w)/z) with w = 1 + 4|u|^2 and z = 2|u|^2.
    uu = 2e12
    deficit = 2 / math.pi * math.atan(math.sqrt(1 + 4 * uu) / (2 * uu))
    assert 1.0 - float(ErfKernel().value(u, u)) == pytest.approx(deficit, rel=1e-9)
