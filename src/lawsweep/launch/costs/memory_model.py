"""Expected peak memory of a run: what its experiment states, corrected by what was met."""

from __future__ import annotations

import numpy as np

# What a worker holds before it computes: Python, torch and its threads.
BASE_MEMORY_BYTES = 3.5e8
# Allocators keep more than they use, and not always the same: on the λ_min grid of ntk_width the
# prediction without it was up to 12 % under a worker's peak.
MEMORY_MARGIN = 1.15
# A run that ran out needs more than it had; how much more nobody knows, so it is tried like this.
GROWTH = 2.0


class MemoryModel:
    """Peak bytes of a worker, by point.

    ``stated`` are the bytes a run takes by its experiment's cost function, (n_points,); ``bins``
    groups points of like size.  The largest ratio of measured to stated speaks for its bin, since
    too little is worse than too much.  Only what was measured does: that a run ran out says that
    more is needed and not how much, and taken for a ratio it would have its whole bin wait for
    memory that nobody uses.  So it is a floor for the seeds of its own point.  ``base``: what a
    worker holds before it computes.
    """

    def __init__(
        self, run_bytes: np.ndarray, bins: np.ndarray, *, stated: bool,
        base: float = BASE_MEMORY_BYTES,
    ):  # fmt: skip
        self._run_bytes, self._bins, self.stated, self._base = run_bytes, bins, stated, base
        self._ratios: dict[int, float] = {}
        self._points: dict[int, float] = {}  # bytes of points that ran out

    def learn(self, point: int, peak_bytes: float) -> None:
        """A run of this point reached so much."""
        b = int(self._bins[point])
        ratio = peak_bytes / max(1.0, self._base + float(self._run_bytes[point]))
        if ratio > self._ratios.get(b, 0.0):
            self._ratios[b] = ratio
        if point in self._points:  # it is known now, and not only that it is much
            self._points[point] = MEMORY_MARGIN * peak_bytes

    def ran_out(self, point: int, had_bytes: float) -> None:
        """The worker of a run of this point, alone in it, was killed for memory at so much."""
        if 0 < had_bytes < float("inf"):
            self._at_least(point, GROWTH * had_bytes)

    def reached(self, point: int, peak_bytes: float) -> None:
        """A run of this point was refused memory when it held so much."""
        self._at_least(point, MEMORY_MARGIN * peak_bytes)

    def _at_least(self, point: int, n_bytes: float) -> None:
        self._points[point] = max(self._points.get(point, 0.0), n_bytes)

    def bytes_of(self, points: np.ndarray, n_fused: int = 1) -> np.ndarray:
        """Expected bytes for each point, ``n_fused`` runs of it at once."""
        prior = self._base + n_fused * self._run_bytes[points]
        found = np.asarray(self.factor(points) * prior)
        if self._points:
            ran_out = np.array([self._points.get(int(p), 0.0) for p in points])
            found = np.maximum(found, ran_out)
        return found

    def to_reserve(self, points: np.ndarray) -> float:
        """What a task of these points should ask for; 0 where there is no reason to ask."""
        if self.stated:
            return float(self.bytes_of(points).max(initial=0.0))
        return max((self._points.get(int(p), 0.0) for p in points), default=0.0)

    def factor(self, points: np.ndarray) -> np.ndarray:
        """Expected over prior: the margin, times the largest ratio met at like sizes."""
        if not self._ratios or not len(points):
            return np.full(len(points), MEMORY_MARGIN)
        bins, inverse = np.unique(self._bins[points], return_inverse=True)
        seen = np.array(sorted(self._ratios))
        near = seen[np.abs(seen[None, :] - bins[:, None]).argmin(1)]
        ratios = np.array([self._ratios[int(b)] for b in near])
        return np.asarray(MEMORY_MARGIN * ratios[inverse])
