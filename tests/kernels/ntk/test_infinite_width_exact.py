"""The infinite-width kernel against its recursion at 50 digits, where cosines lose theirs.

Rows next to each other, opposite, equal, on one line, tiny, huge, zero; two layers to ten.  What is
asked: every entry lies within the error that is reported, which is itself of rounding size.
"""

import math

import mpmath as mp
import numpy as np
import pytest
import torch

from lawsweep.experiments.ntk_min_eig import ntk_min_eig
from lawsweep.kernels.activations import ACTIVATIONS, LEAKY_SLOPE, activation
from lawsweep.kernels.gaussian.angles import row_angles
from lawsweep.kernels.gaussian.duals import duals
from lawsweep.kernels.gaussian.pairs import Covariance
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.wide import infinite_width

DIGITS = 60


def exact_angle(u, v):
    """By Lagrange's identity, from fractions of the float64 entries."""
    u, v = [mp.mpf(float(a)) for a in u], [mp.mpf(float(a)) for a in v]
    across = sum(
        (u[i] * v[j] - u[j] * v[i]) ** 2 for i in range(len(u)) for j in range(i)
    )  # fmt: skip
    return mp.atan2(mp.sqrt(across), mp.fsum(a * b for a, b in zip(u, v, strict=True)))


def homogeneous(slope):
    """(E sigma sigma, E sigma' sigma') of standard variables at an angle."""
    a = mp.mpf(slope)

    def relu(x):
        return (mp.sin(x) + (mp.pi - x) * mp.cos(x)) / (2 * mp.pi), (mp.pi - x) / (2 * mp.pi)

    def both(x):
        (same, step), (other, off) = relu(x), relu(mp.pi - x)
        return (1 + a * a) * same - 2 * a * other, (1 + a * a) * step + 2 * a * off

    return both


def exact_duals(name, p, q, c, angle):
    """Value and slope for variances p, q and covariance c; ``angle`` between the variables."""
    if name == "linear":
        return c, mp.mpf(1)
    if name == "erf":
        root = mp.sqrt(1 + 2 * p + 2 * q + 4 * p * q * mp.sin(angle) ** 2)
        return 2 / mp.pi * mp.atan2(2 * c, root), 4 / mp.pi / root
    slope = {"relu": 0.0, "leaky_relu": LEAKY_SLOPE, "abs": -1.0}[name]
    if p == 0 or q == 0:
        still = 0.0 if name == "abs" else slope
        means = [mp.mpf(still) if s == 0 else (1 + mp.mpf(slope)) / 2 for s in (p, q)]
        return mp.mpf(0), means[0] * means[1]
    value, sharp = homogeneous(slope)(angle)
    return mp.sqrt(p * q) * value, sharp


def exact_gram(x, widths, name, betas, bias=False):
    """Jacot's recursion pair by pair, with the widths in front (see ``infinite_width``)."""
    depth, n = len(widths) - 1, len(x)
    out = mp.zeros(n)
    with mp.workdps(DIGITS):
        for i in range(n):
            for j in range(i + 1):
                p, q, c = (
                    mp.fsum(mp.mpf(float(a)) * mp.mpf(float(b)) for a, b in zip(u, v, strict=True))
                    / widths[0]
                    for u, v in ((x[i], x[i]), (x[j], x[j]), (x[i], x[j]))
                )
                angle = mp.mpf(0) if i == j else exact_angle(x[i], x[j])
                features, slopes = [c], []
                for beta in betas[:-2]:
                    g = mp.mpf(beta) ** 2
                    value, slope = exact_duals(name, g * p, g * q, g * c, angle)
                    p = exact_duals(name, g * p, g * p, g * p, mp.mpf(0))[0]
                    q = exact_duals(name, g * q, g * q, g * q, mp.mpf(0))[0]
                    c = value
                    cosine = c / mp.sqrt(p * q) if p * q else mp.mpf(1)
                    angle = mp.acos(min(cosine, mp.mpf(1)))
                    features.append(c)
                    slopes.append(slope)
                g = mp.mpf(betas[-2]) ** 2
                value, slope = exact_duals(name, g * p, g * q, g * c, angle)
                features.append(value)
                slopes.append(slope)
                back = mp.mpf(1)
                for layer in range(depth, 0, -1):
                    if layer < depth:
                        last = layer == depth - 1
                        back *= slopes[layer - 1] * mp.mpf(betas[layer]) ** 2
                        back *= widths[layer] if last else 1
                    out[i, j] += (widths[layer - 1] * features[layer - 1] + int(bias)) * back
                out[j, i] = out[i, j]
    return out


def beside(distance):
    r = np.random.default_rng(4)
    x = r.standard_normal((3, 4))
    x[1] = x[0] + distance * r.standard_normal(4)
    x[2] = -x[0] + distance * r.standard_normal(4)
    return x


