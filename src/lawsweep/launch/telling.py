"""What the watcher of a launch is told while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lawsweep.core.protocols import Executor, Sampler
from lawsweep.launch.backlog import Backlog
from lawsweep.launch.costs.work_left import expected_end
from lawsweep.launch.flights import Flights, UnderWay
from lawsweep.launch.report import RunReport, Snapshot, Watcher, slot_name, slowest

# So few runs, for each slot and in all, are handed out in thought to see when the last one ends.
END_ROUNDS, END_RUNS = 6, 200
TELL_S = 0.05  # a watcher is told no more often: a busy launch has news a thousand times a second


class Teller:
    """Makes Snapshots of a launch, a few times a second, for a watcher (None: for nobody)."""

    def __init__(
        self,
        watcher: Watcher | None,
        report: RunReport,
        backlog: Backlog,
        flights: Flights,
        executor: Executor,
        sampler: Sampler,
        clock: Callable[[], float],
    ):
        self._watcher, self._report, self._backlog = watcher, report, backlog
        self._flights, self._executor, self._sampler = flights, executor, sampler
        self._clock = clock
        self._slot = slot_name(executor.describe())
        self._started, self._told = clock(), float("-inf")
        # Since the first answer: runs that ended and their seconds, busy seconds of all slots.
        self._n_ended, self._ran_s, self._busy_s, self._looked = 0, 0.0, 0.0, 0.0

    def begin(self, started: float) -> None:
        """The launch began then, by the clock."""
        self._started = started

    def tell(self, *, at_once: bool = False, finishing_s: float | None = None) -> None:
        """Tell the watcher where the launch is, unless it was told just now."""
        now = self._clock()
        at_once = at_once or finishing_s is not None
        if self._watcher is None or (now - self._told < TELL_S and not at_once):
            return
        self._told = now
        self._watcher(self._look(now, finishing_s))

    def _look(self, now: float, finishing_s: float | None) -> Snapshot:
        elapsed = max(now - self._started, 1e-9)
        report, begun = self._report, self._flights.begun()
        finished = sum(report.statuses.values())
        eta, low, high = self._eta(now)
        return Snapshot(
            planned=report.planned,
            done_before=report.done_before,
            statuses=dict(report.statuses),
            running=self._flights.n_waiting,
            elapsed_s=elapsed,
            rate=finished / elapsed,
            eta_s=eta,
            eta_low_s=low,
            eta_high_s=high,
            n_slots=self._executor.n_slots,
            n_busy=len(begun),
            slot=self._slot,
            slowest=slowest(begun, now),
            finishing_s=finishing_s,
        )

    def took(self, wall_s: float | None) -> None:
        """A run has ended that took so long."""
        if not self._n_ended:
            now = self._clock()
            self._looked = now
            self._busy_s = sum(one.since for one in self._flights.under_way(now))
        else:
            self._ran_s += wall_s or 0.0
        self._n_ended += 1

    def _eta(self, now: float) -> tuple[float | None, float | None, float | None]:
        """Expected seconds to the end and a 90 % interval; None while nothing is known."""
        backlog, flights = self._backlog, self._flights.under_way(now)
        overhead = self._overhead(now, flights)
        if not backlog.costs.n_measured:
            return None, None, None
        backlog.costs.see_under_way(flights)
        slots = max(1.0, self._executor.n_slots)
        left = backlog.left.work(flights, self._sampler.n_more, overhead)
        expected = left.expected_s / slots
        if slots > 1 and expected:
            # No slot helps another with its run: the last ones take as long as they take.
            longest = max(map(backlog.left.still_to_come, flights), default=0.0)
            expected = max(expected, longest)
            if backlog.left.n <= min(END_RUNS, END_ROUNDS * slots) and not self._sampler.n_more:
                expected = max(longest, self._end(now, int(slots), overhead))
        scale = expected / left.expected_s if left.expected_s else 0.0
        return expected, scale * left.low_s, scale * left.high_s

    def _end(self, now: float, n_slots: int, overhead: float) -> float:
        """The expected end of few runs, handed out as they will be, whatever each of them takes."""
        left, coming, queue = self._backlog.left, [], []
        for flight in self._flights.values():
            runs = list(flight.waiting)
            if runs and flight.heard:
                (one,) = flight.under_way(now)
                rest = sum(left.mean_of(run) + overhead for run in runs[one.n :])
                coming.append(left.still_to_come(one) + overhead + rest)
            elif runs:
                queue.append(sum(left.mean_of(run) + overhead for run in runs))
        queue += [left.mean_of(run) + overhead for run in self._backlog.runs()]
        return expected_end(coming, queue, n_slots, self._backlog.costs.spread)

    def _overhead(self, now: float, flights: Sequence[UnderWay]) -> float:
        """Seconds of a slot that a run costs beside its own: its way there and back, its row.

        Slots' busy seconds since the first answer, less those of the runs that ended since.  Of
        runs of a millisecond it is most of what they take.
        """
        if self._n_ended < 2:
            return 0.0
        n_busy = max(len(flights), 1 if self._executor.in_process else 0)
        self._busy_s += n_busy * (now - self._looked)
        self._looked = now
        idle = self._busy_s - self._ran_s - sum(one.since for one in flights)
        return max(0.0, idle / (self._n_ended - 1))
