"""Which run is under way here, for what it calls without naming itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from lawsweep.core.during.curve import Curve, checked
from lawsweep.core.during.keeper import Keeper
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import RunSpec, Told


class UnderWay:
    """A run that is executed here: its curve and its checkpoint."""

    def __init__(self, run: RunSpec, started_at: float):
        self.curve = Curve(run.index, run.attempt, started_at, _listener.get())
        self._run = run
        self._keeper: Keeper | None = None

    @property
    def keeper(self) -> Keeper:
        """Of what it keeps; most runs keep nothing."""
        if self._keeper is None:
            with _making:
                self._keeper = self._keeper or Keeper(self._run)
        return self._keeper

    def left(self) -> dict[str, Any]:
        """What it left on its way, for its Outcome."""
        found: dict[str, Any] = {"curve": self.curve.rest()}
        if self._keeper is not None:
            found |= {"resumed": self._keeper.resumed, "saved": self._keeper.is_there}
        return found

    def close(self) -> None:
        """It has ended."""
        if self._keeper is not None:
            self._keeper.close()


# Who is told of a run while it is under way: set by an executor in the thread that executes.
_listener: ContextVar[Callable[[Told], None] | None] = ContextVar("listener", default=None)
# By the thread that executes it.  Two launches of one program may be serial, each in its thread.
_runs: dict[int, UnderWay | None] = {}


_making = threading.Lock()  # of a keeper, by threads of one run


# The two are around every run: classes, which cost a third of what generators do.
class listened:  # noqa: N801
    """Within, ``tell`` is called about once a second with what the run under way reported.

    From the thread that reports, in the middle of the run: it returns at once.
    """

    __slots__ = ("_before", "_tell")

    def __init__(self, tell: Callable[[Told], None] | None):
        self._tell = tell

    def __enter__(self) -> None:
        self._before = _listener.set(self._tell)

    def __exit__(self, *error: object) -> None:
        _listener.reset(self._before)


class under_way:  # noqa: N801
    """Within, ``run`` is what is reported and kept; None: many runs at once, which cannot."""

    __slots__ = ("_here", "_is_within", "_one", "_outer")

    def __init__(self, run: RunSpec | None, started_at: float = 0.0):
        self._one = None if run is None else UnderWay(run, started_at)

    def __enter__(self) -> UnderWay | None:
        self._here = here = threading.get_ident()
        self._is_within, self._outer = here in _runs, _runs.get(here)  # a run that runs a sweep
        _runs[here] = self._one
        return self._one

    def __exit__(self, *error: object) -> None:
        if self._is_within:
            _runs[self._here] = self._outer
        else:
            _runs.pop(self._here, None)
        if self._one is not None:
            self._one.close()


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
