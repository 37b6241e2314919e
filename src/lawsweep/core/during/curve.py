"""The curve of one run, where it runs: checked, thinned, and told now and then.

Of the reports of a run the first 2 FULL are kept, of the next 2 FULL each second, of the next
4 FULL each fourth and so on, and the last: as many of each doubling, whatever their number, so a
million reports leave some six thousand points.  Which are kept depends on their number alone, and
no point that was kept is taken back: it can be written as it comes.
"""

from __future__ import annotations

import math
import numbers
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

from lawsweep.core.definition import RESERVED
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.functions import CONSTANTS
from lawsweep.core.names import alike, folded
from lawsweep.core.outcome import Point, Told

FULL = 512
MOST_METRICS = 64  # names in a run's curve: more are numbers that stand in names
MOST_STEP = 2**63 - 1
TELL_S = 1.0  # between two messages of a run that is under way
COLUMNS = ("step",)  # those of a curve that a row has not
_TAKEN = {folded(n): n for n in (*RESERVED, *COLUMNS)}


class StoppedEarlyError(BaseException):
    """The launch has stopped this run (``stop_runs``): raised by ``report``.

    No Exception, so that an experiment's own ``except Exception`` does not swallow it.
    """

    status: Literal["stopped"] = "stopped"


def is_kept(i: int) -> bool:
    """Whether the report number ``i``, from 0, is a point of the curve where others follow it."""
    return i % (1 << max(0, (i // FULL).bit_length() - 1)) == 0


class Curve:
    """What one attempt of a run has reported; any thread of it may."""

    def __init__(
        self,
        index: int,
        attempt: int,
        started_at: float,
        tell: Callable[[Told], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._key, self._tell, self._clock = (index, attempt, started_at), tell, clock
        self._points: list[Point] = []  # kept and not told
        self._last: tuple[int, dict[str, float]] | None = None
        self._n, self._names, self._lock = 0, set[str](), Lock()
        self._told_at = clock()
        self._is_over, self._stop, self._process = False, "", os.getpid()

    def report(self, step: Any, metrics: Mapping[str, Any]) -> None:
        """Take a report.  Raises InvalidValueError for what is none.

        The same step again adds to what was reported at it, or replaces it.
        """
        step, values = checked(step, metrics)
        with self._lock:
            if self._is_over:
                return  # a thread that outlived its run
            self._check_names(values)
            if self._last is None or step > self._last[0]:
                self._next(step, values)
            elif step == self._last[0]:
                self._last[1].update(values)
            else:
                raise InvalidValueError(
                    f"report was given step {step} after step {self._last[0]}; steps of a run do "
                    "not go back. Count on, or report what belongs to one step together."
                )
            if self._tell is not None and self._clock() - self._told_at >= TELL_S:
                self._say(self._tell)
        if self._stop:
            raise StoppedEarlyError(self._stop)

    def stop(self, run: int, why: str) -> None:
        """The launch stops this run: its next report raises."""
        if run == self._key[0]:
            self._stop = why

    def _check_names(self, values: Mapping[str, float]) -> None:
        new = values.keys() - self._names
        if not new:
            return
        if (n := len(self._names) + len(new)) > MOST_METRICS:
            raise InvalidValueError(
                f"report takes at most {MOST_METRICS} different metrics a run, got {n}. A number "
                "in a metric's name belongs into the step."
            )
        if pair := alike(sorted(new), self._names):
            raise InvalidValueError(
                f"report was given {pair[1]!r} and {pair[0]!r}, which are one name to SQL; rename "
                "one of them."
            )
        self._names |= new

    def _next(self, step: int, values: dict[str, float]) -> None:
        if self._last is not None:
            if is_kept(self._n):
                self._points.append(self._last)
            self._n += 1
        self._last = (step, values)

    def _say(self, tell: Callable[[Told], None]) -> None:
        """Tell what is new, under the lock: its ``rest`` comes after, whoever tells.

        That nobody can be told just now costs the run nothing: it is told later.
        """
        if os.getpid() != self._process:  # a child has copies of what it would be told by
            return
        self._told_at = self._clock()
        last = None if self._last is None else (self._last[0], dict(self._last[1]))
        told = self._taken(last)
        try:
            tell(told)
        except BaseException as error:
            self._points[:0] = told.points
            if not isinstance(error, Exception):
                raise

    def _taken(self, last: Point | None) -> Told:
        points, self._points = self._points, []
        return Told(*self._key, tuple(points), last)

    def rest(self) -> Told | None:
        """What was not told, at the end of the run; None where it reported nothing at all."""
        with self._lock:
            self._is_over = True
            if self._last is None:
                return None
            self._points.append(self._last)
            return self._taken(None)


def checked(step: Any, metrics: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """A report in plain numbers.  Raises InvalidValueError, with what was expected."""
    at = -1
    if type(step) is int:
        at = step
    elif not isinstance(step, bool):
        with suppress(TypeError, AttributeError):  # as of arrays and tensors of no one integer
            at = step.__index__()
    if not 0 <= at <= MOST_STEP:
        raise InvalidValueError(
            f"report takes a step that is a whole number from 0, and metrics by name, got step "
            f"{step!r}. Count steps: report(10, loss=0.5)."
        )
    if not metrics:
        raise InvalidValueError(
            f"report was given no metric at step {at}; give some by name: report({at}, loss=0.5)."
        )
    return at, {name: _value(name, value) for name, value in metrics.items()}


@lru_cache(maxsize=1024)
def check_name(name: str) -> None:
    """Raise InvalidValueError for a name that no metric of a curve can have."""
    if not name.isidentifier():
        raise InvalidValueError(
            f"A metric is named as a variable is (letters, digits, _), got {name!r} in report."
        )
    if name in CONSTANTS:
        raise InvalidValueError(f"{name!r} is a constant in expressions; rename it in report.")
    if folded(name) in _TAKEN:
        raise InvalidValueError(
            f"{name!r} is a column that a row or a curve has already; rename it in report."
        )


def _value(name: str, value: Any) -> float:
    check_name(name)
    if type(value) is float:
        return value
    if not isinstance(value, numbers.Real) and not isinstance(value, str | bytes):
        item = getattr(value, "item", None)  # an array or a tensor of one number
        with suppress(ValueError, RuntimeError):
            value = item() if callable(item) else value
    if isinstance(value, numbers.Real):
        number: Any = value
        try:
            return float(value)
        except OverflowError:
            return math.inf if number > 0 else -math.inf
    raise InvalidValueError(
        f"report takes numbers (NaN and infinity are kept), got {name}={str(value)[:80]!r} of type "
        f"{type(value).__name__}. Leave out what a step has not."
    )
