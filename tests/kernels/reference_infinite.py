"""Slow references for the infinite-width kernel and the layer limits: plain numpy and loops.

Nothing of lawsweep is used here.  Two-dimensional Gauss-Hermite quadrature, pair by pair; where an
activation has a kink that would converge slowly, so ReLU has its closed form (Cho and Saul 2009) by
the angle.
"""

import functools
import math

import numpy as np

erf = np.vectorize(math.erf)


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def _normal_cdf(z):
    return 0.5 * (1.0 + erf(z / math.sqrt(2.0)))


SMOOTH = {
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "tanh": (np.tanh, lambda z: np.cosh(z) ** -2.0),
    "softplus": (lambda z: np.log1p(np.exp(z)), _sigmoid),
    "silu": (
        lambda z: z * _sigmoid(z),
        lambda z: _sigmoid(z) + z * _sigmoid(z) * _sigmoid(-z),
    ),
    "gelu": (
        lambda z: z * _normal_cdf(z),
        lambda z: _normal_cdf(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    ),
    "erf": (erf, lambda z: 2.0 / math.sqrt(math.pi) * np.exp(-z * z)),
    "linear": (lambda z: z, np.ones_like),
}


# A crease at 0, where the quadratures below have to be cut.
ELU = (lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda z: np.exp(np.minimum(z, 0)))


def nodes(n=200):
    z, w = np.polynomial.hermite_e.hermegauss(n)
    return z, w / math.sqrt(2.0 * math.pi)


def pair_expectation(function, a, b, c, n=200):
    """E f(u) f(v) for covariance [[a, c], [c, b]]."""
    z, w = nodes(n)
    u = math.sqrt(a) * z
    along = c / math.sqrt(a)
    v = along * z[:, None] + math.sqrt(max(b - along**2, 0.0)) * z[None, :]
    return float(np.sum(w[:, None] * w[None, :] * function(u)[:, None] * function(v)))


def cut_expectation(function, a, b, c, n=60):
    """E f(u) f(v) where f has a crease at 0: u outside, v inside, panels that end at 0."""
    x, w = np.polynomial.legendre.leggauss(n)

    def rule(zero):
        edges = np.concatenate([np.linspace(-12, zero, 5), np.linspace(zero, 12, 5)[1:]])
        half = 0.5 * np.diff(edges)[:, None]
        z = (edges[:-1, None] + half * (1 + x)).ravel()
        return z, (half * w).ravel() * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    outer, total = rule(0.0), 0.0
    along, across = c / math.sqrt(a), math.sqrt(max(b - c * c / a, 0.0))
    for z, weight in zip(*outer, strict=True):
        mean = along * z
        zero = min(12.0, max(-12.0, -mean / across)) if across else 0.0
        inner, inner_weight = rule(zero)
        total += (
            weight * function(math.sqrt(a) * z) * (function(mean + across * inner) @ inner_weight)
        )
    return float(total)


def relu_pair(a, b, c):
    """(E relu relu, E step step) by the angle."""
    theta = math.acos(min(1.0, max(-1.0, c / math.sqrt(a * b))))
    value = math.sqrt(a * b) * (math.sin(theta) + (math.pi - theta) * math.cos(theta))
    return value / (2 * math.pi), (math.pi - theta) / (2 * math.pi)


def leaky_pair(a, b, c, slope=0.01):
    """Leaky ReLU is relu(z) - slope relu(-z): four ReLU terms at angles theta and pi - theta."""
    same, same_step = relu_pair(a, b, c)
    other, other_step = relu_pair(a, b, -c)
    value = (1 + slope**2) * same - 2 * slope * other
    return value, (1 + slope**2) * same_step + 2 * slope * other_step


@functools.cache  # every row meets itself, and every test the same rows
def dual_pair(name, a, b, c):
    if name == "relu":
        return relu_pair(a, b, c)
    if name == "leaky_relu":
        return leaky_pair(a, b, c)
    if name == "abs":
        return leaky_pair(a, b, c, slope=-1.0)
    if name == "elu":
        return tuple(cut_expectation(f, a, b, c) for f in ELU)
    f, df = SMOOTH[name]
    return pair_expectation(f, a, b, c), pair_expectation(df, a, b, c)


def gram(x, widths, name, betas, *, layers=None, bias=False, ntk=False):
    """The recursion of Jacot et al. pair by pair, with the widths in front as lawsweep has them."""
    n_rows, depth = len(x), len(widths) - 1
    layers = range(1, depth + 1) if layers is None else layers
    out = np.zeros((n_rows, n_rows))
    for i in range(n_rows):
        for j in range(n_rows):
            p, q, c = (float(x[s] @ x[t]) / widths[0] for s, t in ((i, i), (j, j), (i, j)))
            features, slopes = [c], []
            for layer in range(1, depth):
                g = betas[layer - 1] ** 2
                value, slope = dual_pair(name, g * p, g * q, g * c)
                p, q = (dual_pair(name, g * s, g * s, g * s)[0] for s in (p, q))
                c = value
                features.append(c)
                slopes.append(slope)
            for layer in layers:
                last = betas[-1] ** 2 * (1.0 if ntk else widths[-2])
                back = 1.0 if layer == depth else last
                for above in range(layer, depth):
                    back *= slopes[above - 1]
                    if above + 1 < depth:
                        back *= betas[above] ** 2
                factor = widths[layer - 1] * features[layer - 1]
                if ntk:
                    factor *= betas[layer - 1] ** 2 / widths[layer - 1]
                out[i, j] += (factor + (1.0 if bias else 0.0)) * back
    return out
