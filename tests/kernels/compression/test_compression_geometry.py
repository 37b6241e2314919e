import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from lawsweep.kernels.activations import activation
from lawsweep.kernels.compression.geometry import homogeneous_cosine, profile_cosine
from lawsweep.kernels.compression.norm import choose_degree
from lawsweep.kernels.compression.search import random_starts
from lawsweep.kernels.compression.simplified import SimplifiedLoss
from lawsweep.kernels.compression.solve import solve
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import frame_cosine, optimal_frame
from lawsweep.kernels.gaussian.erf import ErfKernel
from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel


class Unnamed:
    """A homogeneous profile that goes through the criterion and not the closed form."""

    def __init__(self, slope):
        self.own = HomogeneousKernel(slope)

    def side(self, norms):
        return self.own.side(norms)

    def pairs(self, rho, u, v, second):
        return self.own.pairs(rho, u, v, second)


def smooth(name, norm=1.0):
    if name == "erf":
        return ErfKernel()
    return choose_degree(activation(name), torch.tensor([norm], dtype=torch.float64), 1e-13)


# Slopes below -1 are those of 1/a, mirrored.
@pytest.mark.parametrize("slope", [-3.0, -1.0, -0.9, -0.5, -0.2, -0.05, 0.3, 0.8])
@pytest.mark.parametrize("m", [2, 3, 6])
def test_the_criterion_is_the_closed_form_for_homogeneous_activations(slope, m):
    # F' is bisected to half of eps of cosines; the root of an arcsine's sum, to a few eps.
    want = homogeneous_cosine(m, 8, HomogeneousKernel(slope))
    assert profile_cosine(Unnamed(slope), 1.7, m, 8) == pytest.approx(want, abs=1e-14)
    if slope < -1:
        mirrored = homogeneous_cosine(m, 8, HomogeneousKernel(1 / slope))
        assert want == pytest.approx(mirrored, abs=1e-15)


@pytest.mark.parametrize("slope", [-1.0, -0.9, -0.5, -0.2, 0.0, 0.3])
@pytest.mark.parametrize(("m", "d"), [(2, 3), (3, 4), (4, 4)])
def test_the_simplified_problem_has_the_frame_s_cosines(slope, m, d):
    """Against minimisation from random starts, without the frame."""
    kernel = HomogeneousKernel(slope)
    signs = torch.ones(4, m, dtype=torch.float64)
    starts = random_starts(np.random.default_rng(0), 4, m, d, 1.0, kernel)
    found = solve(
        SimplifiedLoss(Target.averaged(1.0, d, kernel), signs),
        starts,
        scale=1.0,
        tol=1e-12,
        max_iterations=300,
    )
    unit = found.v / found.v.norm(dim=-1, keepdim=True)
    cosines = (unit @ unit.T)[~torch.eye(m, dtype=torch.bool)]
    if slope == -1.0:  # a row of |z| has no sign
        cosines = cosines.abs()
    # At the cosine -1 the gradient is flat: it is met to the root of the tolerance.
    assert cosines.numpy() == pytest.approx(homogeneous_cosine(m, d, kernel), abs=1e-5)
    frame = optimal_frame(m, torch.eye(d, dtype=torch.float64), kernel)
    assert (frame @ frame.T)[0, 1] == pytest.approx(frame_cosine(m, kernel), abs=1e-14)


def test_rows_that_no_space_holds_have_no_frame():
    assert homogeneous_cosine(4, 3, HomogeneousKernel(0.0)) == -1 / 3
    assert homogeneous_cosine(5, 3, HomogeneousKernel(0.0)) is None
    assert homogeneous_cosine(3, 3, HomogeneousKernel(-1.0)) == 0.0
    assert homogeneous_cosine(4, 3, HomogeneousKernel(-1.0)) is None  # no four orthogonal rows
    assert homogeneous_cosine(1, 3, HomogeneousKernel(0.0)) is None
    assert profile_cosine(smooth("softplus"), 1.0, 5, 3) is None
    assert profile_cosine(smooth("softplus"), 0.0, 3, 3) is None


def least_cosines(f, m, d, norm):
    """Cosines that minimise sum_{j != l} E sigma(s z_j) sigma(s z_l), by brute force.

    The kernel by Gauss-Hermite quadrature in two dimensions: no Hermite series, no profile.
    """
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / math.sqrt(2 * math.pi)
    left = f(norm * z)

    def pair(rho):
        other = rho * z[:, None] + math.sqrt(max(0.0, 1.0 - rho * rho)) * z[None, :]
        return weight @ (left[:, None] * f(norm * other)) @ weight

    table = np.linspace(-1.0, 1.0, 2001)
    values = np.array([pair(r) for r in table])

    def cosines(x):
        v = x.reshape(m, d)
        v = v / np.linalg.norm(v, axis=1, keepdims=True)
        return (v @ v.T)[np.triu_indices(m, 1)]

    def loss(x):
        return np.interp(cosines(x), table, values).sum()

    rng = np.random.default_rng(0)
    ends = [
        minimize(loss, rng.standard_normal(m * d), method="Powell", options={"maxiter": 4000})
        for _ in range(6)
    ]
    return cosines(min(ends, key=lambda e: e.fun).x)


NUMPY = {
    "softplus": lambda x: np.logaddexp(0.0, x),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}


@pytest.mark.parametrize("name", ["softplus", "silu", "elu"])
@pytest.mark.parametrize("m", [2, 3])
def test_smooth_activations_have_a_simplex(name, m):
    want = profile_cosine(smooth(name), 1.0, m, 3)
    assert want == -1 / (m - 1)
    # A table of 2,001 cosines is interpolated: 1e-3 apart.
    assert least_cosines(NUMPY[name], m, 3, 1.0) == pytest.approx(want, abs=3e-3)


def test_sigmoid_has_a_frame_of_two_rows_only():
    assert profile_cosine(smooth("sigmoid"), 1.0, 2, 3) == -1.0
    assert [profile_cosine(smooth("sigmoid"), 1.0, m, 5) for m in (3, 4, 6)] == [None] * 3
    # Four rows of one norm are two opposite pairs (in a flat valley), no simplex.
    assert np.sort(least_cosines(NUMPY["sigmoid"], 4, 3, 1.0))[1] < -0.9


def test_odd_activations_have_none():
    for name in ("tanh", "erf"):
        assert [profile_cosine(smooth(name), 1.0, m, 5) for m in (2, 3, 4)] == [None] * 3


def test_long_rows_of_gelu_open_the_pair():
    assert profile_cosine(smooth("gelu"), 1.0, 2, 3) == -1.0
    opened = profile_cosine(smooth("gelu", 3.0), 3.0, 2, 3)
    gelu = lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))  # noqa: E731
    assert -1.0 < opened < -0.98
    assert opened == pytest.approx(least_cosines(gelu, 2, 3, 3.0)[0], abs=2e-3)
    assert profile_cosine(smooth("gelu", 3.0), 3.0, 3, 3) == -0.5
