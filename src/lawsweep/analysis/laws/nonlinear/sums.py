"""Sums of powers, and their derivatives, for many parameter vectors at once.

Two coordinates of one law.  The natural ones, E and per term log |c| and a, are what a reader asks
for; where an exponent passes 0 they run to infinity (E + c x^a tends to b + k log x, with
E → -inf and c → inf).  The regular ones write a term as c (x^a - 1) / a with x over its geometric
mean, which passes through c log x: the fit and the profiles of exponents are made there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array

MOST = 300.0  # exponents beyond are cut: the square of e^300 is a float still, and no data go there


@dataclass(frozen=True)
class Sum:
    """f = E + Σ_j s_j exp(l_j + a_j u_j): parameters [E], l_1, a_1, l_2, a_2, …; natural ones.

    ``u`` (n_terms, n) are log x of each term; ``signs`` (n_terms,) those of the coefficients.
    """

    u: Array
    signs: tuple[float, ...]
    offset: bool = True

    def at(self, theta: Array) -> tuple[Array, Array]:
        """Values (g, n) and derivatives (g, n, p) at parameter vectors (g, p)."""
        g, n = len(theta), self.u.shape[1]
        slope = np.empty((g, n, theta.shape[1]))
        first = 1 if self.offset else 0
        value = np.zeros((g, n))
        if self.offset:
            value += theta[:, :1]
            slope[:, :, 0] = 1.0
        for j, (u, sign) in enumerate(zip(self.u, self.signs, strict=True)):
            k = first + 2 * j
            power = theta[:, k, None] + theta[:, k + 1, None] * u
            term = sign * np.exp(np.clip(power, -MOST, MOST))
            value += term
            slope[:, :, k] = term
            slope[:, :, k + 1] = term * u
        return value, slope


@dataclass(frozen=True)
class Regular:
    """f = b + Σ_j c_j (exp(a_j v_j) - 1) / a_j: parameters b, c_1, a_1, …; v = u - mean of u.

    Without ``offset`` a term is c_j exp(a_j v_j), and there is no b.
    """

    v: Array
    offset: bool = True

    def at(self, theta: Array) -> tuple[Array, Array]:
        """Values (g, n) and derivatives (g, n, p) at parameter vectors (g, p)."""
        g, n = len(theta), self.v.shape[1]
        slope = np.empty((g, n, theta.shape[1]))
        value = np.zeros((g, n))
        first = 1 if self.offset else 0
        if self.offset:
            value += theta[:, :1]
            slope[:, :, 0] = 1.0
        for j, v in enumerate(self.v):
            c, a = theta[:, first + 2 * j, None], theta[:, first + 2 * j + 1, None]
            basis, along = self.basis(a, v)
            value += c * basis
            slope[:, :, first + 2 * j] = basis
            slope[:, :, first + 2 * j + 1] = c * along
        return value, slope

    def basis(self, a: Array, v: Array) -> tuple[Array, Array]:
        """A term of coefficient 1 and its derivative in its exponent."""
        if self.offset:
            return box_cox(a, v)
        power = np.exp(np.clip(a * v, -MOST, MOST))
        return power, power * v


def box_cox(a: Array, v: Array) -> tuple[Array, Array]:
    """(exp(a v) - 1) / a and its derivative in a, by their series where |a v| is small.

    The derivative (a v e^{av} - e^{av} + 1) / a² loses about eps / (av)² to cancellation; the
    series v²/2 + a v³/3 + a² v⁴/8 errs by (av)³/30 relative: they meet near |av| = 1e-4.
    """
    product = np.clip(a * v, -MOST, MOST)
    small = abs(product) < 1e-4
    safe = np.where(a == 0, 1.0, a)
    grown = np.expm1(product)
    basis = np.where(small, v * (1 + product / 2 + product**2 / 6), grown / safe)
    along = np.where(
        small,
        v**2 * (0.5 + product / 3 + product**2 / 8),
        (product * (grown + 1) - grown) / safe**2,
    )
    return basis, along
