"""Where an event stops happening along one axis: what answers at several places say of it.

The model.  Along the axis, in the coordinate u (log of the value where all candidates are
positive, else the value), the event happens with probability

    P(event | u) = c + (1 - 2c) / (1 + exp((u - m) / s)),

so that it is one half at u = m: the threshold N* is the value at m.  s is the width of the
transition (P falls from 3/4 to 1/4 over 2 s log 3 = 2.2 s) and c the chance of an answer that says
nothing of u (a draw that fails at any size).  m, s and c have a prior on a lattice: flat in m over
the candidates and half their span beyond either end, so that "below the grid" and "above the grid"
are answers too; flat in log s; flat over a few c (a search that has several cells learns the prior
of s and c from them).  The posterior of m is what is reported.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

State = Literal[
    "resolved",
    "open",
    "unresolved",
    "below_grid",
    "above_grid",
    "at_least",  # larger sizes cannot be run
    "rises",
    "several_edges",
    "flat",
]
STATES: tuple[State, ...] = get_args(State)

N_WIDTHS = 18
CHANCES = np.array([0.005, 0.05, 0.15])
# Nodes of m between two neighbouring candidates, and bounds on the whole number.
PER_GAP, FEWEST, MOST = 4, 512, 2048


REASONS: Mapping[str, str] = {
    "max_runs": "max_runs are spent: raise it, or the tolerance",
    "axis_too_coarse": "no candidate lies within the interval: give the axis more values there",
    "seeds_used": "every seed of every candidate is used: give more seeds",
    "fails_above": "runs fail (oom, timeout, infeasible) from the next candidate on",
    "fails_everywhere": "runs fail (oom, timeout, infeasible) at every candidate that is left",
    "rising": "the event begins as the axis grows: say rising: true",
    "falling": "the event stops as the axis grows: say rising: false",
    "several_edges": "the event comes and goes more than once along the axis: narrow the axis",
    "flat": "the event is about as likely all along the axis: widen the axis, or ask another event",
}


@dataclass(frozen=True)
class Threshold:
    """What is known of one cell.

    ``n_star`` is the posterior median of the threshold and ``low``, ``high`` the ends of its
    interval, in units of the axis.  Where the threshold lies beyond the grid ``n_star`` is None,
    and the end of the grid is the one bound there is; where the interval of a cell that is not
    resolved reaches beyond the grid, that end is None: the prior would be all that bounds it.  So
    is its median there.
    ``width`` is the posterior median of s: relative
    where the axis is logarithmic, in its units otherwise.  Of a cell without one falling edge
    (``rises``, ``several_edges``, ``flat``) nothing but the state is told.  ``reason`` is a code
    (``REASONS``) of why a search that is not ``resolved`` ended; ``n_runs`` counts runs that
    ended, ``n_unanswered`` those of them that gave no answer.
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
        self.key = tuple(self.values.tolist())
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

    def log_likelihood(self, candidate: int, n_true: float, n_false: float) -> np.ndarray:
        """Of so many answers at one candidate, shape (n_m, n_s, n_c)."""
        happens, not_ = _log_probabilities(self.key, candidate)
        return np.asarray(n_true * happens + n_false * not_)


@functools.lru_cache(maxsize=256)
def lattice_of(key: tuple[float, ...]) -> Lattice:
    """The lattice of the candidates ``key``, as it was made last."""
    return Lattice(key)


@functools.lru_cache(maxsize=64)  # of at most 1.8 MB each
def _log_probabilities(values: tuple[float, ...], candidate: int) -> tuple[np.ndarray, np.ndarray]:
    """log P and log (1 - P) at one candidate over the lattice; P is at least the least chance."""
    lattice = lattice_of(values)
    z = (lattice.u[candidate] - lattice.m[:, None]) / lattice.s
    with np.errstate(over="ignore"):
        below = (1.0 / (1.0 + np.exp(z)))[:, :, None]
    share = 1 - 2 * CHANCES
    return np.log(CHANCES + share * below), np.log(CHANCES + share * (1.0 - below))


# Log likelihoods of the cells that were looked at last, 0.2 MB each: there may be thousands.
_KEPT: OrderedDict[Posterior, np.ndarray] = OrderedDict()
_MOST_KEPT = 256


