"""What the cells of a search tell of one another: how wide transitions are, how often answers lie.

Hierarchical Bayes on a grid: log s of a cell is normal about what is common (its mean and its
spread over cells are unknown), c one of a few chances, mostly the common one.  The prior of a cell
is what the *other* cells leave of these, so that no answer counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lawsweep.analysis.laws.threshold import CHANCES, Lattice

N_MEANS = 23
SPREADS = (0.2, 0.5, 1.0, 2.0)  # of log s over cells
SHARE = 0.9  # of the cells, those whose c is the common one; the flat prior is possible too


def pooled_priors(
    lattices: Sequence[Lattice], log_evidences: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The prior of s and c of each cell, (n_s, n_c), from the log evidences of all others.

    Widths are compared as the axis has them: relative where it is logarithmic, else as shares of
    the cell's span.
    """
    logs = [np.log(lattice.s / _unit(lattice)) for lattice in lattices]
    low, high = min(v[0] for v in logs), max(v[-1] for v in logs)
    means = np.linspace(low, high, N_MEANS)
    chances = _chances()
    kinds: dict[bytes, np.ndarray] = {}
    scores = []
    for log_s, log_evidence in zip(logs, log_evidences, strict=True):
        key = log_s.tobytes()
        if key not in kinds:
            kinds[key] = _hypotheses(log_s, means, chances)
        top = float(log_evidence.max())
        mean = kinds[key] @ np.exp(log_evidence - top).ravel()
        scores.append(np.log(np.maximum(mean, 1e-300)) + top)
    total = np.sum(scores, axis=0)
    found = []
    for log_s, score in zip(logs, scores, strict=True):
        others = total - score
        posterior = np.exp(others - others.max())
        prior = (posterior / posterior.sum()) @ kinds[log_s.tobytes()]
        found.append(prior.reshape(len(log_s), len(CHANCES)))
    return found


def _unit(lattice: Lattice) -> float:
    return 1.0 if lattice.log else float(lattice.u[-1] - lattice.u[0])


def _chances() -> np.ndarray:
    n = len(CHANCES)
    mostly = np.full((n, n), (1 - SHARE) / (n - 1))
    np.fill_diagonal(mostly, SHARE)
    return np.vstack([np.full(n, 1 / n), mostly])


def _hypotheses(log_s: np.ndarray, means: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """The prior of s and c under each hypothesis, (n_hypotheses, n_s n_c)."""
    z = (log_s - means[:, None, None]) / np.array(SPREADS)[:, None]
    log = -0.5 * z**2
    widths = np.exp(log - log.max(-1, keepdims=True))
    widths /= widths.sum(-1, keepdims=True)
    widths = widths.reshape(-1, len(log_s))
    joint = widths[:, None, :, None] * chances[None, :, None, :]
    return np.asarray(joint.reshape(len(widths) * len(chances), -1))
