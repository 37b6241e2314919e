"""Progress while a sweep runs: a live display on a terminal, plain lines elsewhere.

What is shown of a launch is what it leaves in the store as its sign of life, so that ``status``
and ``attach`` show the same from another terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lawsweep.cli.plain_output import one_line, own_stream, spelled
from lawsweep.core.outcome import FAILURES, Outcome
from lawsweep.core.protocols import Sink
from lawsweep.grid.plan import Plan
from lawsweep.launch.report import Snapshot, describe_snapshot
from lawsweep.study.failures import SHOWN_ID
from lawsweep.worker.debugging import giving_way

PLAIN_EVERY_S = 5.0
MAX_FAILURE_LINES = 20
SLOW_S = 10.0  # a run that is under way for so long is named
SLOW_EVERY_S = 60.0  # in a log; on a terminal at all times
# Up to so many seconds, a second is a suitable unit, and so on.
_UNITS = ((90.0, "s", 1.0), (5400.0, "min", 60.0), (172_800.0, "h", 3600.0))


@contextmanager
def progress(plan: Plan, *, quiet: bool = False) -> Iterator[Sequence[Sink]]:
    """A sink for ``Study.run`` that shows how far it is, and failures as they come."""
    if quiet:
        yield ()
    elif sys.stderr.isatty():
        with display() as shown:
            yield (_Live(plan, shown),)
    else:
        yield (_Plain(plan),)


def line(state: Mapping[str, Any]) -> str:
    """``37/120 done, 2 failed, 4.1/s, ETA 20 s (17-24), 2/2 slots busy (CPU)``.

    ``state``: a snapshot as ``describe_snapshot`` gives it, or a sign of life.  The interval is
    of 90 %.  A single slot is not worth a word.
    """
    statuses = state.get("statuses") or {}
    failed = sum(statuses.get(s, 0) for s in FAILURES)
    parts = []
    if state.get("planned") is not None:
        done = (state.get("done_before") or 0) + (state.get("finished") or 0)
        parts.append(f"{done:,}/{state['planned']:,} done")
    if failed:
        parts.append(f"{failed:,} failed")
    parts.append(f"{state.get('rate') or 0:.3g}/s")
    if state.get("eta_s") is not None:
        parts.append(_eta(state["eta_s"], state.get("eta_low_s"), state.get("eta_high_s")))
    n_slots = state.get("n_slots") or 0
    if n_slots > 1:
        busy = min(state.get("n_busy") or 0, n_slots)
        parts.append(f"{busy:,}/{n_slots:,} slots busy ({state.get('slot') or 'CPU'})")
    return ", ".join(parts)


def _eta(expected: float, low: float | None, high: float | None) -> str:
    unit, size = next(((u, s) for most, u, s in _UNITS if expected < most), ("days", 86_400.0))
    form = ".0f" if unit == "s" else ".3g"
    low, high = (low or 0.0) / size, (high or 0.0) / size
    between = f" ({low:{form}}-{high:{form}})" if f"{low:{form}}" != f"{high:{form}}" else ""
    return f"ETA {expected / size:{form}} {unit}{between}"


def slow_line(state: Mapping[str, Any]) -> str | None:
    """``slowest under way: n=500 width=64 seed=3 (62 s); ...``; None while none is slow."""
    slow = [u for u in state.get("slowest") or () if u["seconds"] >= SLOW_S]
    if not slow:
        return None
    named = (
        " ".join(f"{k}={v}" for k, v in u["params"].items()) + f" seed={u['seed']}" for u in slow
    )
    times = (f"({_time(u['seconds'])})" for u in slow)
    return "slowest under way: " + "; ".join(map(" ".join, zip(named, times, strict=True)))


def finishing_line(state: Mapping[str, Any]) -> str | None:
    """``finishing 2 runs for at most 5 s; Ctrl-C again stops now: n=500 seed=3 (12 s); ...``.

    None while the launch was not interrupted.
    """
    if state.get("finishing_s") is None:
        return None
    n, under_way = state.get("n_busy") or 0, state.get("slowest") or ()
    what = "a run" if n == 1 else f"{n:,} runs or groups"
    named = "; ".join(
        " ".join([*(f"{k}={v}" for k, v in u["params"].items()), f"seed={u['seed']}"])
        + f" ({_time(u['seconds'])})"
        for u in under_way
    )
    return (
        f"finishing {what} for at most {state['finishing_s']:g} s; Ctrl-C again stops now: {named}"
    )


def _time(seconds: float) -> str:
    unit, size = next(((u, s) for most, u, s in _UNITS if seconds < most), ("days", 86_400.0))
    return f"{seconds / size:{'.0f' if unit == 's' else '.3g'}} {unit}"


class _Progress(Sink):
    """Says each failure as it comes, the first few in full."""

    name = "progress"

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan, self._n = plan, 0

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)

    def outcome(self, outcome: Outcome) -> None:
        """Say a failure."""
        if outcome.status not in FAILURES:
            return
        self._n += 1
        if self._n <= MAX_FAILURE_LINES:
            reason = (outcome.error or "").splitlines()[:1]
            params = self._plan.params_of(outcome.index)
            point = " ".join(f"{k}={v}" for k, v in params.items())
            seed = self._plan.seed_of(outcome.index)
            run_id = self._plan.run_ids[outcome.index][:SHOWN_ID]
            said = f"{outcome.status}: {point} seed={seed}: {''.join(reason)} (run {run_id})"
            text = one_line(said)
            self.say(text, style="red")
        elif self._n == MAX_FAILURE_LINES + 1:
            self.say("more failures follow; they are rows in the table", style="red")


class _Live(_Progress):
    """The display at the foot of a terminal, with what is said above it."""

    def __init__(self, plan: Plan, shown: Display) -> None:
        super().__init__(plan)
        self._shown = shown
        self.say = shown.say  # type: ignore[method-assign]

    def progress(self, snapshot: Snapshot) -> None:
        """Show where the launch is."""
        state = describe_snapshot(snapshot)
        if (waits := finishing_line(state)) is not None:
            self.say(waits)
        self._shown.show(state)


class _Plain(_Progress):
    """One line every few seconds, for logs."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._last = self._last_slow = time.monotonic()
        self._ended = False

    def progress(self, snapshot: Snapshot) -> None:
        """Print a line, if it is time for one."""
        if (waits := finishing_line(describe_snapshot(snapshot))) is not None:
            print(waits, file=sys.stderr, flush=True)
        now = time.monotonic()
        ended = snapshot.done_before + snapshot.finished >= snapshot.planned
        if now - self._last < PLAIN_EVERY_S and not (ended and not self._ended):
            return
        state = describe_snapshot(snapshot)
        print(line(state), file=sys.stderr, flush=True)
        self._last, self._ended = now, ended
        slow = slow_line(state)
        if slow is not None and now - self._last_slow >= SLOW_EVERY_S:
            print(slow, file=sys.stderr, flush=True)
            self._last_slow = now


