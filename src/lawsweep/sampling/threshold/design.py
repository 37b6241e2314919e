"""Which candidates to run next: those whose answers are expected to tell most of the threshold.

The rule is psi-marginal (Kontsevich & Tyler 1999, Vision Res. 39, 2729, with what is of no interest
summed out, Prins 2013, J. Vision 13(7), 3): the candidate at which the expected entropy of the
posterior of m, over s and c, is least.  Of a batch the second is chosen given the first, over both
answers that it may bring, and so on: four copies of one place, or four places, as they tell more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lawsweep.analysis.laws.threshold.model import CHANCES, Lattice, Posterior

# A choice is made on this many nodes of m and candidates at most: it takes a few milliseconds.
N_NODES, N_CANDIDATES = 64, 40
N_BRANCHES = 8  # joint answers to what is chosen already that are followed, the likeliest
N_GREEDY = 16  # of a batch; a larger one repeats them in turn
_TAIL = 1e-4  # mass of m at either end that a choice leaves out
_NUISANCE = 1e-2  # mass of s and c together that it leaves out
_EQUAL = 1e-9  # nats within which two candidates tell as much: far above rounding


class Choice(NamedTuple):
    """Candidates, best first, and how far the posterior of m has shrunk after each of them.

    ``shrunk`` are ratios exp(H_j - H_0), H_j the entropy that is expected after j answers: of a
    normal posterior the ratio of its standard deviations.  Empty where nothing is expected.
    """

    candidates: list[int]
    shrunk: list[float]


# Choices under the flat prior: cells of the same candidates often agree there.
_EARLY: dict[tuple[object, ...], Choice] = {}
_MOST_EARLY = 1024


def choose_early(posterior: Posterior, free: np.ndarray, k: int) -> Choice:
    """``choose`` where the prior is flat still, kept by what is known of the cell."""
    counts = tuple(sorted(posterior.counts.items()))
    key = posterior.lattice.key, counts, tuple(free.tolist()), k
    found = _EARLY.get(key)
    if found is None:
        if len(_EARLY) >= _MOST_EARLY:
            _EARLY.clear()
        found = _EARLY[key] = choose(posterior.lattice, posterior.weights(), free, k)
    return found


def choose(lattice: Lattice, weights: np.ndarray, free: np.ndarray, k: int) -> Choice:
    """``k`` candidates; ``free`` says how many runs each has left, (n_candidates,).

    ``weights`` are the posterior, (n_m, n_s, n_c).  Fewer where no runs are left.
    """
    left = free.copy()
    m, nuisance, branches = _window(lattice, weights)
    places = _thinned(lattice, m, np.flatnonzero(left))
    if not len(places) or k < 1:
        return Choice([], [])
    happens = _probabilities(lattice, m, nuisance, places)
    found: list[int] = []
    entropies: list[float] = []
    before = float(_entropies(branches.sum(1)[:, None, None])[0])
    branches = branches[:, None, :]
    while len(found) < min(k, N_GREEDY):
        told = _expected_entropy(branches, happens)
        told[left[places] == 0] = np.inf
        if not np.isfinite(told.min()):
            break
        at = int(np.flatnonzero(told <= told.min() + _EQUAL)[0])
        found.append(int(places[at]))
        entropies.append(float(told[at] / branches.sum()))
        left[places[at]] -= 1
        yes = branches * happens[:, None, :, at]
        branches = np.concatenate([yes, branches - yes], axis=1)
        if branches.shape[1] > N_BRANCHES:
            masses = branches.sum((0, 2))
            branches = branches[:, np.argsort(-np.round(masses, 12), kind="stable")[:N_BRANCHES]]
    shrunk = np.exp(np.minimum(np.array(entropies) - before, 0.0)).tolist()
    repeated = _repeated(found, left, k)
    return Choice(repeated, shrunk + shrunk[-1:] * (len(repeated) - len(shrunk)))


def spread(left: np.ndarray, k: int, start: int) -> Choice:
    """``k`` of the candidates that have runs left, all along the axis, others at each ``start``."""
    places = np.flatnonzero(left)
    if not len(places):
        return Choice([], [])
    golden = (math.sqrt(5) - 1) / 2  # multiples of it modulo 1 fill the axis evenly
    shares = (golden * (start + np.arange(k))) % 1.0
    found = places[(shares * len(places)).astype(int)].tolist()
    return Choice([c for i, c in enumerate(found) if found[:i].count(c) < left[c]], [])


def _repeated(found: list[int], left: np.ndarray, k: int) -> list[int]:
    """``found`` again and again up to ``k``, as far as there are runs left."""
    chosen = list(found)
    while len(chosen) < k and found:
        again: list[int] = []
        for candidate in dict.fromkeys(found):
            if left[candidate] and len(chosen) + len(again) < k:
                left[candidate] -= 1
                again.append(candidate)
        if not again:
            break
        chosen += again
    return chosen


def _window(lattice: Lattice, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the mass is: m (n,), positions of s and c (k,), weights (n, k).

    At most ``N_NODES`` nodes of m, and the likeliest s and c that hold all but ``_NUISANCE``.
    """
    flat = weights.reshape(len(lattice.m), -1)
    cumulative = np.cumsum(flat.sum(1))
    first = int(np.searchsorted(cumulative, _TAIL))
    last = int(np.searchsorted(cumulative, 1 - _TAIL))
    last = min(last, len(lattice.m) - 1)
    per = -(-(last - first + 1) // N_NODES)
    starts = np.arange(first, last + 1, per)
    of = np.round(flat.sum(0), 12)
    order = np.argsort(-of, kind="stable")
    nuisance = np.sort(order[: int(np.searchsorted(np.cumsum(of[order]), 1 - _NUISANCE)) + 1])
    merged = np.add.reduceat(flat[: last + 1, nuisance], starts, axis=0)
    middles = lattice.m[starts] + lattice.step * (per - 1) / 2
    return middles, nuisance, merged / merged.sum()


def _thinned(lattice: Lattice, m: np.ndarray, open_: np.ndarray) -> np.ndarray:
    """At most ``N_CANDIDATES`` of the candidates that have runs left, about where m may be."""
    u = lattice.u[open_]
    reach = max(m[-1] - m[0], 4 * lattice.step) / 2
    near = open_[(u >= m[0] - reach) & (u <= m[-1] + reach)]
    if not len(near) and len(open_):
        near = open_[[int(np.argmin(abs(u - (m[0] + m[-1]) / 2)))]]
    if len(near) > N_CANDIDATES:
        near = near[np.linspace(0, len(near) - 1, N_CANDIDATES).round().astype(int)]
    return np.asarray(near)


def _probabilities(
    lattice: Lattice, m: np.ndarray, nuisance: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """P(event) at each m, each of s and c, for each place: (n, k, n_places)."""
    of_s, of_c = np.divmod(nuisance, len(CHANCES))
    widths, which = np.unique(of_s, return_inverse=True)
    z = (lattice.u[places] - m[:, None, None]) / lattice.s[widths][:, None]
    below = 1.0 / (1.0 + np.exp(np.clip(z, -60.0, 60.0)))
    chances = CHANCES[of_c][:, None]
    return np.ascontiguousarray(chances + (1 - 2 * chances) * below[:, which])


def _expected_entropy(branches: np.ndarray, happens: np.ndarray) -> np.ndarray:
    """Of m after one more answer at each place, expected over it and the branches: (n_places,)."""
    yes = np.matmul(branches, happens)  # (n, n_branches, n_places)
    no = np.maximum(branches.sum(2)[:, :, None] - yes, 0.0)
    return np.asarray(_entropies(yes) + _entropies(no))


def _entropies(masses: np.ndarray) -> np.ndarray:
    """sum_b (S_b log S_b - sum_m A_mb log A_mb): of masses that add up to S_b, weighed by it."""
    tiny = 1e-300
    total = masses.sum(0)
    found = np.sum(total * np.log(total + tiny), axis=0) - np.einsum(
        "mbx,mbx->x", masses, np.log(masses + tiny)
    )
    return np.asarray(found)
