import math

import numpy as np
import pytest
import torch
from reference_compression import pair

from lawsweep.kernels.compression.simplified import SimplifiedLoss
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import (
    expected_norm,
    frame_constant,
    frame_norm,
    limit_loss,
    mean_field_objective,
    predicted_gap,
    quadratic_factor,
    simplex_frame,
    target_moments,
)
from lawsweep.kernels.data import sampling
from lawsweep.kernels.gaussian.homogeneous import RELU


@pytest.mark.parametrize(
    ("m", "expected"),
    [(2, 0.057833759), (3, 0.034374706), (5, 0.019458583), (10, 0.009381921)],
)
def test_limit_loss_of_infinite_dimension(m, expected):
    d0 = 1.0 / (2.0 * math.pi)
    assert d0 * (1 - 2 * math.pi * d0 / frame_constant(m)) == pytest.approx(expected, abs=6e-10)
    # D_d = (1 + 1/(2d) + ...)/2pi: at d = 1e6 the loss is off by about 1e-6 of D_d.
    assert limit_loss(1.0, 10**6, m) == pytest.approx(expected, abs=2e-7)


@pytest.mark.parametrize(
    ("d", "m", "expected"),
    [(2, 2, 0.0383866512), (3, 4, 0.0010552480), (50, 5, 0.0182361463)],
)
def test_limit_loss_of_finite_dimension(d, m, expected):
    assert limit_loss(1.0, d, m) == pytest.approx(expected, abs=6e-11)


@pytest.mark.parametrize(("m", "d"), [(1, 1), (2, 1), (2, 5), (4, 3), (6, 9)])
def test_the_frame_has_the_limit_loss_and_no_gradient(m, d):
    rows = simplex_frame(m, torch.eye(d, dtype=torch.float64))
    gram = rows @ rows.T
    expected = torch.full((m, m), -1.0 / max(1, m - 1), dtype=torch.float64).fill_diagonal_(1.0)
    assert torch.allclose(gram, expected, rtol=0, atol=1e-15 * 4)
    ones = torch.ones(1, m, dtype=torch.float64)
    x = (frame_norm(1.7, d, m) * rows).reshape(1, -1)
    j, gradient = SimplifiedLoss(Target.averaged(1.7, d), ones).value_gradient(x)
    assert float(j) == pytest.approx(mean_field_objective(1.7, d, m), rel=1e-14)
    assert float(gradient.abs().max()) < 1e-14


@pytest.mark.parametrize("d", [3, 10, 80])
def test_quadratic_factor_is_the_degree_two_projection_of_the_kernel(d):
    x, w = np.polynomial.legendre.leggauss(600)
    theta = 0.5 * math.pi * (x + 1)
    weight = w * np.sin(theta) ** (d - 2)
    kernel = np.array([pair(1.0, 1.0, t) for t in theta])
    zonal = np.cos(theta) ** 2 - 1.0 / d
    expected = (weight @ (kernel * zonal)) / (weight @ zonal**2)
    assert quadratic_factor(d) == pytest.approx(expected, rel=1e-11)


def test_moments():
    rng = np.random.default_rng(0)
    w, alpha = rng.standard_normal((30, 4)), rng.uniform(0, 1, 30)
    got = target_moments(torch.from_numpy(w), torch.from_numpy(alpha))
    norms = np.linalg.norm(w, axis=1)
    gram = sum(
        a * r * (np.outer(u, u) / r**2 - np.eye(4) / 4)
        for a, r, u in zip(alpha, norms, w, strict=True)
    )
    assert got.scale == pytest.approx(alpha @ norms, rel=1e-14)
    assert np.allclose(got.mean.numpy(), alpha @ w, rtol=1e-13)
    assert np.allclose(got.eigenvalues.numpy(), np.linalg.eigvalsh(gram)[::-1], atol=1e-13)
    # Turning the sign of the target turns the problem over and leaves the order of E_N.
    turned = target_moments(torch.from_numpy(w), -torch.from_numpy(alpha))
    assert torch.allclose(turned.eigenvalues, got.eigenvalues, rtol=0, atol=1e-13)


def test_predicted_gap_tends_to_the_edge_of_the_spectrum():
    # gamma = d/N = 0.1, N and d large: p1 -> -[(1 + sqrt gamma)^2 - 1]/(2 pi K_M d); the edge is
    # approached from below by about d^(-2/3), 3 % here.
    d, n, m = 300, 3000, 5
    w = sampling.rows("sphere", np.random.default_rng(0), n, d) / math.sqrt(d)
    p1, pm = predicted_gap(target_moments(w, torch.full((n,), 1 / n, dtype=torch.float64)), m)
    edge = -((1 + math.sqrt(0.1)) ** 2 - 1) / (2 * math.pi * frame_constant(m) * d)
    assert p1 == pytest.approx(edge, rel=0.06)
    assert pm == pytest.approx(
        -1 / n * (0.25 + 0.2526802551 / (2 * math.pi - 4 * 0.2526802551)), rel=0.3
    )


def test_predicted_gap_is_silent_where_theory_is():
    moments = target_moments(torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    assert predicted_gap(moments, 1) is None
    assert predicted_gap(moments, 2) is None
    assert predicted_gap(moments, 5) is None
    assert predicted_gap(moments, 4) is not None


@pytest.mark.parametrize("law", ["sphere", "gaussian", "rademacher", "uniform"])
@pytest.mark.parametrize("d", [1, 3, 40])
def test_expected_norm_against_draws(law, d):
    rows = sampling.rows(law, np.random.default_rng(1), 200_000, d) / math.sqrt(d)
    norms = rows.norm(dim=-1)
    error = float(norms.std()) / math.sqrt(len(norms))
    assert expected_norm(law, d) == pytest.approx(float(norms.mean()), abs=4.5 * error + 1e-12)


def test_expected_norm_of_the_uniform_law_in_closed_form():
    assert expected_norm("uniform", 1) == pytest.approx(math.sqrt(3) / 2, rel=1e-11)
    # Mean distance from the centre of a square of side 2h: h (sqrt 2 + asinh 1)/3, h = sqrt(3/2).
    square = math.sqrt(1.5) * (math.sqrt(2) + math.asinh(1)) / 3
    assert expected_norm("uniform", 2) == pytest.approx(square, rel=1e-11)
    with pytest.raises(ValueError, match="unknown row law 'cauchy'"):
        expected_norm("cauchy", 2)


def test_bad_sizes():
    with pytest.raises(ValueError, match="at least one compressed node"):
        frame_constant(0)
    with pytest.raises(ValueError, match=r"M <= d \+ 1"):
        simplex_frame(4, torch.eye(2, dtype=torch.float64))
    assert RELU.mean_factor(1) == pytest.approx(0.25)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_target_that_is_not_finite_is_refused(bad):
    w, alpha = torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for rows, outputs in ((w * bad, alpha), (w, alpha * bad)):
        with pytest.raises(ValueError, match="expected finite target rows and output weights"):
            target_moments(rows, outputs)
