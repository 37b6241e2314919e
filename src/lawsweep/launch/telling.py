"""What the watcher of a launch is told while it runs."""

from __future__ import annotations

from collections.abc import Callable

from lawsweep.core.protocols import Executor, Sampler
from lawsweep.launch.backlog import Backlog
from lawsweep.launch.flights import Flights
from lawsweep.launch.report import RunReport, Snapshot, Watcher, slot_name, slowest

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
        eta, low, high = self._eta(finished)
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

    def _eta(self, finished: int) -> tuple[float | None, float | None, float | None]:
        """Expected seconds to the end and a 90 % interval; None while nothing is known."""
        if not finished and not self._backlog.costs.n_measured:
            return None, None, None
        left, slots = self._backlog.work_left(), max(1.0, self._executor.n_slots)
        wanted, more = self._sampler.n_wanted, self._sampler.n_more
        slots *= wanted / max(1, wanted + more) or 1.0  # what will be wanted is like what is now
        return left.expected_s / slots, left.low_s / slots, left.high_s / slots
