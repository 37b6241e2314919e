"""What both kinds of ``until`` share: units that go on until each is known, and a budget."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lawsweep.core.cost import PRIOR_OVERHEAD_S
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import Plan
from lawsweep.grid.stated_costs import stated_costs
from lawsweep.sampling.adaptive.options import UntilOptions
from lawsweep.sampling.adaptive.units import COLUMNS, STATES, Proposal, Unit
from lawsweep.sampling.sampler import Chooser, Column, Findings, Known


class Until(Chooser):
    """Units that go on until each is known.

    Without a budget they know nothing of one another.  With one they go in step: when all have
    their answers, rounds are asked for in the order of what they narrow per predicted second, as
    far as the budget has room.
    """

    only_asked = True
    options: Any

    def __init__(
        self,
        plan: Plan,
        options: UntilOptions,
        known: Known | None = None,
        again: Iterable[int] | None = None,
    ):
        self.plan = plan
        self.seconds = predicted_seconds(plan, options.gflops)
        self.units = self._units(plan, options)
        self._budget_s, self._spent_s = options.budget_s, 0.0
        self._unit_of: dict[int, int] = {}
        self._answers: list[dict[int, float | None]] = [{} for _ in self.units]
        self._n_waiting = 0  # of a budget: units that have their answers, and wait for the others
        super().__init__(plan, options, known, again)

    @abstractmethod
    def _units(self, plan: Plan, options: Any) -> Sequence[Unit]:
        """What is sampled."""

    @abstractmethod
    def _answer(self, outcome: Outcome) -> float | None:
        """The number that a row gives; None where it has none."""

    @classmethod
    def headline(cls, options: Any) -> str:
        """``until the exponent of power_lambda_min is known to ± 0.02``."""
        width = f"{100 * options.within:g} %" if options.relative else f"{options.within:g}"
        budget = "" if options.budget is None else f", within {options.budget_s:g} predicted s"
        return f"until the {options.called} is known to ± {width}{budget}"

    def first(self) -> Iterator[int]:
        """The first round of each unit."""
        return iter(self._advance(range(len(self.units))))

    def then(self, outcome: Outcome) -> list[int]:
        """The next round, once all of the present one has ended."""
        i = self._unit_of[outcome.index]
        answers, unit = self._answers[i], self.units[i]
        if outcome.index in answers:
            return []
        answers[outcome.index] = self._answer(outcome)
        if len(answers) < len(unit.asked):
            return []
        if self._budget_s is None:
            return self._advance([i])
        self._n_waiting += 1
        n_open = sum(u.state == "open" for u in self.units)
        return self._advance(range(len(self.units))) if self._n_waiting == n_open else []

    def _advance(self, which: Iterable[int]) -> list[int]:
        """Let units that have all their answers decide; the runs that are asked for."""
        proposals: list[tuple[int, Proposal]] = []
        for i in which:
            if self.units[i].state == "open":
                proposal = self.units[i].propose(self._answers[i])
                if proposal is not None:
                    proposals.append((i, proposal))
        proposals.sort(key=lambda item: -item[1].worth)  # stable: in their own order among equals
        runs: list[int] = []
        for i, proposal in proposals:
            runs += self._granted(i, proposal)
        self._n_waiting = 0
        return runs

    def _granted(self, i: int, proposal: Proposal) -> list[int]:
        """The runs of a proposal, as far as the budget reaches."""
        n, seconds = 0, 0.0
        room = math.inf if self._budget_s is None else self._budget_s
        for chunk in proposal.chunks:
            if self._spent_s + seconds + chunk.seconds > room * (1 + 1e-12):
                break
            n, seconds = n + 1, seconds + chunk.seconds
        if not n:
            left = room - self._spent_s
            self.units[i].stop(
                "budget",
                f"the next step takes {proposal.chunks[0].seconds:.3g} s, and {left:.3g} s of the "
                f"budget are left ({proposal.reason})",
            )
            return []
        self._spent_s += seconds
        runs = self.units[i].take(proposal, n)
        self._unit_of.update(dict.fromkeys(runs, i))
        return runs

    def _seconds_of(self, runs: Sequence[int]) -> float:
        points = np.asarray(runs, dtype=np.int64) // len(self.plan.seeds)
        return float(self.seconds[points].sum())

    def _ahead(self) -> list[list[int]]:
        """For each unit the runs it may still ask for, cut where the budget ends."""
        found = [unit.ahead() for unit in self.units]
        if self._budget_s is None:
            return found
        left, kept = self._budget_s - self._spent_s, []
        for runs in found:
            spent = np.cumsum(self.seconds[np.asarray(runs, dtype=np.int64)
                                           // len(self.plan.seeds)])  # fmt: skip
            n = int(np.searchsorted(spent, left, side="right"))
            left -= float(spent[n - 1]) if n else 0.0
            kept.append(runs[:n])
        return kept

    @property
    def n_more(self) -> int:
        """A guess, unit by unit."""
        return sum(len(runs) for runs in self._ahead())

    @property
    def n_most(self) -> int:
        """Runs that are asked for at most, were there no budget."""
        return len({run for unit in self.units for run in unit.most()} | self._asked)

    def outlook(self) -> list[int]:
        """Runs that are wanted and, as a guess, those that will be."""
        wanted = self.wanted()
        beside = set(wanted)
        return [*wanted, *(r for runs in self._ahead() for r in runs if r not in beside)]

    def rounds(self) -> list[list[list[int]]]:
        """``outlook``: of each unit the present round, then what it may need."""
        beside, found = set(self.wanted()), []
        for i, more in enumerate(self._ahead()):
            present = sorted(beside & set(self.units[i].asked))
            beside -= set(present)
            chain = [present, more]
            found.append([runs for runs in chain if runs])
        return [chain for chain in found if chain] + [[[run]] for run in sorted(beside)]

    def summary(self) -> str:
        """``3 fits: 2 resolved, 1 open; 214 runs asked for``."""
        n = Counter(unit.state for unit in self.units)
        parts = ", ".join(f"{n[state]:,} {state}" for state in STATES if n[state])
        return f"{self._count(len(self.units))}: {parts}; {self.n_asked:,} runs asked for"

    def _count(self, n: int) -> str:
        return f"{n:,} point{'' if n == 1 else 's'}"

    def lines(self, limit: int = 20) -> list[str]:
        """A line a unit, the first few of many."""
        shown = [unit.line(self._what(unit)) for unit in self.units[:limit]]
        left = len(self.units) - limit
        return [*shown, f"... and {left:,} more"] if left > 0 else shown

    def _what(self, unit: Unit) -> str:
        return str(self.options.called)

    def forecast(self) -> str:
        """Runs, and predicted seconds: about, and at most."""
        left = self.wanted()
        ahead = [run for runs in self._ahead() for run in runs]
        most = sorted({run for unit in self.units for run in unit.most()} - self._asked)
        about = self._seconds_of([*left, *ahead])
        highest = self._seconds_of([*left, *most])
        budget = ""
        if self._budget_s is not None:
            room = max(0.0, self._budget_s - self._spent_s)
            highest = min(highest, self._seconds_of(left) + room)
            budget = f"; {self._spent_s:.3g} of {self._budget_s:.3g} s of the budget are asked for"
        n = f"{len(left) + len(ahead):,}"
        expected = f"about {n} more expected ({about:.3g} predicted s)"
        if any(u.state == "open" and not math.isfinite(u.interval.half) for u in self.units):
            expected = (
                f"{n} more ({about:.3g} predicted s) are to show the scatter, and with it how many "
                "it takes"
            )
        return (
            f"{self.headline(self.options)}: {self.summary()}; {expected}, at most "
            f"{len(left) + len(most):,} ({highest:.3g} s){budget}"
        )

    def describe(self) -> dict[str, Any]:
        """Where it stands, as plain values."""
        n_open = sum(unit.state == "open" for unit in self.units)
        told = {"n_units": len(self.units), "n_open": n_open, **super().describe()}
        return {**told, "predicted_s": self._spent_s, "budget_s": self._budget_s}

    def decisions(self) -> Findings:
        """Every decision, unit by unit, with its reason."""
        rows = [d for unit in self.units for d in unit.decisions]
        columns = {
            name: Column([getattr(d, name) for d in rows], kind, meaning, unit)
            for name, (kind, unit, meaning) in COLUMNS.items()
        }
        return Findings((), [], [], columns)


def predicted_seconds(plan: Plan, gflops: float) -> np.ndarray:
    """Predicted seconds of a run at each point, (n_points,): a function of the plan alone."""
    flops, _ = stated_costs(plan)
    return np.asarray(PRIOR_OVERHEAD_S + flops / (1e9 * gflops))