INPUTS = {
    "1e-4 apart": beside(1e-4),
    "1e-7 apart": beside(1e-7),
    "1e-12 apart": beside(1e-12),
    "an ulp apart": np.array([[1.0, 2.0], [1.0, np.nextafter(2.0, 3.0)], [-1.0, -2.0]]),
    "one dimension": np.array([[0.3], [1.7], [-0.9], [math.pi]]),
    "multiples": np.array([[1.0, 2, -3], [3, 6, -9], [-2, -4, 6], [0.1, 0.2, -0.3]]),
    "equal and zero": np.array([[0.3, 0.7], [0.3, 0.7], [0.0, 0.0], [0.5, -0.1]]),
    "lengths apart": np.array([[1e-6, 2e-6], [1e6, 2.1e6], [-3.0, 1.0]]),
}  # fmt: skip


@pytest.mark.parametrize("kind", INPUTS)
def test_angles_to_full_relative_accuracy(kind):
    x = INPUTS[kind]
    for scale in (1.0, 1e-150, 1e150):
        angle, rest = row_angles(torch.from_numpy(scale * x))
        for i in range(len(x)):
            for j in range(len(x)):
                if i == j or not x[i].any() or not x[j].any():
                    assert (float(angle[i, j]), float(rest[i, j])) == (0.0, math.pi)
                    continue
                with mp.workdps(DIGITS):
                    exact = exact_angle(scale * x[i], scale * x[j])
                    other = mp.pi - exact
                assert float(angle[i, j]) == pytest.approx(float(exact), rel=2e-14, abs=1e-30)
                assert float(rest[i, j]) == pytest.approx(float(other), rel=2e-14, abs=1e-30)


@pytest.mark.parametrize("depth", [2, 3, 10])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "abs", "erf", "linear"])
def test_entries_lie_within_the_error_reported(name, kind, depth):
    x = INPUTS[kind]
    widths = (x.shape[1], *([50] * (depth - 1)), 1)
    betas = [1.1] * depth
    for scale in (1.0, 1e8, 1e-8) if depth == 3 else (1.0,):
        rows = scale * x
        got = infinite_width(Network(widths, activation(name), betas=betas), torch.from_numpy(rows))
        exact = exact_gram(rows, widths, name, betas)
        for i in range(len(x)):
            for j in range(len(x)):
                size = mp.sqrt(exact[i, i] * exact[j, j])
                off = abs(mp.mpf(float(got.gram[i, j])) - exact[i, j])
                assert off <= mp.mpf(got.error) * size, (scale, i, j, float(off / size), got.error)
        assert got.error < (1e-8 if name == "erf" and depth == 10 else 1e-12)


@pytest.mark.parametrize(
    "betas", [(1.0, 40.0, 1.0), (1.0, 1e4, 1.0), (1e8, 1e8, 1.0), (1.0, 1e-8, 1.0)]
)
@pytest.mark.parametrize("name", ["relu", "erf"])
def test_the_error_holds_at_scales_within_the_network(name, betas):
    """erf behind large weights loses digits of its slope, and says so."""
    x = np.random.default_rng(2).standard_normal((4, 3))
    x[1] = x[0] + 1e-5 * x[2]
    got = infinite_width(Network((3, 9, 9, 1), activation(name), betas=betas), torch.from_numpy(x))
    exact = exact_gram(x, (3, 9, 9, 1), name, betas)
    for i in range(4):
        for j in range(4):
            off = abs(mp.mpf(float(got.gram[i, j])) - exact[i, j])
            assert off <= mp.mpf(got.error) * mp.sqrt(exact[i, i] * exact[j, j])
    assert (got.error < 1e-12) == (name == "relu" or betas[1] < 1.0)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
@pytest.mark.parametrize("distance", [1.0, 1e-8])
def test_series_lie_within_the_error_reported(name, distance):
    """Against a trapezoid rule over the plane at 30 digits; its own error is far below that."""
    x = np.random.default_rng(2).standard_normal((2, 3))
    x[1] = x[0] + distance * x[1]
    pairs = Covariance.of_rows(torch.from_numpy(x)).times(0.5)
    value, slope, slope_error = duals(pairs, activation(name))
    with mp.workdps(30):
        step = mp.mpf("0.2")
        nodes = [step * k for k in range(-50, 51)]
        weights = [mp.exp(-z * z / 2) * step / mp.sqrt(2 * mp.pi) for z in nodes]
        angle = exact_angle(x[0], x[1])
        r, s = (mp.sqrt(mp.fsum(mp.mpf(float(a)) ** 2 for a in u) / 2) for u in x)
        along, across = s * mp.cos(angle), s * mp.sin(angle)

        def f(z):
            return 1 / (1 + mp.exp(-z)) if name == "sigmoid" else mp.tanh(z)

        def df(z):
            return f(z) * (1 - f(z)) if name == "sigmoid" else 1 - mp.tanh(z) ** 2

        for function, got, error in ((f, value.sigma, value.error), (df, slope, slope_error)):
            exact = mp.fsum(
                w * function(r * z) * mp.fsum(
                    other * function(along * z + across * t)
                    for t, other in zip(nodes, weights, strict=True)
                )
                for z, w in zip(nodes, weights, strict=True)
            )  # fmt: skip
            size = math.sqrt(float(got[0, 0]) * float(got[1, 1]))
            assert abs(float(got[0, 1]) - float(exact)) <= error * size
            assert error < 1e-10


