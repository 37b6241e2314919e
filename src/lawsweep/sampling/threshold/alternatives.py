"""What else than one falling edge the answers of a cell may say: compared by Bayes' factor.

``rises``: the edge the other way round.  ``several_edges``: the event happens in a band, or
outside of one.  ``flat``: one probability, from 0.2 to 0.8, all along the axis.  A factor of
``EARLY`` ends a search: under the model of one edge it is ever passed with probability 1 / EARLY at
most (Ville's inequality, over the prior); ``LATE`` is asked of a search whose runs are spent.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from lawsweep.analysis.laws.threshold import CHANCES, Lattice, State

EARLY, LATE = 300.0, 20.0
DOUBT = 3.0  # at which a search looks all along the axis once more before it ends
FEWEST = 8  # answers before any is thought of
_N_EDGES, _N_BANDS = 64, 20  # nodes of m of one edge, and of each of two
_LEVELS = np.linspace(0.2, 0.8, 13)


def alternative(
    lattice: Lattice, counts: Mapping[int, tuple[int, int]], factor: float
) -> State | None:
    """The one that explains ``counts`` (yes, no) better than all else, by ``factor``; or None."""
    if sum(map(sum, counts.values())) < FEWEST or len(counts) < 2:
        return None
    told = np.array([counts[c] for c in sorted(counts)], dtype=float)
    u = lattice.u[sorted(counts)]
    span = lattice.u[-1] - lattice.u[0]
    m = np.linspace(lattice.u[0] - span / 2, lattice.u[-1] + span / 2, _N_EDGES)
    edge = _lied(_below(u, m, lattice.s))
    falls, rises = _log_evidence(edge, told), _log_evidence(1 - edge, told)
    # Of one edge the answers are as likely as of none better: nothing to look for.
    surprise = falls - _best(told)
    if -surprise < np.log(factor):
        return None
    inside = np.linspace(lattice.u[0], lattice.u[-1], _N_BANDS)
    pairs = list(itertools.combinations(range(_N_BANDS), 2))
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    below = _below(u, inside, lattice.s[lattice.s <= span / 8][::2])
    band = _lied(below[second] - below[first])
    several = np.logaddexp(_log_evidence(band, told), _log_evidence(1 - band, told)) - np.log(2)
    flat = _log_evidence(_LEVELS[:, None] * np.ones(len(u)), told)
    names: tuple[State, ...] = ("rises", "several_edges", "flat")
    scores = [rises, float(several), flat]
    best = int(np.argmax(scores))
    # Two edges, of which one may be at the end, explain all that one rising edge does.
    rivals = falls if names[best] == "rises" else max(falls, rises)
    return names[best] if scores[best] - rivals >= np.log(factor) else None


def _below(u: np.ndarray, m: np.ndarray, s: np.ndarray) -> np.ndarray:
    """1 / (1 + exp((u - m) / s)), shape (n_m, n_s, n_u)."""
    z = (u - m[:, None, None]) / s[:, None]
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(z, -60.0, 60.0))))


def _lied(share: np.ndarray) -> np.ndarray:
    """With each chance of an answer that says nothing: (n_c, *share.shape)."""
    c = CHANCES.reshape(-1, *[1] * share.ndim)
    return np.asarray(c + (1 - 2 * c) * share)


def _log_evidence(probabilities: np.ndarray, told: np.ndarray) -> float:
    """Log of the mean likelihood of (yes, no) over all hypotheses; ``probabilities`` (..., n_u)."""
    log = np.log(probabilities) @ told[:, 0] + np.log1p(-probabilities) @ told[:, 1]
    top = float(log.max())
    return top + float(np.log(np.mean(np.exp(log - top))))


def _best(told: np.ndarray) -> float:
    """Log likelihood of a probability of its own at each place: no model does better."""
    n = told.sum(1, keepdims=True)
    return float(np.sum(told * np.log(np.maximum(told, 1e-300) / n)))
