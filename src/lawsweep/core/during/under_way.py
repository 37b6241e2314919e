"""Which run is under way here, for what it calls without naming itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lawsweep.core.during.curve import Curve, checked
from lawsweep.core.during.keeper import Keeper
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import Outcome, RunSpec, Told


class UnderWay:
    """A run that is executed here: its curve and its checkpoint."""

    def __init__(self, run: RunSpec, started_at: float):
        self.curve = Curve(run.index, run.attempt, started_at, _listener.get())
        self.keeper = Keeper(run)

    def ended(self, outcome: Outcome) -> Outcome:
        """The outcome with what it left on its way."""
        keeper = self.keeper
        return outcome._replace(
            curve=self.curve.rest(), resumed=keeper.resumed, saved=keeper.is_there
        )


# Who is told of a run while it is under way: set by an executor in the thread that executes.
_listener: ContextVar[Callable[[Told], None] | None] = ContextVar("listener", default=None)
# By the thread that executes it.  Two launches of one program may be serial, each in its thread.
_runs: dict[int, UnderWay | None] = {}


@contextmanager
def listened(tell: Callable[[Told], None] | None) -> Iterator[None]:
    """Within, ``tell`` is called about once a second with what the run under way reported.

    From the thread that reports, in the middle of the run: it raises nothing and returns at once.
    """
    before = _listener.set(tell)
    try:
        yield
    finally:
        _listener.reset(before)


@contextmanager
def under_way(run: RunSpec | None, started_at: float = 0.0) -> Iterator[UnderWay | None]:
    """Within, ``run`` is what is reported and kept; None: many runs at once, which cannot."""
    here = threading.get_ident()
    one = None if run is None else UnderWay(run, started_at)
    is_within, outer = here in _runs, _runs.get(here)  # a run that itself runs a sweep
    _runs[here] = one
    try:
        yield one
    finally:
        if is_within:
            _runs[here] = outer
        else:
            _runs.pop(here, None)
        if one is not None:
            one.keeper.close()


def current(what: str = "report") -> UnderWay | None:
    """The run that this thread belongs to; None outside a launch.

    A thread that a run has started is taken for the run's where there is but one.  Raises
    InvalidValueError where many runs are computed at once.
    """
    known = dict(_runs)
    here = threading.get_ident()
    if here not in known:
        if len(known) != 1:
            return None
        (here,) = known
    if known[here] is None:
        raise InvalidValueError(
            f"{what} is of one run, and many are computed at once here. Leave it out of the "
            "fused form; executor.fuse=false computes one run after the other."
        )
    return known[here]


def stop_run(run: int, why: str) -> None:
    """The launch stops a run: where it is under way here, its next report raises."""
    for one in list(_runs.values()):
        if one is not None:
            one.curve.stop(run, why)


def is_under_way() -> bool:
    """Whether a launch is executing a run in this process."""
    return bool(_runs)


def report(step: Any, metrics: Mapping[str, Any]) -> None:
    """Metrics of the run under way at a step of it; outside a launch they are checked and no more.

    Raises InvalidValueError.
    """
    here = current()
    if here is None:
        checked(step, metrics)
    else:
        here.curve.report(step, metrics)
