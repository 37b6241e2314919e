"""Progress while a sweep runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lawsweep.core.outcome import FAILURES
from lawsweep.core.plan import Plan
from lawsweep.runner.run_plan import Snapshot, Watcher

PLAIN_EVERY_S = 5.0
MAX_FAILURE_LINES = 20


@contextmanager
def progress(plan: Plan, *, quiet: bool = False) -> Iterator[Watcher | None]:
    """A watcher for ``api.run`` that shows count, rate, ETA and failures as they come."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _live(_Failures(plan)) as watcher:
            yield watcher
    else:
        yield _Plain(_Failures(plan))


def line(snapshot: Snapshot) -> str:
    """``37/120 done, 2 failed, 4.1/s, ETA 20 s (17-24)``; the interval is of 90 %."""
    failed = sum(snapshot.statuses.get(s, 0) for s in FAILURES)
    parts = [f"{snapshot.done_before + snapshot.finished:,}/{snapshot.planned:,} done"]
    if failed:
        parts.append(f"{failed:,} failed")
    parts.append(f"{snapshot.rate:.3g}/s")
    if snapshot.eta_s is not None:
        low, high = snapshot.eta_low_s or 0.0, snapshot.eta_high_s or 0.0
        between = f" ({low:.0f}-{high:.0f})" if high - low >= 1 else ""
        parts.append(f"ETA {snapshot.eta_s:.0f} s{between}")
    return ", ".join(parts)


class _Failures:
    """Prints each failure as it comes, the first few in full."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._n = plan, 0

    def lines(self, snapshot: Snapshot) -> Iterator[str]:
        for outcome in snapshot.new_failures:
            self._n += 1
            if self._n <= MAX_FAILURE_LINES:
                reason = (outcome.error or "").splitlines()[:1]
                params = self._plan.params_of(outcome.index)
                point = " ".join(f"{k}={v}" for k, v in params.items())
                seed = self._plan.seed_of(outcome.index)
                yield f"{outcome.status}: {point} seed={seed}: {''.join(reason)}"
            elif self._n == MAX_FAILURE_LINES + 1:
                yield "more failures follow; they are rows in the table"


class _Plain:
    """One line every few seconds, for logs."""

    def __init__(self, failures: _Failures) -> None:
        self._failures = failures
        self._last = time.monotonic()
        self._ended = False

    def __call__(self, snapshot: Snapshot) -> None:
        for text in self._failures.lines(snapshot):
            print(text, file=sys.stderr, flush=True)
        now = time.monotonic()
        ended = snapshot.done_before + snapshot.finished >= snapshot.planned
        if now - self._last >= PLAIN_EVERY_S or (ended and not self._ended):
            print(line(snapshot), file=sys.stderr, flush=True)
            self._last, self._ended = now, ended


@contextmanager
def _live(failures: _Failures) -> Iterator[Watcher]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    columns: list[Any] = [SpinnerColumn(), BarColumn(), TextColumn("{task.description}")]
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("starting", total=None)

        def watch(snapshot: Snapshot) -> None:
            for text in failures.lines(snapshot):
                console.print(text, style="red", highlight=False, markup=False)
            done = snapshot.done_before + snapshot.finished
            display.update(task, total=snapshot.planned, completed=done, description=line(snapshot))

        yield watch