class Posterior:
    """What the answers so far say of the threshold of one cell.

    ``prior`` are weights of s and c, shape (n_s, n_c), that add up to one; flat where it is None.
    ``given`` is the log likelihood of answers that are known besides, (n_m, n_s, n_c).
    What is reported may rest on another prior (``assume(..., report=True)``) than ``weights``,
    by which runs are chosen.
    """

    def __init__(
        self,
        lattice: Lattice,
        prior: np.ndarray | None = None,
        given: np.ndarray | None = None,
    ):
        self.lattice = lattice
        self._given = given
        self.counts: dict[int, tuple[int, int]] = {}
        self._told: list[tuple[int, int, int]] = []
        n_m, n_s = len(lattice.m), len(lattice.s)
        flat = np.full((n_s, len(CHANCES)), 1 / (n_s * len(CHANCES)))
        self._prior = self._reported = flat if prior is None else prior
        self._alike: np.ndarray | None = None
        # A node stands for an interval as wide as a step, so the CDF is piecewise linear.
        self._edges = lattice.m[0] + lattice.step * (np.arange(n_m + 1) - 0.5)
        self._cdf = np.linspace(0.0, 1.0, n_m + 1)
        self._cautious = [self._cdf]
        self._widths = self._prior.sum(1)
        # log of the answers' probability: over the prior, and at each s and c over m alone.
        self.log_evidence, self.log_evidences = 0.0, np.zeros_like(flat)

    def add(self, answers: Mapping[int, tuple[int, int]]) -> None:
        """Take in answers: of each candidate how many times the event happened, and did not."""
        log = self._log_likelihoods()
        for candidate in sorted(answers):
            n_true, n_false = answers[candidate]
            before = self.counts.get(candidate, (0, 0))
            self.counts[candidate] = (before[0] + n_true, before[1] + n_false)
            self._told.append((candidate, n_true, n_false))
            log += self.lattice.log_likelihood(candidate, n_true, n_false)
        self._update()

    def assume(
        self, prior: np.ndarray, alike: np.ndarray | None = None, *, report: bool = False
    ) -> None:
        """Take another prior of s and c in place of the present one; or only for the report.

        ``alike`` is one that is to be reckoned with too: an interval holds under it as well.
        """
        self._reported, self._alike = prior, alike
        if not report:
            self._prior = prior
        self._update()

    def _update(self) -> None:
        log = self._log_likelihoods()
        top = log.max()
        likelihoods = np.exp(log - top)
        over_m = likelihoods.mean(0)
        self.log_evidences = top + np.log(np.maximum(over_m, 1e-300))
        self.log_evidence = float(top + np.log(np.sum(over_m * self._reported)))
        of_ms = _joint(likelihoods, self._reported)
        self._cdf = _cdf(of_ms.sum(1))
        self._widths = of_ms.sum(0)
        alike = () if self._alike is None else (_joint(likelihoods, self._alike),)
        self._cautious = [self._cdf, *(_cdf(_among_widest(x)) for x in (of_ms, *alike))]

    def _log_likelihoods(self) -> np.ndarray:
        """Of all answers, (n_m, n_s, n_c); summed in the order they came, kept or anew."""
        log = _KEPT.pop(self, None)
        if log is None:
            log = np.zeros((len(self.lattice.m), len(self.lattice.s), len(CHANCES)))
            log += 0.0 if self._given is None else self._given
            for told in self._told:
                log += self.lattice.log_likelihood(*told)
        _KEPT[self] = log
        while len(_KEPT) > _MOST_KEPT:
            _KEPT.popitem(last=False)
        return log

    def forget(self) -> None:
        """No more will come: keep nothing that can be computed anew."""
        _KEPT.pop(self, None)

    def weights(self) -> np.ndarray:
        """The posterior over the lattice, shape (n_m, n_s, n_c)."""
        log = self._log_likelihoods()
        weights = np.exp(log - log.max()) * self._prior
        weights /= weights.sum()
        return np.asarray(weights)

    def quantiles(self, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantiles of m, as coordinates."""
        found: np.ndarray = np.interp(levels, self._cdf, self._edges)
        return found

    def cautious_interval(self, confidence: float) -> tuple[float, float]:
        """An interval of m that holds also where the transition is wider than it seems.

        The widest, at either end, of the posterior's central interval, the one that it has among
        the widest half of s, and the one under the prior ``alike``.  A search that stops as soon as
        an interval is narrow stops where s looks narrow by luck; that luck is what the other two
        do without.
        """
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        ends = [np.interp(tails, cdf, self._edges) for cdf in self._cautious]
        return float(min(low for low, _ in ends)), float(max(high for _, high in ends))

    def mass_below(self, u: float) -> float:
        """Probability that m is at most ``u``."""
        return float(np.interp(u, self._edges, self._cdf))

    def width(self) -> float:
        """Median of s: the node at which half of its mass is reached."""
        at = int(np.searchsorted(np.cumsum(self._widths), 0.5))
        return float(self.lattice.s[min(at, len(self.lattice.s) - 1)])


def _joint(likelihoods: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The posterior of m and s, (n_m, n_s), c summed out."""
    of_ms = np.einsum("msc,sc->ms", likelihoods, prior)
    return np.asarray(of_ms / of_ms.sum())


def _among_widest(of_ms: np.ndarray) -> np.ndarray:
    """Masses of m among the half that has the widest s: of the node at the median its share."""
    widths = of_ms.sum(0)
    above = np.clip(np.cumsum(widths) - 0.5, 0.0, widths)
    share = np.divide(above, widths, out=np.zeros_like(above), where=widths > 0)
    return np.asarray(of_ms @ share)


def _cdf(masses: np.ndarray) -> np.ndarray:
    cumulative = np.concatenate([[0.0], np.cumsum(masses)])
    return np.asarray(cumulative / cumulative[-1])
