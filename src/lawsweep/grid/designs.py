"""Space-filling samples of a box: random, Latin hypercube, Sobol.

Our own, in numpy, because the points are identities: a sample must be the same in every version
of every library, or the whole grid would be new.  Coordinates are in [0, 1).
"""

from __future__ import annotations

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.randomness.streams import stream

METHODS = ("random", "lhs", "sobol")

# Primitive polynomials and initial numbers of dimensions 2 to 16: S. Joe and F. Y. Kuo,
# "Constructing Sobol sequences with better two-dimensional projections" (2008), new-joe-kuo-6.
# Each is (degree, coefficients, m_1..m_degree).
_DIRECTIONS = (
    (1, 0, (1,)),
    (2, 1, (1, 3)),
    (3, 1, (1, 3, 1)),
    (3, 2, (1, 1, 1)),
    (4, 1, (1, 1, 3, 3)),
    (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)),
    (5, 4, (1, 1, 5, 5, 5)),
    (5, 7, (1, 1, 7, 11, 19)),
    (5, 11, (1, 1, 5, 1, 1)),
    (5, 13, (1, 1, 1, 3, 11)),
    (5, 14, (1, 3, 5, 5, 31)),
    (6, 1, (1, 3, 3, 9, 7, 49)),
    (6, 13, (1, 1, 1, 15, 21, 21)),
    (6, 16, (1, 3, 1, 13, 27, 49)),
)
_BITS = 52


def design(method: str, n: int, n_dims: int, seed: int) -> np.ndarray:
    """``n`` points of the unit cube, shape (n, n_dims).

    ``random`` and ``lhs`` (one point in each of n slices of every axis) draw from the stream
    ``design`` of ``seed``; ``sobol`` is the sequence itself, shifted modulo 1 by that stream unless
    ``seed`` is 0.  A longer ``random`` or ``sobol`` sample extends a shorter one.
    """
    if method not in METHODS:
        raise unknown_name("sampling method", method, METHODS)
    rng = stream(seed, "design")
    if method == "random":
        return rng.random((n, n_dims))
    if method == "lhs":
        slices = np.stack([rng.permutation(n) for _ in range(n_dims)], axis=1)
        return (slices + rng.random((n, n_dims))) / n
    points = sobol(n, n_dims)
    return points if seed == 0 else (points + rng.random(n_dims)) % 1.0


def sobol(n: int, n_dims: int) -> np.ndarray:
    """The first ``n`` points of the Sobol sequence in ``n_dims`` (at most 16), shape (n, n_dims).

    Gray-code order; the first point, the origin, is left out, as it lies on every face.
    """
    if n_dims > len(_DIRECTIONS) + 1:
        raise InvalidValueError(
            f"A Sobol sample has at most {len(_DIRECTIONS) + 1} axes, got {n_dims}; use lhs."
        )
    numbers = np.stack([_direction_numbers(k) for k in range(n_dims)], axis=1)
    points = np.empty((n, n_dims))
    state = np.zeros(n_dims, dtype=np.int64)
    for i in range(n):
        state = state ^ numbers[(~i & (i + 1)).bit_length() - 1]
        points[i] = state / 2.0**_BITS
    return points


def _direction_numbers(k: int) -> np.ndarray:
    """v_1..v_52 of dimension ``k`` (from 0), as integers scaled by 2^52."""
    if k == 0:
        return np.array([1 << (_BITS - 1 - j) for j in range(_BITS)], dtype=np.int64)
    degree, coefficients, initial = _DIRECTIONS[k - 1]
    m = list(initial)
    for j in range(degree, _BITS):
        value = m[j - degree] ^ (m[j - degree] << degree)
        for i in range(1, degree):
            if (coefficients >> (degree - 1 - i)) & 1:
                value ^= m[j - i] << i
        m.append(value)
    return np.array([m[j] << (_BITS - 1 - j) for j in range(_BITS)], dtype=np.int64)
