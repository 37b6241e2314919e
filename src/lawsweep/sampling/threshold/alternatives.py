"""What else than one falling edge the answers of a cell may say: compared by Bayes' factor.

``rises``: the edge the other way round.  ``several_edges``: the event happens in a band, or
outside of one.  ``flat``: one probability, from 0.2 to 0.8, all along the axis.  A factor of
``EARLY`` ends a search: under the model of one edge it is ever passed with probability 1 / EARLY at
most (Ville's inequality, over the prior); ``LATE`` is asked of a search whose runs are spent.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lawsweep.analysis.laws.threshold.model import CHANCES, Lattice, State, lattice_of

EARLY, LATE = 300.0, 20.0
DOUBT = 3.0  # at which a search looks all along the axis once more before it ends
FEWEST = 8  # answers before any is thought of
_N_EDGES, _N_BANDS = 64, 20  # nodes of m of one edge, and of each of two
_LEVELS = np.linspace(0.2, 0.8, 13)


class Rival(NamedTuple):
    """What explains the answers best, and how much better than one falling edge does."""

    state: State | None
    log_factor: float

    def at(self, factor: float) -> State | None:
        """The state, where it is better by ``factor``."""
        return self.state if self.log_factor >= math.log(factor) else None


NONE = Rival(None, -math.inf)


def find_rival(lattice: Lattice, counts: Mapping[int, tuple[int, int]]) -> Rival:
    """The best of what ``counts`` (yes, no) may say else; ``NONE`` where it is no doubt at all."""
    if len(counts) < 2 or sum(map(sum, counts.values())) < FEWEST:
        return NONE
    visited = sorted(counts)
    told = np.array([counts[c] for c in visited], dtype=float)
    logs = [_log_probabilities(lattice.key, c) for c in visited]
    edge = np.stack([x[0] for x in logs]), np.stack([x[1] for x in logs])
    falls = _log_evidence(told, *edge)
    # Of one edge the answers are as likely as of none better: nothing to look for.
    if _best(told) - falls < np.log(DOUBT):
        return NONE
    rises = _log_evidence(told, *edge[::-1])
    band = np.stack([x[2] for x in logs]), np.stack([x[3] for x in logs])
    inside, outside = _log_evidence(told, *band), _log_evidence(told, *band[::-1])
    several = float(np.logaddexp(inside, outside) - np.log(2))
    levels = np.broadcast_to(np.log(_LEVELS), (len(visited), len(_LEVELS)))
    flat = _log_evidence(told, levels, levels[:, ::-1])
    names: tuple[State, ...] = ("rises", "several_edges", "flat")
    scores = [rises, several, flat]
    best = int(np.argmax(scores))
    # Two edges, of which one may be at the end, explain all that one rising edge does.
    rivals = falls if names[best] == "rises" else max(falls, rises)
    return Rival(names[best], scores[best] - rivals)


@functools.lru_cache(maxsize=512)  # of some 0.1 MB each
def _log_probabilities(key: tuple[float, ...], candidate: int) -> tuple[np.ndarray, ...]:
    """At one candidate, log P(yes) and log P(no) over all edges, then over all bands."""
    lattice = lattice_of(key)
    span, u = lattice.u[-1] - lattice.u[0], lattice.u[candidate]
    m = np.linspace(lattice.u[0] - span / 2, lattice.u[-1] + span / 2, _N_EDGES)
    inside = np.linspace(lattice.u[0], lattice.u[-1], _N_BANDS)
    pairs = np.array(list(itertools.combinations(range(_N_BANDS), 2)))
    below = _below(u, inside, lattice.s[lattice.s <= span / 8][::2])
    found = []
    for share in (_below(u, m, lattice.s[::2]), below[pairs[:, 1]] - below[pairs[:, 0]]):
        c = CHANCES[:, None]
        lied = c + (1 - 2 * c) * share.ravel()
        found += [np.log(lied).ravel(), np.log1p(-lied).ravel()]
    return tuple(found)


def _below(u: float, m: np.ndarray, s: np.ndarray) -> np.ndarray:
    """1 / (1 + exp((u - m) / s)), shape (n_m, n_s)."""
    z = (u - m[:, None]) / s
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(z, -60.0, 60.0))))


def _log_evidence(told: np.ndarray, yes: np.ndarray, no: np.ndarray) -> float:
    """Log of the mean likelihood of ``told`` (n_u, 2) over hypotheses: logs of P, (n_u, n)."""
    log = told[:, 0] @ yes + told[:, 1] @ no
    top = float(log.max())
    return top + float(np.log(np.mean(np.exp(log - top))))


def _best(told: np.ndarray) -> float:
    """Log likelihood of a probability of its own at each place: no model does better."""
    n = told.sum(1, keepdims=True)
    return float(np.sum(told * np.log(np.maximum(told, 1e-300) / n)))
