"""The intervals of a sum of powers, from its scatter and from its seeds, and what they lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.fitted import Interval, Parameter, outer
from lawsweep.analysis.laws.nonlinear.profiles import Optimum, profile_ends
from lawsweep.analysis.laws.nonlinear.shape import Shape
from lawsweep.analysis.laws.nonlinear.solver import Problem


@dataclass(frozen=True)
class Ends:
    """The intervals of a fit's parameters, from both sources."""

    shape: Shape
    regular: Problem
    natural: Problem
    best: Optimum
    best_natural: Optimum | None
    seeds: Sequence[Interval] | None  # of each parameter, in natural ones
    quantile: float
    exact: bool

    def parameters(self, theta: Array, signs: Sequence[float]) -> tuple[Parameter, ...]:
        """In the order of the names; coefficients in units of y."""
        exponents = self.shape.exponents
        found: dict[int, list[Interval]] = {}
        self._into(found, self.regular, self.best, exponents)
        others = [k for k in range(len(theta)) if k not in exponents]
        open_ = {k: self._open(k, found) for k in others}
        if self.best_natural is not None:
            wanted = [k for k in others if not all(open_[k])]
            self._into(found, self.natural, self.best_natural, wanted)
        whole = (-np.inf, np.inf)
        for k in others:
            known = found.get(k, [whole] * len(open_[k]))
            found[k] = [whole if o else e for e, o in zip(known, open_[k], strict=True)]
        return tuple(
            self._parameter(k, float(value), found[k], signs) for k, value in enumerate(theta)
        )

    def _into(
        self, found: dict[int, list[Interval]], problem: Problem, best: Optimum, wanted: list[int]
    ) -> None:
        """The interval from the scatter, by the profile; then that from the seeds."""
        if self.exact:  # nothing to profile: the sums are rounding
            half = self.quantile * best.errors()
            ends = [(float(best.theta[k] - half[k]), float(best.theta[k] + half[k]))
                    for k in wanted]  # fmt: skip
        else:
            ends = profile_ends(problem, best, [(k, self.quantile) for k in wanted])
        for k, interval in zip(wanted, ends, strict=True):
            found[k] = [interval] + ([] if self.seeds is None else [self.seeds[k]])

    def _open(self, k: int, found: dict[int, list[Interval]]) -> list[bool]:
        """Whether an exponent that may be 0 leaves E, or its own coefficient, without bounds."""
        if not self.shape.offset:
            return [False] * (1 if self.seeds is None else 2)
        own = self.shape.exponents if k == 0 else [k + 1]
        return [any(low <= 0 <= high for low, high in some)
                for some in zip(*(found[j] for j in own), strict=True)]  # fmt: skip

    def _parameter(
        self, k: int, value: float, ends: Sequence[Interval], signs: Sequence[float]
    ) -> Parameter:
        name = self.shape.names[k]
        if k not in self.shape.exponents and not (self.shape.offset and k == 0):
            sign = signs[(k - self.shape.first) // 2]
            ends = [_exponential(e, sign) for e in ends]
            with np.errstate(over="ignore"):
                value = sign * float(np.exp(value))
        low, high = outer(ends)
        return Parameter(name, value, low, high, ends[0], ends[1] if len(ends) > 1 else None)

    def warnings(self, parameters: Sequence[Parameter]) -> list[str]:
        """What these points leave open, a sentence a kind."""
        found = []
        exponents = [parameters[k] for k in self.shape.exponents]
        zero = [q.name for q in exponents if q.low <= 0 <= q.high] if self.shape.offset else []
        if zero:
            found.append(
                f"{' and '.join(zero)} may be 0, a logarithm: the coefficients that go with it "
                "have no bounds; a wider range of x would give them some"
            )
        loose = [q.name for q in exponents if not (np.isfinite(q.low) and np.isfinite(q.high))]
        if loose:
            found.append(
                f"{_which(loose)} not bounded to one side: a term that acts at the last point "
                "alone fits as well; add points where it rules"
            )
        others = [q for q in parameters if q not in exponents]
        wide = [q.name for q in others if np.isinf(q.low) or np.isinf(q.high)]
        if wide and not zero:
            found.append(f"{_which(wide)} not bounded at these points")
        return found


def _which(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _exponential(ends: Interval, sign: float) -> Interval:
    """Bounds of sign e^l; of both signs where nothing is known of l."""
    if np.isneginf(ends[0]) and np.isposinf(ends[1]):
        return ends
    with np.errstate(over="ignore"):
        a, b = float(np.exp(ends[0])), float(np.exp(ends[1]))
    return (a, b) if sign > 0 else (-b, -a)
