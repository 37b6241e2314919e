"""What the cells of a search tell of one another: how wide transitions are, how often answers lie.

Hierarchical Bayes on a grid: log s of a cell is normal about what is common (its mean and its
spread over cells are unknown), c one of a few chances, mostly the common one.  The prior of a cell
is what the *other* cells leave of these, so that no answer counts twice.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lawsweep.analysis.laws.threshold.model import CHANCES, Lattice

N_MEANS = 31
# Of log s over cells.  The least is that of cells which are alike: half a step of the lattice's s,
# so that a mean between two nodes is as good as one at a node.
SPREADS = (0.15, 0.3, 0.6, 1.2, 2.4)
SHARE = 0.9  # of the cells, those whose c is the common one; the flat prior is possible too
PLAUSIBLE = 20.0  # odds that must speak against cells that are alike before that is left aside


class Pooled(NamedTuple):
    """Priors of s and c of one cell, (n_s, n_c), from what the others say.

    ``alike`` is the one under which all cells are about as wide; None where the answers of the
    others speak against it, by ``PLAUSIBLE``.
    """

    prior: np.ndarray
    alike: np.ndarray | None


def pooled_priors(lattices: Sequence[Lattice], log_evidences: Sequence[np.ndarray]) -> list[Pooled]:
    """The priors of each cell from the log evidences, (n_s, n_c) each, of all others.

    Widths are compared as the axis has them: relative where it is logarithmic, else as shares of
    the cell's span.
    """
    logs = [np.log(lattice.s / _unit(lattice)) for lattice in lattices]
    low, high = min(v[0] for v in logs), max(v[-1] for v in logs)
    scores = []
    for log_s, log_evidence in zip(logs, log_evidences, strict=True):
        top = float(log_evidence.max())
        mean = _hypotheses(tuple(log_s.tolist()), low, high) @ np.exp(log_evidence - top).ravel()
        scores.append(np.log(np.maximum(mean, 1e-300)) + top)
    total = np.sum(scores, axis=0)
    found = []
    for log_s, score in zip(logs, scores, strict=True):
        others = (total - score).reshape(N_MEANS, len(SPREADS), -1)
        kinds = _hypotheses(tuple(log_s.tolist()), low, high)
        kinds = kinds.reshape(*others.shape, len(log_s), len(CHANCES))
        posterior = np.exp(others - others.max())
        of_spread = posterior.sum((0, 2))
        prior = np.tensordot(posterior / posterior.sum(), kinds, axes=3)
        alike = None
        if of_spread[0] * PLAUSIBLE >= of_spread.max():
            alike = np.tensordot(posterior[:, 0] / of_spread[0], kinds[:, 0], axes=2)
        found.append(Pooled(prior, alike))
    return found


def _unit(lattice: Lattice) -> float:
    return 1.0 if lattice.log else float(lattice.u[-1] - lattice.u[0])


def _chances() -> np.ndarray:
    n = len(CHANCES)
    mostly = np.full((n, n), (1 - SHARE) / (n - 1))
    np.fill_diagonal(mostly, SHARE)
    return np.vstack([np.full(n, 1 / n), mostly])


@functools.lru_cache(maxsize=8)  # of at most 0.3 MB each; lattices are often alike
def _hypotheses(widths: tuple[float, ...], low: float, high: float) -> np.ndarray:
    """The prior of s and c under each hypothesis, (n_hypotheses, n_s n_c).

    Hypotheses are a mean, a spread and the chances, the last fastest.
    """
    log_s, means, chances = np.array(widths), np.linspace(low, high, N_MEANS), _chances()
    z = (log_s - means[:, None, None]) / np.array(SPREADS)[:, None]
    log = -0.5 * z**2
    of_s = np.exp(log - log.max(-1, keepdims=True))
    of_s /= of_s.sum(-1, keepdims=True)
    of_s = of_s.reshape(-1, len(log_s))
    joint = of_s[:, None, :, None] * chances[None, :, None, :]
    return np.asarray(joint.reshape(len(of_s) * len(chances), -1))
