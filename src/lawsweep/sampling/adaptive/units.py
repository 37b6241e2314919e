"""What is sampled until it is known (a point, the fit of a group), and what it decided and why.

A unit asks for a round of runs, and when all of them have answers it decides anew.  Its state is
a function of the answers to the runs that it asked for: of their order, of who ran them and of the
time it knows nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lawsweep.sampling.adaptive.intervals import Interval

# open: goes on; resolved: within the target; alike: the seeds agree to rounding, so that there is
# no scatter to judge by; bound: what does not shrink with seeds is wider than the target; spent: no
# seed is left; budget: no seconds are left; failed: too few answers.
STATES = ("resolved", "alike", "bound", "spent", "budget", "failed", "open")
NOTHING = Interval(math.nan, -math.inf, math.inf)

Answers = Mapping[int, float | None]  # runs that ended; None where one has no value


@dataclass(frozen=True)
class Decision:
    """One decision of a unit: what was known, what is done, and why."""

    round: int
    setting: str
    action: str  # "seeds", "values" (of x, with their seeds), "confirm", "stop"
    state: str
    n_runs: int  # asked for by it
    predicted_s: float
    n_seeds: int  # that have answers
    n_values: int  # of x
    estimate: float | None
    low: float | None
    high: float | None
    half_width: float | None
    target: float | None
    reason: str


COLUMNS: Mapping[str, tuple[type, str, str]] = {
    "round": (int, "", "which decision of its setting, from 1"),
    "setting": (str, "", "the point or group"),
    "action": (str, "", "seeds, values (of x, with their seeds), confirm or stop"),
    "state": (str, "", "resolved, alike, bound, spent, budget, failed or open"),
    "n_runs": (int, "", "runs asked for by it"),
    "predicted_s": (float, "s", "predicted seconds of these"),
    "n_seeds": (int, "", "seeds that had answers"),
    "n_values": (int, "", "values of x that were run"),
    "estimate": (float, "", "as known then"),
    "low": (float, "", "lower end of its interval"),
    "high": (float, "", "upper end of its interval"),
    "half_width": (float, "", "of the interval"),
    "target": (float, "", "half width that is enough"),
    "reason": (str, "", "why"),
}


@dataclass(frozen=True)
class Chunk:
    """Runs that are asked for together or not at all, and their predicted seconds."""

    runs: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Proposal:
    """A round that a unit would ask for; the first chunk is its least, more may be left out.

    ``gain``: by how much the half width is expected to shrink, as a share of it.
    """

    action: str
    reason: str
    chunks: Sequence[Chunk]
    gain: float = 1.0
    values: Sequence[int] = ()  # of x that come in

    @property
    def seconds(self) -> float:
        """Of all chunks."""
        return sum(c.seconds for c in self.chunks)

    @property
    def worth(self) -> float:
        """What the half width shrinks by per predicted second."""
        return self.gain / max(self.seconds, 1e-300)


@dataclass
class Unit(ABC):
    """Base of both kinds.  ``seconds`` predicts those of a run."""

    name: str
    cap: int  # seeds at most
    state: str = "open"
    reason: str = ""
    asked: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    interval: Interval = NOTHING
    target: float = math.nan
    confirming: bool = False

    @abstractmethod
    def propose(self, answers: Answers) -> Proposal | None:
        """What to ask for next, all that was asked having ended; None when it stops."""

    @abstractmethod
    def ahead(self) -> list[int]:
        """A guess at the runs that it will ask for after the present round."""

    @abstractmethod
    def most(self) -> list[int]:
        """All runs that it may come to ask for."""

    @property
    @abstractmethod
    def n_seeds(self) -> int:
        """Seeds that have answers."""

    @property
    def n_values(self) -> int:
        """Values of x that are run."""
        return 1

    @abstractmethod
    def taken(self, proposal: Proposal, n_chunks: int) -> None:
        """Keep count of what is asked for."""

    def take(self, proposal: Proposal, n_chunks: int) -> list[int]:
        """Ask for the first chunks of a proposal; their runs."""
        chunks = proposal.chunks[:n_chunks]
        runs = [run for chunk in chunks for run in chunk.runs]
        reason = proposal.reason
        if n_chunks < len(proposal.chunks):
            reason += f"; the budget has room for {n_chunks} of {len(proposal.chunks)} steps"
        self.confirming = proposal.action == "confirm"
        self.taken(proposal, n_chunks)
        self.asked += runs
        self._note(proposal.action, len(runs), sum(c.seconds for c in chunks), reason)
        return runs

    def stop(self, state: str, reason: str) -> Proposal | None:
        """Ask for nothing any more: None, in place of a proposal."""
        self.state, self.reason = state, reason
        self._note("stop", 0, 0.0, reason)
        return None

    def _note(self, action: str, n_runs: int, seconds: float, reason: str) -> None:
        ends = [v if math.isfinite(v) else None for v in (*self.interval, self.interval.half)]
        target = self.target if math.isfinite(self.target) else None
        self.decisions.append(
            Decision(
                round=len(self.decisions) + 1,
                setting=self.name,
                action=action,
                state=self.state,
                n_runs=n_runs,
                predicted_s=seconds,
                n_seeds=self.n_seeds,
                n_values=self.n_values,
                estimate=ends[0],
                low=ends[1],
                high=ends[2],
                half_width=ends[3],
                target=target,
                reason=reason,
            )
        )

    def line(self, what: str) -> str:
        """``width=64: mean of y = 1.2 ± 0.05 (12 seeds; resolved: ...)``."""
        told, half = self.interval, self.interval.half
        known = f"{told.estimate:.4g}" if math.isfinite(told.estimate) else "not known"
        if math.isfinite(half):
            known += f" ± {half:.2g}"
        of = f" at {self.n_values} values of x" if self.n_values > 1 else ""
        why = f": {self.reason}" if self.reason else ""
        head = f"{self.name}: " if self.name else ""
        return f"{head}{what} = {known}  ({self.n_seeds} seeds{of}; {self.state}{why})"


def show(value: float) -> str:
    """A number in a sentence."""
    return f"{value:.3g}"
