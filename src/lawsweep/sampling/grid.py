"""The whole grid: every run that the table lacks, or (to try again) every one that failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lawsweep.core.outcome import FAILURES, Outcome
from lawsweep.core.protocols import Done
from lawsweep.grid.plan import Plan
from lawsweep.sampling.sampler import BaseSampler


def to_do(plan: Plan, done: Mapping[str, Done], *, retry: bool = False) -> list[int]:
    """Runs the table lacks; with ``retry`` only those it has as failed, oom or timeout."""
    if retry:
        return [i for i, r in enumerate(plan.run_ids) if r in done and done[r].status in FAILURES]
    return [i for i, r in enumerate(plan.run_ids) if r not in done]


class Grid(BaseSampler):
    """Wants all runs from the start: those that are not ``known``, or those of ``again`` alone.

    There may be a million of them, so it counts, and keeps a byte of each.
    """

    whole = True

    def __init__(
        self,
        plan: Plan,
        options: Any = None,
        known: Collection[int] | None = None,
        again: Iterable[int] | None = None,
    ):
        super().__init__(plan, options)
        known = known or ()
        todo = [i for i in range(len(plan)) if i not in known] if again is None else sorted(again)
        self._todo, self._is_fresh = todo, True
        self._open = bytearray(len(plan))
        for run in todo:
            self._open[run] = 1
        self._n_before, self._n_told = len(known), 0

    @classmethod
    def over(cls, plan: Plan, done: Mapping[str, Done], *, retry: bool = False) -> Grid:
        """The grid of a plan of whose runs the table has ``done``, as far as these count."""
        todo = to_do(plan, done, retry=retry)
        made = cls(plan, None, None, todo)
        made._n_before = sum(r in done for r in plan.run_ids) - (len(todo) if retry else 0)
        return made

    @classmethod
    def headline(cls, options: Any) -> None:
        """All runs of the plan: nothing to say."""

    def ask(self) -> list[int]:
        """Every run that is wanted, the first time."""
        found, self._is_fresh = self.wanted() if self._is_fresh else [], False
        return found

    def tell(self, outcome: Outcome) -> None:
        """Count a run that ended, if it was wanted."""
        self._n_told += self._open[outcome.index]
        self._open[outcome.index] = 0

    def wanted(self) -> list[int]:
        """Runs that have not ended."""
        return [run for run in self._todo if self._open[run]]

    def asked(self) -> range:
        """All runs of the plan."""
        return range(len(self.plan))

    def reach(self) -> list[int]:
        """Those that were wanted from the start."""
        return self._todo

    @property
    def n_planned(self) -> int:
        """The length of the plan."""
        return len(self.plan)

    @property
    def n_done(self) -> int:
        """Runs that had a row, or have ended since."""
        return self._n_before + self._n_told

    @property
    def n_wanted(self) -> int:
        """Runs that have not ended."""
        return len(self._todo) - self._n_told
