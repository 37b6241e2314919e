"""Ctrl-C and SIGTERM, held back while a launch is between two consistent states.

A KeyboardInterrupt may be raised at any bytecode: also between a part being durable and the
committer forgetting its rows, or between a merged part and the removal of its sources.  The rows
would then be written twice (which readers bear), or a finished run forgotten.  So a launch holds
signals back and asks for them where it can stop.
"""

from __future__ import annotations

import ctypes
import functools
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 3  # a signal that comes so often is delivered whatever is under way

# Signals that were answered by a KeyboardInterrupt.  Raised in a destructor, in a callback of a
# library or under somebody's bare except it is lost; who starts something long asks here.
_asked: list[int] = []


def interrupt(number: int, frame: Any) -> None:
    """A handler that raises KeyboardInterrupt, and remembers it."""
    _asked.append(number)
    raise KeyboardInterrupt


@contextmanager
def heeded() -> Iterator[None]:
    """Within, SIGTERM is a Ctrl-C (SLURM and Kubernetes end a job with it), and neither is lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    ours = [n for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]  # nohup, cmd &
    before = [(number, signal.signal(number, interrupt)) for number in ours]
    try:
        yield
    finally:
        _asked.clear()
        for number, handler in before:
            signal.signal(number, handler)


class Interrupts:
    """Holds SIGINT and SIGTERM back inside its ``with``, in the main thread.

    A signal is delivered by calling the handler that was there before (Python's own raises
    KeyboardInterrupt): by ``deliver``, at once inside ``released``, and else at the end of the
    ``with``; what was lost before counts as held back.  The third is delivered at once: a store
    that hangs must not hold a person.  Signals without a Python handler (SIGTERM, as a rule: it
    kills, which the table bears) stay as they are.

    ``ask`` does the same without a signal, in whichever thread: for who holds the launch's handle.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._is_asked = False
        self._before: dict[int, Callable[[int, Any], Any]] = {}
        self._held: list[int] = []
        self._n_seen = 0
        self._open = False

    def ask(self) -> None:
        """A KeyboardInterrupt in the thread of the ``with``, where it can stop; from any thread."""
        with self._lock:
            self._is_asked = (
                True  # also where it is raised at once: somebody's bare except may eat it
            )
            if self._open:
                _raise_in(self._thread, KeyboardInterrupt)

    def heard(self) -> None:
        """What was asked for is being done."""
        self._is_asked = False

    def came(self) -> bool:
        """Whether somebody has asked, by a signal or ``ask``; else a run raised its own."""
        return self._is_asked or self._n_seen > 0

    def __enter__(self) -> Interrupts:
        self._thread = threading.get_ident()
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if callable(before) and not isinstance(before, signal.Handlers):
                    self._before[number] = before
                    signal.signal(number, self._take)
            self._held = [number for number in _asked if number in self._before]
            _asked.clear()
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if error[0] is None:
            self._hand_on()  # what was asked for this launch alone came too late for it

    def _take(self, number: int, frame: Any) -> None:
        self._n_seen += 1
        if self._open or self._n_seen >= PATIENCE:
            self._before[number](number, frame)
        else:
            self._held.append(number)

    def deliver(self) -> None:
        """Hand on what was held back; as a rule this raises KeyboardInterrupt."""
        if self._is_asked:
            raise KeyboardInterrupt
        self._hand_on()

    def _hand_on(self) -> None:
        while self._held:
            number = self._held.pop(0)
            self._before[number](number, None)

    def held_again(self) -> _HeldAgain:
        """Within ``released`` for a while: what comes is delivered at the end of it."""
        return _HeldAgain(self)

    def hold(self) -> None:
        """What comes now waits."""
        with self._lock:
            self._open = False
        _settle()

    def let_go(self) -> None:
        """What comes now is delivered at once, and first what waits."""
        self._open = True
        self.deliver()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Inside, signals are delivered as they come, beginning with those held back."""
        try:
            self._open = True
            self.deliver()
            yield
        finally:
            with self._lock:
                self._open = False
            _settle()


class _HeldAgain:
    """See ``held_again``, which is around every run of this process; an error passes it held."""

    __slots__ = ("_of",)

    def __init__(self, of: Interrupts):
        self._of = of

    def __enter__(self) -> None:
        self._of.hold()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self._of.let_go()


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Have a thread raise ``error`` at its next bytecode, as a signal is in the main thread."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _settle() -> None:
    """An error that another thread has set is raised in here, and not a little later.

    Python looks for one where a function is entered and where a loop turns.
    """
    for _ in range(2):
        pass


class Waited(Protocol):
    """What is under way in a thread of its own; an interrupt while ``wait`` waits is one for it."""

    def wait(self) -> object:
        """Return, or raise, when it has ended."""


_STARTED: weakref.WeakSet[Waited] = weakref.WeakSet()


def wait_at_exit(launch: Waited) -> None:
    """Have the program ``wait`` for the launch before it ends.

    Python itself would wait for its thread, but not heed a Ctrl-C meanwhile: what had finished
    would be lost.
    """
    _register()
    _STARTED.add(launch)


@functools.cache
def _register() -> None:
    # ``atexit`` comes after the wait for threads, and what comes before it has no public name.
    if (register := getattr(threading, "_register_atexit", None)) is not None:
        with suppress(RuntimeError):  # the program is ending already
            register(_wait_for_all)


def _wait_for_all() -> None:
    for launch in list(_STARTED):
        with suppress(BaseException):  # it ended with an error, which is for who waits himself
            launch.wait()
