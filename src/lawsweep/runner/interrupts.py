"""Ctrl-C and SIGTERM, held back while a launch is between two consistent states.

A KeyboardInterrupt may be raised at any bytecode: also between a part being durable and the
committer forgetting its rows, or between a merged part and the removal of its sources.  The rows
would then be written twice (which readers bear), or a finished run forgotten.  So a launch holds
signals back and asks for them where it can stop.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 3  # a signal that comes so often is delivered whatever is under way


class Interrupts:
    """Holds SIGINT and SIGTERM back inside its ``with``, in the main thread.

    A signal is delivered by calling the handler that was there before (Python's own raises
    KeyboardInterrupt): by ``deliver``, at once inside ``released``, and else at the end of the
    ``with``.  The third is delivered at once: a store that hangs must not hold a person.  Signals
    without a Python handler (SIGTERM, as a rule: it kills, which the table bears) stay as they are.
    """

    def __init__(self) -> None:
        self._before: dict[int, Callable[[int, Any], Any]] = {}
        self._held: list[int] = []
        self._n_seen = 0
        self._open = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if callable(before) and not isinstance(before, signal.Handlers):
                    self._before[number] = before
                    signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if error[0] is None:
            self.deliver()

    def _take(self, number: int, frame: Any) -> None:
        self._n_seen += 1
        if self._open or self._n_seen >= PATIENCE:
            self._before[number](number, frame)
        else:
            self._held.append(number)

    def deliver(self) -> None:
        """Hand on what was held back; as a rule this raises KeyboardInterrupt."""
        while self._held:
            number = self._held.pop(0)
            self._before[number](number, None)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Inside, signals are delivered as they come, beginning with those held back."""
        self._open = True
        try:
            self.deliver()
            yield
        finally:
            self._open = False
