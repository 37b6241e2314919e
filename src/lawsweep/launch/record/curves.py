"""What runs report on their way: held by the driver until it is written, and the latest of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from lawsweep.core.errors import StoreError
from lawsweep.core.outcome import CurvePoint, Outcome, Point, Told
from lawsweep.grid.plan import Plan


class Curves:
    """The points of one launch, on their way to the table of curves.

    They are told by the loop's thread, or from within a run that this process executes, and
    written by whoever calls ``flush``: the committer before the rows, and the launch's heart.
    """

    def __init__(self, plan: Plan, write: Callable[[Sequence[CurvePoint]], Any]):
        self._plan, self._write = plan, write
        self._held: list[CurvePoint] = []
        self._under_way: dict[int, Told] = {}  # by run: who told last, and its latest
        self._writing = threading.Lock()

    def take(self, told: Told) -> None:
        """Take what a run that is under way told."""
        self._hold(told, told.points)
        self._under_way.pop(told.index, None)  # so that who told last comes last
        self._under_way[told.index] = told._replace(points=())

    def ended(self, outcome: Outcome) -> Outcome:
        """Take what an outcome brings; it is returned without.

        Of a run whose worker was lost the latest is its last point, and its row names the curve.
        """
        before = self._under_way.pop(outcome.index, None)
        if outcome.curve is not None:
            self._hold(outcome.curve, outcome.curve.points)
            return outcome._replace(curve=None)
        if before is None or before.attempt != outcome.attempt:
            return outcome
        self._hold(before, () if before.latest is None else (before.latest,))
        return outcome._replace(started_at=before.started_at)

    def again(self, outcome: Outcome) -> None:
        """This outcome is no row, its run is tried again: what it reported stays."""
        self._under_way.pop(outcome.index, None)
        if outcome.curve is not None:
            self._hold(outcome.curve, outcome.curve.points)

    def lost(self, indices: Sequence[int]) -> None:
        """These runs are tried again: what they told last is where they were."""
        for index in indices:
            before = self._under_way.pop(index, None)
            if before is not None and before.latest is not None:
                self._hold(before, (before.latest,))

    def _hold(self, told: Told, points: Sequence[Point]) -> None:
        run_id = self._plan.run_ids[told.index]
        at = datetime.fromtimestamp(told.started_at, UTC)
        self._held += [CurvePoint(run_id, told.attempt, at, *point) for point in points]

    @property
    def n_held(self) -> int:
        """Points that are not written."""
        return len(self._held)

    def latest(self, most: int) -> list[dict[str, Any]]:
        """Where runs are that have told: those that told last, newest first, ``most`` of them."""
        told = [t for t in list(self._under_way.values()) if t.latest is not None]
        return [
            {
                "run_id": self._plan.run_ids[t.index],
                "attempt": t.attempt,
                "step": t.latest[0],
                "metrics": dict(t.latest[1]),
            }
            for t in told[::-1][:most]
            if t.latest is not None
        ]

    def flush(self) -> None:
        """Write what is held.  On StoreError it is kept, for another try."""
        with self._writing:
            points = list(self._held)
            if points:
                self._write(points)
                del self._held[: len(points)]

    def try_flush(self) -> None:
        """Write what is held, where that can be done now."""
        with suppress(StoreError):
            self.flush()
