"""Which runs may be computed at once, and when that is given up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lawsweep.grid.plan import Plan

if TYPE_CHECKING:
    from lawsweep.core.protocols import Executor
    from lawsweep.launch.costs.costs import CostModel

FAILURES_IN_A_ROW = 3  # of groups: then the fused form is at fault, and not a run in it
ONE_ACCIDENT_S = 5.0  # a node that goes takes many groups with it: that counts once


def kin_of(plan: Plan) -> np.ndarray:
    """A number for each point, (n_points,): points that share it may be fused.

    They agree in all params but those the experiment fuses over.
    """
    over = plan.experiment.fuse_over
    if not any(name in plan.params for name in over):
        return np.arange(plan.n_points)  # no two points are alike: only seeds fuse
    number = np.zeros(plan.n_points, dtype=np.int64)
    for name, column in plan.params.items():
        if name not in over:
            # Renumbered column by column, so that the product of the counts cannot overflow.
            codes = _codes(column)
            joined = number * (int(codes.max(initial=0)) + 1) + codes
            number = np.unique(joined, return_inverse=True)[1]
    return number


def _codes(column: np.ndarray) -> np.ndarray:
    """A number for each distinct value."""
    if column.dtype.kind != "O":
        return np.unique(column, return_inverse=True)[1]
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in column], dtype=np.int64)


class Most:
    """How many like runs go into one group.

    On a CPU ``executor.max_fused``, fewer where a slot's memory holds no more.  On a GPU as many
    as its memory holds; where that is not known, or a number was given, at most so many again.
    ``ceiling`` is lowered where groups fail; ``largest`` was cut so far.
    """

    def __init__(self, costs: CostModel, executor: Executor | None = None, given: int = 1):
        self._costs, self._executor = costs, executor
        self.given = given if executor is None else executor.max_fused
        self.by_memory = executor is not None and executor.fuse_by_memory
        self.ceiling = math.inf if self.by_memory else float(self.given)
        self.largest = 1

    @property
    def fuses(self) -> bool:
        """Whether groups are made at all."""
        return min(self.ceiling, self.given) > 1

    def on_card(self, kind: int) -> bool:
        """Whether runs of a kind (``Executor.needs_of``) are on a GPU."""
        return self._card_bytes(kind) is not None

    def of(self, run: int, kind: int, slot_memory_bytes: float) -> float:
        """How many runs like ``run`` may be a group, at least 1."""
        card = self._card_bytes(kind)
        if card is None:
            found = min(self.given, self._costs.most_fused(run, slot_memory_bytes))
        else:
            found = self._costs.most_fused_on_card(run, card)
            if not (self.by_memory and math.isfinite(found)):
                found = min(self.given, found)
        return max(1, min(found, self.ceiling))

    def halve(self) -> None:
        """A group ran out of memory."""
        self.ceiling = max(1, min(self.ceiling, self.largest) // 2)

    def _card_bytes(self, kind: int) -> float | None:
        return None if self._executor is None else self._executor.card_memory_bytes(kind)


class FusingPolicy:
    """Counts the groups that gave no answers, and says when to stop fusing.

    A failed group costs only time, its runs are done alone; but a fused form that always fails
    would cost it each time, and nobody would know.
    """

    def __init__(self, name: str):
        self._name = name
        self._n, self._in_a_row = 0, 0
        self._example, self._stopped = "", False
        self._last_loss = float("-inf")

    def worked(self) -> None:
        """A group gave its answers."""
        self._in_a_row = 0

    def failed(self, reason: str, lost_at: float | None = None) -> bool:
        """A group gave none (its worker was lost at ``lost_at``); whether to stop fusing."""
        self._n += 1
        self._example = self._example or (reason.splitlines() or ["?"])[0]
        if lost_at is not None and lost_at - self._last_loss < ONE_ACCIDENT_S:
            return self._stopped
        self._last_loss = self._last_loss if lost_at is None else lost_at
        self._in_a_row += 1
        self._stopped = self._stopped or self._in_a_row >= FAILURES_IN_A_ROW
        return self._stopped

    def notes(self) -> tuple[str, ...]:
        """What a person should be told."""
        if not self._n:
            return ()
        groups = "a group" if self._n == 1 else f"{self._n} groups"
        rest = "; fusing was given up" if self._stopped else ""
        return (
            f"the fused form of {self._name} failed for {groups}, whose runs were done one by "
            f"one{rest} (first: {self._example})",
        )