@pytest.mark.parametrize("scale", [1e8, 1e12, 1e20])
def test_slopes_of_erf_at_large_rows_are_finite(scale):
    """Like those of the sign: 1 / (|u||v| sin) off the diagonal, 1 / |u| on it."""
    x = scale * INPUTS["1e-7 apart"]
    pairs = Covariance.of_rows(torch.from_numpy(x))
    _, slope, error = duals(pairs, activation("erf"))
    for i in range(3):
        for j in range(3):
            p, q, c = (float(pairs.sigma[s, t]) for s, t in ((i, i), (j, j), (i, j)))
            angle = mp.mpf(0) if i == j else exact_angle(x[i], x[j])
            exact = exact_duals("erf", mp.mpf(p), mp.mpf(q), mp.mpf(c), angle)[1]
            assert float(slope[i, j]) == pytest.approx(float(exact), rel=1e-10)
    assert error < 1e-11


@pytest.mark.parametrize("distance", [1e-3, 1e-7, 1e-10])
def test_smallest_eigenvalue_of_near_copies(distance):
    """lambda_min is of the order of the angle, for E sigma' sigma' goes like pi - angle."""
    x = beside(distance)[:2]
    widths, betas = (4, 30, 30, 1), [1.0] * 3
    got = infinite_width(Network(widths, activation("relu"), betas=betas), torch.from_numpy(x))
    with mp.workdps(DIGITS):
        exact = float(min(mp.eigsy(exact_gram(x, widths, "relu", betas), eigvals_only=True)))
    low = float(torch.linalg.eigvalsh(got.gram)[0])
    error = got.error * float(got.gram.trace())
    assert abs(low - exact) <= error + 1e-15 * float(got.gram.trace())
    if distance > 1e-9:
        assert low == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("factor", [1e4, 1e6, 1e8, 1e12, 1e16, 1e24])
def test_a_sum_of_smooth_activations_at_large_rows_admits_what_it_does_not_know(factor):
    """Hermite series of a step and of a spike: errors hold against the closed forms of these."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 6)))
    pairs = Covariance.of_rows(x).times(factor)
    got, slope, slope_error = duals(pairs, activation("tanh"))
    if factor >= 1e16:  # tanh is a step, but for 1e-16 of the normals
        cosine = torch.corrcoef(torch.cat([x, -x], 1))  # rows of mean 0: cosines
        sign = (2.0 / math.pi) * torch.asin(cosine)
        assert float((got.sigma - sign).fill_diagonal_(0.0).abs().max()) <= got.error
    # E tanh'(rz)^2 = (4/3) / (sqrt(2 pi) r), less a share of 1 / r^2.
    spike = 4.0 / 3.0 / math.sqrt(2.0 * math.pi) / pairs.sigma.diagonal().sqrt()
    off = (slope.diagonal() - spike).abs() / spike
    assert float(off.max()) <= slope_error + 1.0 / factor
    assert slope_error > 1e-3


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"linear"}))
def test_equal_and_opposite_rows_of_any_activation(name):
    """Equal rows have equal entries; E sigma(u) sigma(-u) is a mean over one variable."""
    act = activation(name)
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 5)))
    got, slope, slope_error = duals(Covariance.of_rows(torch.cat([x, x[:1], -x[:1]])), act)
    r = float(x[0].norm())
    z = torch.linspace(-12.0, 12.0, 48001, dtype=torch.float64)
    weight = torch.exp(-z * z / 2) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
    # The trapezoid rule over a kink at a node: right to its step squared.
    near = 1e-7 * (1 + r * r)
    for function, values, error in (
        (act.f, got.sigma, got.error),
        (lambda u: 0.5 * (act.df(u) + act.df(u.nextafter(u + 1))), slope, slope_error),
    ):
        same, other = (float(weight @ (function(r * z) * function(s * r * z))) for s in (1.0, -1.0))
        room = error * float(values[0, 0])
        assert abs(float(values[0, 2] - values[0, 0])) <= room
        step = 3e-4 if name in ("relu", "leaky_relu") and values is slope else near
        assert float(values[0, 0]) == pytest.approx(same, abs=step)
        assert float(values[0, 3]) == pytest.approx(other, abs=step + room)


def limit(**changes):
    point = {
        "n_samples": 4, "input_dim": 1, "width": 8, "depth": 3, "activation": "relu",
        "infinite_width_up_to": 20,
    }  # fmt: skip
    row = ntk_min_eig(**{**point, **changes}, seed=changes.pop("seed", 0))
    return row.lambda_min_infinite_width, row.infinite_width_error


def test_zeros_that_no_width_lifts_are_named_zero():
    assert limit() == (0.0, 0.0)  # four samples on a line, two of one sign
    assert limit(data="rademacher", input_dim=3, n_samples=9, activation="gelu") == (0.0, 0.0)
    assert limit(activation="linear", input_dim=3) == (0.0, 0.0)
    value, error = limit(activation="linear", input_dim=4)
    assert 0.0 < error < 1e-3 * value
    value, error = limit(n_samples=12, activation="sigmoid")  # one dimension: below rounding
    assert math.isnan(value)
    assert error > 0.0
