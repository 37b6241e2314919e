"""A search for thresholds over a plan: which of its runs are wanted next, cell by cell.

The plan holds every candidate of the axis with every seed; the cells are its other axes.  Which
runs are wanted follows from the answers that are there (``cell_search``), so a search may be
killed, run again, run twice at once, and ends with the same thresholds.

Each cell makes a few runs of its own; when all have, the widths and lapses that they show together
become the prior of each, and from there on each goes its own way again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from lawsweep.analysis.laws.threshold.model import STATES, Threshold
from lawsweep.analysis.laws.threshold.pooling import pooled_priors
from lawsweep.core.errors import InvalidValueError, LawsweepError, UnknownNameError
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import Plan
from lawsweep.sampling.sampler import Chooser, Findings, Known
from lawsweep.sampling.threshold import findings
from lawsweep.sampling.threshold.cell_search import NO_EDGE, TOO_LARGE, Answer, CellSearch, Run
from lawsweep.sampling.threshold.cells import find_cells
from lawsweep.sampling.threshold.event import Event
from lawsweep.sampling.threshold.options import ThresholdOptions

# Statuses of a run that its size is to blame for: the same run would fail again.
TOO_LARGE_STATUSES = ("oom", "timeout", "infeasible")


class ThresholdSearch(Chooser):
    """Cells, answers and what to run next.

    Raises a LawsweepError for an axis or an event that does not fit the plan.
    """

    Options = ThresholdOptions

    def __init__(
        self,
        plan: Plan,
        options: ThresholdOptions,
        known: Known | None = None,
        again: Iterable[int] | None = None,
    ):
        self.event = Event(plan, options)
        self.cells = find_cells(plan, options.axis)
        n_seeds = len(plan.seeds)
        together = len(self.cells) > 1
        self.searches = [
            CellSearch(cell.values, n_seeds, options, pilot=together) for cell in self.cells
        ]
        # Cells that have not come as far as the next look at all of them; empty: none is taken.
        self._on_the_way = set(range(len(self.cells))) if together else set()
        self._place = {
            point: (i, k)
            for i, cell in enumerate(self.cells)
            for k, point in enumerate(cell.points)
        }
        self._answers: list[dict[Run, Answer]] = [{} for _ in self.cells]
        # Of each cell, and their sum: an outcome changes one cell, and there may be thousands.
        self._n_given, self._more = [0] * len(self.cells), [0] * len(self.cells)
        self._n_more = 0
        super().__init__(plan, options, known, again)

    @classmethod
    def metrics(cls, plan: Plan, options: ThresholdOptions) -> list[str]:
        """What the event reads, and whether a run converged."""
        names = {*Expression(options.event).names, "converged"}
        return [m.name for m in plan.experiment.metrics if m.name in names]

    @classmethod
    def check(cls, plan: Plan, options: ThresholdOptions) -> None:
        """The axis, the event and the names of the columns; no cell's search is begun."""
        findings.check(plan, options)

    @classmethod
    def inapplicable(
        cls, plan: Plan, options: ThresholdOptions, names: Collection[str]
    ) -> str | None:
        """Why the plan has nothing to search along."""
        if options.axis not in names:
            return None
        try:
            Event(plan, options)
        except UnknownNameError as error:
            return str(error) if set(Expression(options.event).names) <= set(names) else None
        except InvalidValueError:
            return None
        try:
            find_cells(plan, options.axis)
        except LawsweepError as error:
            return str(error)
        return None

    @classmethod
    def notes(cls, plan: Plan, options: ThresholdOptions) -> Iterator[str]:
        """Where runs of a cell must share their seeds."""
        if len(plan.seeds) < options.max_runs:
            yield (
                f"a cell of the search may take {options.max_runs} runs, and there are "
                f"{len(plan.seeds)} seeds: runs that share a seed share their draws, so an "
                f"interval may be too narrow. Give seeds={options.max_runs} or more."
            )

    @classmethod
    def columns(cls, plan: Plan, options: ThresholdOptions) -> tuple[str, ...]:
        """Columns of the table of thresholds."""
        return (*findings.cell_columns(plan, options.axis), *findings.COLUMNS)

    @classmethod
    def headline(cls, options: ThresholdOptions) -> str:
        """``search for n* of loss < 1``."""
        return f"search for {options.axis}* of {options.event}"

    def first(self) -> Iterator[int]:
        """The first round of each cell."""
        for i in range(len(self.cells)):
            yield from self._advance(i)

    def then(self, outcome: Outcome) -> list[int]:
        """The next round of the cell, once the present one has its answers."""
        i, at = self._locate(outcome.index)
        metrics = outcome.metrics or {}
        if outcome.status in TOO_LARGE_STATUSES:
            self._answers[i][at] = TOO_LARGE
        else:
            self._answers[i][at] = self.event.answer(outcome.index, outcome.status, metrics)
        return [*self._advance(i), *self._pool()]

    def _pool(self) -> Iterator[int]:
        """Once all cells have come as far as the next look: what all go on with, from all of them.

        Of cells that wait or have ended: which outcome came last changes nothing.
        """
        if self._on_the_way:
            return
        waiting = [i for i, search in enumerate(self.searches) if search.waiting]
        if not waiting:
            return
        telling = [s for s in self.searches if s.state not in NO_EDGE]
        priors = pooled_priors(
            [s.lattice for s in telling], [s.posterior.log_evidences for s in telling]
        )
        of = {id(search): prior for search, prior in zip(telling, priors, strict=True)}
        for i in waiting:
            self.searches[i].assume(*of[id(self.searches[i])])
        self._on_the_way = {i for i in waiting if self._goes_on(i)}
        for i in waiting:
            yield from self._advance(i)
        yield from self._pool()  # where what is known already took all of them to the next look

    def _goes_on(self, i: int) -> bool:
        return self.searches[i].state == "open" and not self.searches[i].waiting

    def _locate(self, run: int) -> tuple[int, Run]:
        i, candidate = self._place[run // len(self.plan.seeds)]
        return i, (candidate, run % len(self.plan.seeds))

    def _run(self, i: int, at: Run) -> int:
        return self.cells[i].points[at[0]] * len(self.plan.seeds) + at[1]

    def _advance(self, i: int) -> list[int]:
        """Go as far as the answers of a cell reach; the runs that it asks for thereupon."""
        search = self.searches[i]
        if search.advance(self._answers[i]) and self._n_given[i] == len(search.asked):
            return []  # in the middle of a round
        if not self._goes_on(i):
            self._on_the_way.discard(i)
        asked = [self._run(i, at) for at in search.asked[self._n_given[i] :]]
        self._n_given[i] = len(search.asked)
        more = search.n_outlook - len(search.round)
        more = max(0, min(more, search.most - len(search.asked)))
        self._n_more += more - self._more[i]
        self._more[i] = more
        return asked

    @property
    def n_more(self) -> int:
        """A guess, cell by cell."""
        return self._n_more

    @property
    def n_most(self) -> int:
        """Runs that the search asks for at most."""
        return sum(len(s.asked) if s.state != "open" else s.most for s in self.searches)

    def _ahead(self, i: int) -> list[int]:
        """Runs that a cell may ask for after the present round."""
        search = self.searches[i]
        return [self._run(i, at) for at in search.outlook()[len(search.round) :]]

    def outlook(self) -> list[int]:
        """Runs that are wanted and, as a guess, those that will be."""
        return [*self.wanted(), *(run for i in range(len(self.cells)) for run in self._ahead(i))]

    def rounds(self) -> list[list[list[int]]]:
        """``outlook`` in the order of a search: of each cell the rounds, each after the one before.

        A failed run that is tried again waits for nothing: it is a cell of its own here.
        """
        found, k = [], self.options.batch
        beside = set(self.wanted())
        for i, search in enumerate(self.searches):
            present = sorted({self._run(i, at) for at in search.round} & beside)
            beside -= set(present)
            more = self._ahead(i)
            cell = [present, *(more[j : j + k] for j in range(0, len(more), k))]
            found.append([runs for runs in cell if runs])
        return [cell for cell in found if cell] + [[[run]] for run in sorted(beside)]

    def results(self) -> list[Threshold]:
        """What is known of each cell."""
        return [s.result() for s in self.searches]

    def summary(self) -> str:
        """``12 cells: 9 resolved, 1 above_grid, 2 open; 214 runs asked for``."""
        n = Counter(s.state for s in self.searches)
        parts = ", ".join(f"{n[state]:,} {state}" for state in STATES if n[state])
        return f"{len(self.cells):,} cells: {parts}; {self.n_asked:,} runs asked for"

    def lines(self, limit: int = 20) -> list[str]:
        """A line a cell, the first few of many."""
        return findings.lines(self.plan, self.options.axis, self.cells, self.results(), limit)

    def forecast(self) -> str:
        """How many runs it has asked for, may need, and asks for at most, of how many places."""
        n_candidates = sum(len(cell.values) for cell in self.cells)
        return f"{super().forecast()} ({n_candidates:,} candidates)"

    def describe(self) -> dict[str, Any]:
        """Where it stands, as plain values."""
        n_open = sum(s.state == "open" for s in self.searches)
        return {"n_cells": len(self.cells), "n_open": n_open, **super().describe()}

    def findings(self) -> Findings:
        """The table of thresholds, one row a cell."""
        return findings.table(self.plan, self.options, self.cells, self.results())
