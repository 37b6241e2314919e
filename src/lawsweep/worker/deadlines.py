"""How long a run may take: a signal that ends Python code where it is."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any, Literal


class RunTimeoutError(BaseException):
    """A run took longer than ``on_failure.timeout_s``.

    No Exception, so that an experiment's own ``except Exception`` does not swallow it.
    """

    status: Literal["timeout"] = "timeout"


class Deadline:
    """Raises RunTimeoutError in its ``with``, once, after ``seconds``; ``passed`` says that it was
    over, also where the run used the signal for something of its own and nothing was raised.

    By a signal, so it ends Python code at the next bytecode; a call that never returns to Python
    is ended from outside, by the runner.
    """

    passed = False

    def __init__(self, seconds: float, message: str):
        self._seconds, self.message = seconds, message
        self._over = False

    def _late(self, signum: int, frame: Any) -> None:
        if not self._over:
            self.passed = self._over = True
            raise RunTimeoutError(self.message)

    def __enter__(self) -> None:
        self._start = time.perf_counter()
        self._before = signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *error: object) -> None:
        self._over = True
        self.passed = self.passed or time.perf_counter() - self._start > self._seconds
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)


class NoDeadline:
    """For a run that may take as long as it likes."""

    passed, message = False, ""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


def deadline(seconds: float | None, named: str, timeout_s: float | None) -> Deadline | NoDeadline:
    """A deadline of ``seconds`` that its message calls ``named``; off the main thread none."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        return NoDeadline()
    return Deadline(seconds, f"longer than {named}={timeout_s}")