class Display:
    """A live display at the foot of a terminal: a bar with a line, and the slowest runs."""

    def __init__(self, console: Any, bar: Any, live: Any):
        self._console, self._bar, self._live = console, bar, live
        self._task = bar.add_task("starting", total=None)
        self._held: list[tuple[str, str | None]] | None = None  # said while it is paused

    def pause(self) -> None:
        """Leave the terminal alone: a debugger has it."""
        self._held = []
        self._live.stop()

    def resume(self) -> None:
        """Draw again, and say what was to be said meanwhile."""
        held, self._held = self._held or (), None
        self._live.start(refresh=True)
        for text, style in held:
            self.say(text, style)

    def say(self, text: str, style: str | None = None) -> None:
        """Print above the display."""
        if self._held is not None:
            self._held.append((text, style))
            return
        self._console.print(
            spelled(text), style=style, highlight=False, markup=False, soft_wrap=True
        )

    def show(self, state: Mapping[str, Any]) -> None:
        """Show where a launch is."""
        from rich.console import Group
        from rich.text import Text

        done = (state.get("done_before") or 0) + (state.get("finished") or 0)
        self._bar.update(
            self._task, total=state.get("planned"), completed=done, description=line(state)
        )
        slow = slow_line(state)
        foot = () if slow is None else (Text(one_line(slow), overflow="ellipsis", no_wrap=True),)
        self._live.update(Group(self._bar, *foot))


@contextmanager
def display() -> Iterator[Display]:
    """A Display on stderr, gone at the end."""
    from rich.console import Console
    from rich.live import Live
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    console = Console(file=own_stream(sys.stderr))
    bar = Progress(SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), console=console)
    with Live(bar, console=console, transient=True, refresh_per_second=5) as live:
        shown = Display(console, bar, live)
        with giving_way(shown):
            yield shown
