"""A search for thresholds over a plan: which of its runs are wanted next, cell by cell.

The plan holds every candidate of the axis with every seed; the cells are its other axes.  Which
runs are wanted follows from the answers that are there (``analysis.laws.threshold``), so a search
may be killed, run again, run twice at once, and ends with the same thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lawsweep.analysis.laws.threshold import CellSearch, Run, Threshold
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import Plan
from lawsweep.grid.search_spec import SearchSpec
from lawsweep.sampling.cells import find_cells
from lawsweep.sampling.event import Event


class Search:
    """Cells, answers and what to run next; ``known`` are rows that are there already.

    ``known`` maps places in the plan to (status, metrics).  ``again`` are runs without an answer
    that are run whether the search asks for them or not: failed ones, tried once more.  Raises a
    LawsweepError for an axis or an event that does not fit the plan.
    """

    def __init__(
        self,
        plan: Plan,
        spec: SearchSpec,
        known: Mapping[int, tuple[str, Mapping[str, Any]]] | None = None,
        again: Iterable[int] = (),
    ):
        self.plan, self.spec = plan, spec
        self.event = Event(plan, spec)
        self.cells = find_cells(plan, spec.axis)
        n_seeds = len(plan.seeds)
        self.searches = [CellSearch(cell.values, n_seeds, spec) for cell in self.cells]
        self._place = {
            point: (i, k)
            for i, cell in enumerate(self.cells)
            for k, point in enumerate(cell.points)
        }
        self._answers: list[dict[Run, bool | None]] = [{} for _ in self.cells]
        for run, (status, metrics) in (known or {}).items():
            i, at = self._locate(run)
            self._answers[i][at] = self.event.answer(run, status, metrics)
        self._pending: list[set[int]] = [set() for _ in self.cells]
        # Runs under way for ``again`` alone, and those of them that ended.  One that the search
        # comes to ask for is its own from then on.
        self._again, self._ended_again = set(again), set[int]()
        # Of each cell, and their sums: an outcome changes one cell, and there may be thousands.
        self._n_asked, self._n_expected = [0] * len(self.cells), [0] * len(self.cells)
        self.n_asked = self.n_expected = self._n_pending = 0
        for i in range(len(self.cells)):
            self._advance(i)

    def _locate(self, run: int) -> tuple[int, Run]:
        i, candidate = self._place[run // len(self.plan.seeds)]
        return i, (candidate, run % len(self.plan.seeds))

    def _run(self, i: int, at: Run) -> int:
        return self.cells[i].points[at[0]] * len(self.plan.seeds) + at[1]

    def _advance(self, i: int) -> list[int]:
        """Go as far as the answers of a cell reach; the runs that this adds to the wanted ones."""
        search, before = self.searches[i], self._pending[i]
        pending = {self._run(i, at) for at in search.advance(self._answers[i])}
        asked = [self._run(i, at) for at in search.asked[self._n_asked[i] :]]
        under_way = self._again.intersection(asked)
        self._again -= under_way
        self._ended_again.difference_update(asked)
        n_expected = len(search.asked) + max(0, len(search.outlook()) - len(pending))
        n_expected = min(n_expected, search.most)
        self.n_asked += len(asked)
        self.n_expected += n_expected - self._n_expected[i]
        self._n_pending += len(pending) - len(before)
        self._n_asked[i], self._n_expected[i] = len(search.asked), n_expected
        self._pending[i] = pending
        return sorted(pending - before - under_way)

    def wanted(self) -> list[int]:
        """Runs wanted now that have no row, in plan order."""
        return sorted(self._again.union(*self._pending))

    def next(self, outcome: Outcome) -> list[int]:
        """Take in a run that ended; the runs wanted thereupon."""
        i, at = self._locate(outcome.index)
        if at in self._answers[i]:
            return []
        if outcome.index in self._again:
            self._again.remove(outcome.index)
            self._ended_again.add(outcome.index)
        self._answers[i][at] = self.event.answer(
            outcome.index, outcome.status, outcome.metrics or {}
        )
        return self._advance(i)

    @property
    def n_planned(self) -> int:
        """About how many runs will have been done in the end."""
        return self.n_expected + len(self._again) + len(self._ended_again)

    @property
    def n_done(self) -> int:
        """Runs asked for, or tried again, that have a row."""
        return self.n_asked - self._n_pending + len(self._ended_again)

    @property
    def n_wanted(self) -> int:
        """How many runs ``wanted`` gives."""
        return self._n_pending + len(self._again)

    @property
    def n_most(self) -> int:
        """Runs that the search asks for at most."""
        return sum(len(s.asked) if s.state != "open" else s.most for s in self.searches)

    def asked(self) -> list[int]:
        """Runs asked for so far, in plan order."""
        return sorted(self._run(i, at) for i, s in enumerate(self.searches) for at in s.asked)

    def outlook(self) -> list[int]:
        """Runs that are wanted and, as a guess, those that will be."""
        found = list(self.wanted())
        for i, search in enumerate(self.searches):
            found += [self._run(i, at) for at in search.outlook()[len(self._pending[i]) :]]
        return found

    def rounds(self) -> list[list[list[int]]]:
        """``outlook`` in the order of a search: of each cell the rounds, each after the one before.

        A failed run that is tried again waits for nothing: it is a cell of its own here.
        """
        found, k = [], self.spec.batch
        for i, search in enumerate(self.searches):
            present = sorted(self._pending[i])
            more = [self._run(i, at) for at in search.outlook()[len(present) :]]
            cell = [present, *(more[j : j + k] for j in range(0, len(more), k))]
            found.append([runs for runs in cell if runs])
        return [cell for cell in found if cell] + [[[run]] for run in sorted(self._again)]

    def results(self) -> list[Threshold]:
        """What is known of each cell."""
        return [s.result() for s in self.searches]
