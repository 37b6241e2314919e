"""What runs hold on GPUs: what their experiment states, corrected by what was met on each kind."""

from __future__ import annotations

from collections import Counter

import numpy as np

from lawsweep.grid.plan import Plan
from lawsweep.grid.stated_costs import stated_fused_bytes
from lawsweep.launch.costs.memory_model import MEMORY_MARGIN, MemoryModel

SMALL_BYTES = 2.0**20  # what small tensors take, whatever the run's size
# Rows of one kind of card, of runs of like size, that speak for it alone.  Of fewer the largest
# that any kind held does: kinds differ by what libraries take for workspace, and not by much.
ENOUGH = 4


class CardMemory:
    """Bytes of runs on a GPU, by point; ``kind`` is a card as its driver calls it.

    Without a kind it is what is enough on each of them: a task asks for a GPU, and not for which.
    ``stated_bytes``: of a run alone, (n_points,); ``bins`` groups points of like size.
    """

    def __init__(self, plan: Plan, stated_bytes: np.ndarray, bins: np.ndarray):
        self._made = (stated_bytes, bins)
        self._any = self._model()
        self._kinds: dict[str, MemoryModel] = {}
        self._met: Counter[tuple[str, int]] = Counter()
        self._fused_bytes, self._apart = stated_fused_bytes(plan)

    def _model(self) -> MemoryModel:
        return MemoryModel(*self._made, stated=True, base=SMALL_BYTES)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of card that were met."""
        return tuple(self._kinds)

    def learn(self, point: int, peak_bytes: float, kind: str | None = None) -> None:
        """A run of this point, alone, reached so much on a card of this kind."""
        self._any.learn(point, peak_bytes)
        if kind is not None:
            self._kinds.setdefault(kind, self._model()).learn(point, peak_bytes)
            self._met[kind, int(self._made[1][point])] += 1

    def bytes_of(self, points: np.ndarray, kind: str | None = None) -> np.ndarray:
        """Expected bytes of a run alone, (n_points,), with a margin."""
        found = self._any.bytes_of(points)
        if kind in self._kinds:
            bins = self._made[1][points].tolist()
            own = np.array([self._met[kind, b] >= ENOUGH for b in bins], dtype=bool)
            found = np.where(own, self._kinds[kind].bytes_of(points), found)
        return np.asarray(found)

    def fused_bytes_of(self, points: np.ndarray) -> np.ndarray:
        """Expected bytes of each run of a batch, with a margin; 0 where nothing is stated."""
        factors = self._any.factor(points)
        if self._apart:  # runs alone that hold less say nothing of a batch
            factors = np.maximum(factors, MEMORY_MARGIN)
        return np.asarray(factors * self._fused_bytes[points])

    def most_fused(self, point: int, room_bytes: float) -> float:
        """How many runs of a point fit into so much at once, at least 1; infinite where unknown."""
        each = float(self.fused_bytes_of(np.array([point]))[0])
        known = each > 0 and room_bytes < float("inf")
        return max(1.0, room_bytes // each) if known else float("inf")
