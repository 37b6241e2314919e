"""What rows say of a threshold where one seed has answers at many places.

Rows of one seed share draws, and how much of the luck that is nobody knows beforehand.  A seed has
an edge of its own, t = m + s sqrt(r) e with e standard logistic, and about it its answers are
independent, with a transition s sqrt(1 - r) wide: r = 0 are independent answers, r = 1 a seed that
falls once and for all, so that its answers at many places say no more than where that is.  r has a
flat prior over ``SHARES`` and is summed out: rows that fall in step say that it is large, rows that
flicker along the transition that it is small.  (A random intercept, as mixed models of repeated
binary answers have it: Agresti, Categorical Data Analysis, 3rd ed., sec. 13.1.)
"""

from __future__ import annotations

import numpy as np

from lawsweep.analysis.laws.threshold.model import CHANCES, Lattice

SHARES = (0.2, 0.5, 1.0)  # of the variance, besides 0


def log_likelihoods(
    lattice: Lattice, seeds: np.ndarray, places: np.ndarray, happens: np.ndarray
) -> np.ndarray:
    """Of rows over the lattice, (n_m, n_s, n_c), r summed out.

    ``seeds`` (n,) are any labels, ``places`` (n,) positions of candidates, ``happens`` (n,) 1 or 0.
    """
    yes, no, times = _patterns(len(lattice.values), seeds, places, happens)
    apart = np.zeros((len(lattice.m), len(lattice.s), len(CHANCES)))
    for place in range(len(lattice.values)):
        n = float(times @ yes[:, place]), float(times @ no[:, place])
        if any(n):
            apart += lattice.log_likelihood(place, *n)
    if (yes.sum(1) + no.sum(1)).max(initial=0) < 2:
        return apart
    found = [apart]
    for share in SHARES:
        together = np.empty_like(apart)
        for k, s in enumerate(lattice.s):
            together[:, k] = _of_width(lattice, float(s), share, yes, no, times)
        found.append(together)
    top = np.max(found, axis=0)
    return np.asarray(top + np.log(np.mean(np.exp(np.array(found) - top), axis=0)))


def _patterns(
    n_places: int, seeds: np.ndarray, places: np.ndarray, happens: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of yes and of no, (n_patterns, n_places) each, and how many seeds have each."""
    _, label = np.unique(seeds, return_inverse=True)
    table = np.zeros((2, int(label.max(initial=-1)) + 1, n_places))
    np.add.at(table, (1 - happens.astype(int), label, places), 1)
    rows, times = np.unique(np.concatenate(table, axis=1), axis=0, return_counts=True)
    return rows[:, :n_places], rows[:, n_places:], times.astype(float)


def _of_width(
    lattice: Lattice, s: float, share: float, yes: np.ndarray, no: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """log P of all rows at one s: (n_m, n_c)."""
    step, n = lattice.step, len(lattice.m)
    pad = n // 2  # a seed's edge may lie beyond where m may be
    t = lattice.m[0] + step * np.arange(-pad, n + pad)
    # A seed whose answers are one step still has that within a node.
    within = max(s * np.sqrt(1 - share), step / 4)
    z = np.clip((lattice.u[:, None] - t) / within, -60.0, 60.0)
    below = 1.0 / (1.0 + np.exp(z))
    offsets = (np.arange(-(n + pad) + 1, n + pad) + 0.5) * step / (s * np.sqrt(share))
    cumulative = 1.0 / (1.0 + np.exp(-np.clip(offsets, -60.0, 60.0)))
    kernel = np.diff(cumulative, prepend=0.0)
    size = 1 << int(np.ceil(np.log2(len(t) + len(kernel))))
    spectrum = np.fft.rfft(kernel, size)
    found = np.empty((n, len(CHANCES)))
    for k, c in enumerate(CHANCES):
        log = yes @ np.log(c + (1 - 2 * c) * below) + no @ np.log(1 - c - (1 - 2 * c) * below)
        top = log.max(1, keepdims=True)
        of_t = np.fft.rfft(np.exp(log - top), size)
        mixed = np.fft.irfft(of_t * spectrum, size)[:, n + 2 * pad - 1 : 2 * n + 2 * pad - 1]
        # Rounding of the transform is all that is left far out.
        found[:, k] = times @ (np.log(np.maximum(mixed, 1e-15)) + top)
    return found
