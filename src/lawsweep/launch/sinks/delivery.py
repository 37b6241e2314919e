"""How sinks are told: each in a thread of its own, behind a bounded queue, and at their own risk.

The launch puts what there is to tell into the queues and goes on.  A sink that raises, hangs, or
falls too far behind is told no more, and a note says so; nothing else comes of it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from lawsweep.core.outcome import Outcome
from lawsweep.core.protocols import Sink
from lawsweep.core.secrets import hide
from lawsweep.launch.report import RunReport, Snapshot
from lawsweep.worker.random_state import beside

HOOKS = ("started", "progress", "outcome", "ended")
WAITING = 50_000  # outcomes that a sink may be behind
CALL_S = 10.0  # a call that takes longer hangs
END_S = 5.0  # at the end of the launch all sinks together have so long to take in the rest


class Delivery:
    """Tells ``sinks`` of one launch; called from the thread that runs it."""

    def __init__(self, sinks: Sequence[Any], clock: Callable[[], float] = time.monotonic):
        self._lines = [_Line(sink, clock) for sink in sinks]

    def started(self, launch: Any) -> None:
        """The launch begins."""
        for line in self._lines:
            line.put("started", (launch,))
            line.start()

    def tell(self, outcomes: Sequence[Outcome], snapshot: Snapshot | None) -> None:
        """Outcomes that came in, and where the launch is."""
        for line in self._lines:
            line.tell(outcomes, snapshot)

    def ended(self, report: RunReport) -> tuple[str, ...]:
        """The launch ended; notes on the sinks that were dropped."""
        for line in self._lines:
            line.end(report)
        # A launch may be over before a sink has connected to whom it tells.
        until = time.monotonic() + CALL_S
        for line in self._lines:
            line.begun.wait(max(0.0, until - time.monotonic()))
        until = time.monotonic() + END_S
        for line in self._lines:
            line.join(max(0.0, until - time.monotonic()))
        return tuple(line.note for line in self._lines if line.dropped is not None)


class _Line:
    """One sink, its queue and its thread."""

    def __init__(self, sink: Any, clock: Callable[[], float]):
        self._hooks = _hooks_of(sink)
        name = getattr(sink, "name", None) or getattr(sink, "__qualname__", None)
        self._name = name if isinstance(name, str) else type(sink).__qualname__
        self._clock = clock
        self._queue: queue.SimpleQueue[tuple[str, Sequence[Any]] | None] = queue.SimpleQueue()
        # Each counter is written by one thread alone.
        self._n_put = self._n_told = 0
        self._since: float | None = None  # when the call began that it is in
        self._latest: list[Snapshot] = []
        self.dropped: str | None = None
        self.begun = threading.Event()  # it has taken in that the launch started
        self._thread = threading.Thread(target=self._work, name=f"sink-{self._name}", daemon=True)

    @property
    def note(self) -> str:
        return (
            f"the sink {self._name} was dropped ({self.dropped}); it missed what came after, and "
            "the table has every row all the same"
        )

    def start(self) -> None:
        self._thread.start()

    def put(self, hook: str, given: Sequence[Any]) -> None:
        if hook in self._hooks:
            self._queue.put((hook, given))
        elif hook == "started":
            self.begun.set()

    def tell(self, outcomes: Sequence[Outcome], snapshot: Snapshot | None) -> None:
        if self.dropped is not None:
            return
        since = self._since
        if since is not None and self._clock() - since > CALL_S:
            self.drop(f"a call of it took longer than {CALL_S:g} s")
            return
        if outcomes and "outcome" in self._hooks:
            self._n_put += len(outcomes)
            if (behind := self._n_put - self._n_told) > WAITING:
                self.drop(f"it was {behind:,} outcomes behind")
                return
            self.put("outcome", outcomes)
        if snapshot is None or "progress" not in self._hooks:
            return
        if snapshot.finishing_s is not None:  # said once, and not to be passed over
            self.put("progress", (snapshot,))
            return
        self._latest = [snapshot]  # of several that wait, the latest
        self.put("progress", ())

    def end(self, report: RunReport) -> None:
        self.put("ended", (report,))
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive() and self.dropped is None:
            self.drop(f"it had not taken in all {END_S:g} s after the end")

    def drop(self, reason: str) -> None:
        self.dropped = self.dropped or reason
        self.begun.set()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            hook, given = item
            if not given:
                given, self._latest = self._latest, []
            for each in given:
                if self.dropped is not None:
                    return
                self._call(self._hooks[hook], each)
                self._n_told += hook == "outcome"
            self.begun.set()

    def _call(self, hook: Callable[[Any], Any], given: Any) -> None:
        self._since = self._clock()
        try:
            with beside():
                hook(given)
        except BaseException as error:  # noqa: BLE001  (even an exit: it is not ours to end)
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".: ")
            self.drop(hide(f"it raised {said}"))
        self._since = None


def _hooks_of(sink: Any) -> dict[str, Callable[[Any], Any]]:
    """What a sink is to be told: the methods it has, or itself for outcomes."""
    found = {h: getattr(sink, h) for h in HOOKS if callable(getattr(sink, h, None))}
    if isinstance(sink, Sink):
        return {h: f for h, f in found.items() if getattr(type(sink), h) is not getattr(Sink, h)}
    return found or {"outcome": sink}
