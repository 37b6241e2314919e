"""What became of runs that have no answer yet, or not their last: again, apart, or a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from lawsweep.core.outcome import Loss, Lost, Outcome, RunSpec
from lawsweep.core.protocols import Executor
from lawsweep.core.secrets import hide
from lawsweep.launch.backlog import Backlog
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.flights import Flight
from lawsweep.launch.fusing import FusingPolicy
from lawsweep.launch.ladder import Again, Ladder

# The worker is ended; all runs that it began have answered, but for a fused group.
_IN_ORDER = (Loss.RETIRED, Loss.RETIRED_GROUP, Loss.CARD, Loss.CARD_GROUP)


class Recovery:
    """Puts back what is to be tried again, by the ladder, and heeds how fused groups fare."""

    def __init__(
        self,
        backlog: Backlog,
        costs: CostModel,
        executor: Executor,
        max_attempts: int,
        clock: Callable[[], float],
        *,
        on_cpu: bool,
    ):
        self._backlog, self._costs, self._executor = backlog, costs, executor
        self._clock, self._on_cpu = clock, on_cpu
        self._ladder = Ladder(max_attempts)
        self._fusing = FusingPolicy(backlog.plan.experiment.name)

    def answered(self, run: RunSpec, outcome: Outcome, flight: Flight) -> Outcome | None:
        """The outcome to record; None where the run is tried once more."""
        self._heed_group(outcome)
        mishap = outcome.mishap
        if outcome.status == "oom" and mishap is None and self._on_cpu and not flight.whole_node:
            self._costs.was_refused(run.index, outcome.peak_memory_bytes)
        if mishap is not None and not self._executor.in_process:
            if self._put_back(run, self._ladder.after_mishap(run.index, mishap)):
                return None
        elif outcome.status == "oom" and self._put_back(run, self._ladder.after_oom(run.index)):
            return None
        if mishap is None:
            return outcome
        return outcome._replace(error=f"{outcome.error}; {self._ladder.told(run.index, mishap)}")

    def ended(self, lost: Lost | None, flight: Flight) -> Iterator[Outcome]:
        """A task ended, in order or with its worker: rows of what it leaves and nobody tries."""
        if lost is not None and lost.why in _IN_ORDER:
            self._ended_in_order(lost, flight)
            return
        if lost is not None and flight.longest > 1 and flight.waiting:
            self._fused_failed(str(lost), lost=True)
        yield from self._lost(list(flight.waiting.values()), lost or Lost(Loss.SILENT), flight)

    def avoided(self, runs: Sequence[RunSpec]) -> tuple[str, ...]:
        """The cards that failed one of these runs."""
        return self._ladder.avoided([run.index for run in runs])

    def notes(self) -> tuple[str, ...]:
        """What a person should be told."""
        return (*self._fusing.notes(), *self._ladder.notes())

    def _ended_in_order(self, lost: Lost, flight: Flight) -> None:
        """After a deadline, or on a GPU that failed; what it had not begun goes on as it was."""
        groups = flight.groups_left()
        if lost.why in (Loss.RETIRED_GROUP, Loss.CARD_GROUP):  # so its runs go alone
            card = lost.why is Loss.CARD_GROUP
            first = list(flight.waiting)[: groups[0]] if groups else []
            if card:
                self._ladder.group_lost(first, lost)
            why = "its GPU failed" if card else "timeout"
            self._fused_failed(f"{why}: {lost.detail}", lost=card)
            groups = (*(1,) * groups[0], *groups[1:]) if groups else ()
        if flight.waiting:
            self._backlog.put_back(list(flight.waiting.values()), groups)

    def _lost(self, runs: list[RunSpec], lost: Lost, flight: Flight) -> Iterator[Outcome]:
        """A worker died.  Only a run that was alone in its batch is to blame for it.

        A batch reports now and then, so which of its unanswered runs was under way is not known:
        it is split in halves, each tried as it stands, until the culprit is alone.
        """
        if len(runs) > 1:
            middle = len(runs) // 2
            self._backlog.put_back(runs[:middle])
            self._backlog.put_back(runs[middle:])
            return
        for run in runs:
            # The memory model learns of it; not from a run that had all of a node.
            out_of_memory = lost.why is Loss.OUT_OF_MEMORY
            if out_of_memory and not flight.whole_node and self._on_cpu:
                had = max(flight.memory_bytes, self._executor.slot_memory_bytes)
                self._costs.ran_out(run.index, had)
            verdict = self._ladder.after_loss(run.index, lost.why)
            if not self._put_back(run, verdict):
                yield Outcome(
                    index=run.index,
                    status=verdict,  # type: ignore[arg-type]  # it is no Again: not put back
                    error=hide(f"worker lost: {lost}"),
                    attempt=run.attempt,
                    started_at=time.time(),
                )

    def _put_back(self, run: RunSpec, verdict: Again | str) -> bool:
        """Whether the verdict is that the run is tried again."""
        if verdict == "again":
            self._backlog.put_back([run._replace(attempt=run.attempt + 1)])
        elif verdict == "apart":
            self._backlog.put_apart(run._replace(attempt=run.attempt + 1))
        return verdict in ("again", "apart")

    def _heed_group(self, outcome: Outcome) -> None:
        """Its group gave answers, or gave none."""
        if outcome.fused_error is not None:
            self._fused_failed(outcome.fused_error)
        elif outcome.n_fused > 1:
            self._fusing.worked()

    def _fused_failed(self, reason: str, *, lost: bool = False) -> None:
        """A group gave no answers: its runs go alone.  Fuse fewer, or none, if that is the rule."""
        stop = self._fusing.failed(reason, self._clock() if lost else None)
        most = self._backlog.most
        if reason.startswith("oom"):
            most.halve()
        if stop:
            most.ceiling = 1
        self._costs.fusing = most.fuses
