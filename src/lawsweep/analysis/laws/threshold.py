"""Where an event stops happening along one axis: what answers at several places say of it.

The model.  Along the axis, in the coordinate u (log of the value where all candidates are
positive, else the value), the event happens with probability

    P(event | u) = c + (1 - 2c) / (1 + exp((u - m) / s)),

so that it is one half at u = m: the threshold N* is the value at m.  s is the width of the
transition (P falls from 3/4 to 1/4 over 2 s log 3 = 2.2 s) and c the chance of an answer that says
nothing of u (a draw that fails at any size).  m, s and c have a prior on a lattice: flat in m over
the candidates and half their span beyond either end, so that "below the grid" and "above the grid"
are answers too; flat in log s; flat over a few c.  The posterior of m is what is reported.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

State = Literal["resolved", "open", "unresolved", "below_grid", "above_grid"]
STATES: tuple[State, ...] = ("resolved", "open", "unresolved", "below_grid", "above_grid")

N_WIDTHS = 12
CHANCES = np.array([0.005, 0.05, 0.15])
# Nodes of m between two neighbouring candidates, and bounds on the whole number.
PER_GAP, FEWEST, MOST = 4, 512, 2048


@dataclass(frozen=True)
class Threshold:
    """What is known of one cell.

    ``n_star`` is the posterior median of the threshold and ``low``, ``high`` the ends of its
    interval, in units of the axis.  Where the threshold lies beyond the grid ``n_star`` is None,
    and the end of the grid is the one bound there is; where the interval of a cell that is not
    resolved reaches beyond the grid, that end is None: the prior would be all that bounds it.  So
    is its median there.
    ``width`` is the posterior median of s: relative
    where the axis is logarithmic, in its units otherwise.  ``reason`` says why a search that is
    not ``resolved`` ended; ``n_runs`` counts runs that ended, ``n_unanswered`` those of them that
    gave no answer.
    """

    state: State
    n_star: float | None
    low: float | None
    high: float | None
    width: float | None
    n_runs: int
    n_unanswered: int
    n_visited: int
    reason: str = ""


class Lattice:
    """The prior of one set of candidates, and the likelihood of an answer at each of them."""

    def __init__(self, values: Sequence[float]):
        self.values = np.asarray(values, dtype=np.float64)
        self.log = bool(self.values[0] > 0)
        self.u = np.log(self.values) if self.log else self.values
        span, gap = float(self.u[-1] - self.u[0]), float(np.median(np.diff(self.u)))
        n = int(np.clip(math.ceil(2 * span / gap * PER_GAP), FEWEST, MOST))
        self.step = 2 * span / n
        self.m = self.u[0] - span / 2 + self.step * (np.arange(n) + 0.5)
        # From a step as seen from these candidates to one that they barely reach across.
        self.s = np.geomspace(max(gap / 4, span / 400), span / 2, N_WIDTHS)

    def value(self, u: float) -> float:
        """The value of the axis at coordinate ``u``."""
        return math.exp(u) if self.log else u

    def scale(self, value: float) -> float:
        """What a tolerance is a share of: the value, or the span of an axis that reaches 0."""
        return abs(value) if self.log else float(self.values[-1] - self.values[0])

    def log_likelihood(self, candidate: int, n_true: int, n_false: int) -> np.ndarray:
        """Of so many answers at one candidate, shape (n_m, n_s, n_c)."""
        happens, not_ = _log_probabilities(tuple(self.values.tolist()), candidate)
        return np.asarray(n_true * happens + n_false * not_)


@functools.lru_cache(maxsize=64)  # of at most 1.2 MB each
def _log_probabilities(values: tuple[float, ...], candidate: int) -> tuple[np.ndarray, np.ndarray]:
    """log P and log (1 - P) at one candidate over the lattice; P is at least the least chance."""
    lattice = Lattice(values)
    z = (lattice.u[candidate] - lattice.m[:, None]) / lattice.s
    with np.errstate(over="ignore"):
        below = (1.0 / (1.0 + np.exp(z)))[:, :, None]
    share = 1 - 2 * CHANCES
    return np.log(CHANCES + share * below), np.log(CHANCES + share * (1.0 - below))


class Posterior:
    """What the answers so far say of the threshold of one cell."""

    def __init__(self, lattice: Lattice):
        self.lattice = lattice
        self._counts: dict[int, tuple[int, int]] = {}
        # A node stands for an interval as wide as a step, so the CDF is piecewise linear.
        self._edges = lattice.m[0] + lattice.step * (np.arange(len(lattice.m) + 1) - 0.5)
        self._cdf = np.linspace(0.0, 1.0, len(lattice.m) + 1)
        self._widths = np.full(len(lattice.s), 1 / len(lattice.s))
        self.log_evidence = 0.0  # log of the answers' probability, over the prior

    def add(self, answers: Mapping[int, tuple[int, int]]) -> None:
        """Take in answers: of each candidate how many times the event happened, and did not."""
        for candidate, (n_true, n_false) in answers.items():
            before = self._counts.get(candidate, (0, 0))
            self._counts[candidate] = (before[0] + n_true, before[1] + n_false)
        # Summed afresh (a few milliseconds) and not kept: there may be thousands of cells.
        log = np.zeros((len(self.lattice.m), len(self.lattice.s), len(CHANCES)))
        for candidate in sorted(self._counts):
            log += self.lattice.log_likelihood(candidate, *self._counts[candidate])
        weights = np.exp(log - log.max())
        self.log_evidence = float(log.max() + np.log(weights.mean()))
        weights /= weights.sum()
        self._cdf = np.concatenate([[0.0], np.cumsum(weights.sum((1, 2)))])
        self._widths = weights.sum((0, 2))

    def quantiles(self, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantiles of m, as coordinates."""
        found: np.ndarray = np.interp(levels, self._cdf, self._edges)
        return found

    def mass_below(self, u: float) -> float:
        """Probability that m is at most ``u``."""
        return float(np.interp(u, self._edges, self._cdf))

    def width(self) -> float:
        """Median of s: the node at which half of its mass is reached."""
        at = int(np.searchsorted(np.cumsum(self._widths), 0.5))
        return float(self.lattice.s[min(at, len(self.lattice.s) - 1)])
