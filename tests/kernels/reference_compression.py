"""Slow references for the compression kernels: quadrature and naive sums, no shared code.

x ~ N(0, I) enters E sigma(<u,x>) sigma(<v,x>) through the plane of u and v alone.  There, in polar
coordinates, E = (1/2pi) int r^3 exp(-r^2/2) dr int sigma(cos p) sigma(cos(p - theta)) dp |u||v|,
the first integral is 2, and the second is smooth between the kinks of sigma, where Gauss-Legendre
with 40 nodes is exact to rounding.
"""

import itertools
import math

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


def _sigma(z, slope):
    return np.where(z > 0, z, slope * z)


def _dsigma(z, slope):
    return np.where(z > 0, 1.0, slope)


def pair(norm_u, norm_v, theta, slope=0.0, supplement=None):
    """k of two vectors at the angle theta; ``supplement`` = pi - theta where that is small."""
    gap, turn = (theta, 1.0) if supplement is None else (supplement, -1.0)
    # Both lines at angles 0 and gap (v turned by 180 degrees for a supplement): the circle splits
    # into two arcs of length gap, where exactly one of the cosines has the other sign, and two of
    # length pi - gap.
    total = 0.0
    for start, length in (
        (-math.pi / 2, gap),
        (-math.pi / 2 + gap, math.pi - gap),
        (math.pi / 2, gap),
        (math.pi / 2 + gap, math.pi - gap),
    ):
        q = 0.5 * length * (_NODES + 1.0)  # from the arc's start, kept small where it is small
        if start in (-math.pi / 2, math.pi / 2):
            sign = 1.0 if start < 0 else -1.0
            a, b = sign * np.sin(q), sign * -np.sin(gap - q)
        else:
            sign = 1.0 if start < math.pi / 2 else -1.0
            a, b = sign * np.sin(q + gap), sign * np.sin(q)
        f = _sigma(a, slope) * _sigma(turn * b, slope)
        total += 0.5 * length * float(_WEIGHTS @ f)
    return norm_u * norm_v * total / math.pi


def plane(u, v):
    """(|u|, |v|, theta, e1, e2): u along e1, v = |v|(cos theta e1 + sin theta e2)."""
    nu, nv = np.linalg.norm(u), np.linalg.norm(v)
    e1 = u / nu
    rest = v / nv - (v / nv @ e1) * e1
    rest -= (rest @ e1) * e1
    s = np.linalg.norm(rest)
    e2 = rest / s if s > 1e-14 else np.zeros_like(e1)
    return nu, nv, math.atan2(s if s > 1e-14 else 0.0, v / nv @ e1), e1, e2


def value(u, v, slope=0.0):
    nu, nv, theta, _, _ = plane(u, v)
    return pair(nu, nv, theta, slope)


def gradient(u, v, slope=0.0):
    """E sigma(<u,x>) sigma'(<v,x>) x: the angular integral of the plane, int r^3 e^(-r^2/2) = 2."""
    nu, _, theta, e1, e2 = plane(u, v)
    kinks = sorted(
        {(k % (2 * math.pi)) for t in (0.0, theta) for k in (t - math.pi / 2, t + math.pi / 2)}
    )
    edges = [*kinks, kinks[0] + 2 * math.pi]
    total = np.zeros(2)
    for a, b in itertools.pairwise(edges):
        p = a + 0.5 * (b - a) * (_NODES + 1.0)
        f = _sigma(np.cos(p), slope) * _dsigma(np.cos(p - theta), slope)
        w = 0.5 * (b - a) * _WEIGHTS * f
        total += np.array([w @ np.cos(p), w @ np.sin(p)])
    return nu * (total[0] * e1 + total[1] * e2) / math.pi


def objective(w, alpha, v, signs, slope=0.0):
    """J of one restart by the double sums; numpy arrays (N, d), (N,), (M, d), (M,)."""
    cross = sum(
        a * s * value(row, vj, slope)
        for a, row in zip(alpha, w, strict=True)
        for s, vj in zip(signs, v, strict=True)
    )
    own = sum(
        sj * sl * value(vj, vl, slope)
        for sj, vj in zip(signs, v, strict=True)
        for sl, vl in zip(signs, v, strict=True)
    )
    return own - 2.0 * cross


def objective_gradient(w, alpha, v, signs, slope=0.0):
    """Gradient of ``objective``, (M, d)."""
    rows = []
    for sj, vj in zip(signs, v, strict=True):
        cross = sum(a * gradient(row, vj, slope) for a, row in zip(alpha, w, strict=True))
        own = sum(sl * gradient(vl, vj, slope) for sl, vl in zip(signs, v, strict=True))
        rows.append(2.0 * sj * (own - cross))
    return np.array(rows)
