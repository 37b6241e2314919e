"""A sum of powers to fit: its terms, its names, and its two coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array

STEP = 60.0  # as a power of e over the range of x: a term that steep acts at one point alone


@dataclass(frozen=True)
class Shape:
    """A sum of powers to fit: log x of each term (n_terms, n), the names, whether with E."""

    u: Array
    names: tuple[str, ...]  # [E], A, a, B, b …
    offset: bool
    same_x: bool = False  # both terms are of one x, so their exponents are told apart by order

    @property
    def first(self) -> int:
        """Where the first term's parameters begin."""
        return 1 if self.offset else 0

    @property
    def exponents(self) -> list[int]:
        """Places of the exponents."""
        return list(range(self.first + 1, len(self.names), 2))

    @property
    def middle(self) -> Array:
        """Mean log x of each term, (n_terms,)."""
        return np.asarray(self.u.mean(axis=1))

    @property
    def spans(self) -> Array:
        """Range of log x of each term, (n_terms,)."""
        return np.asarray(np.ptp(self.u, axis=1))

    def natural(self, theta: Array) -> tuple[Array, tuple[float, ...]]:
        """Natural parameters and signs of regular ones."""
        found, signs = theta.copy(), []
        for j, middle in enumerate(self.middle):
            k = self.first + 2 * j
            c, a = theta[k], theta[k + 1]
            if self.offset:
                c = c / a if a else np.inf
                found[0] -= c
            signs.append(float(np.sign(c)))
            with np.errstate(divide="ignore"):
                found[k] = np.log(abs(c)) - a * middle
        return found, tuple(signs)

    def reader(self, theta: Array, *, moved: bool = True) -> Callable[[Array], Array]:
        """Natural parameters (g, p) of regular ones (g, p), as far as they are those of ``theta``.

        NaN (nothing is known) where a coefficient has changed its sign, and of all that go with an
        exponent that has passed 0 where there is a constant; infinite where a term is a step.
        Without ``moved`` nothing passes from ``theta`` to them (they are laws of their own), and an
        exponent may have either sign.
        """
        at = theta

        def read(many: Array) -> Array:
            if self.same_x:  # in the order of the exponents
                ordered = many[:, [1]] <= many[:, [3]]
                many = np.where(ordered, many, many[:, [2, 3, 0, 1]])
            found = np.array(many, dtype=np.float64)
            for j, (middle, span) in enumerate(zip(self.middle, self.spans, strict=True)):
                k = self.first + 2 * j
                c, a = many[:, k], many[:, k + 1]
                lost = c * at[k] <= 0
                with np.errstate(all="ignore"):
                    if self.offset:
                        c = c / a
                        lost = c * at[k] * at[k + 1] <= 0
                        if moved:
                            lost |= a * at[k + 1] <= 0
                        found[:, 0] -= np.where(lost, np.nan, c)
                    found[:, k] = np.where(lost, np.nan, np.log(abs(c)) - a * middle)
                steep = abs(a) * span > STEP
                found[steep, k + 1] = np.copysign(np.inf, a[steep])
                found[steep, k] = np.where(lost, np.nan, -np.sign(a * middle) * np.inf)[steep]
            return found

        return read
