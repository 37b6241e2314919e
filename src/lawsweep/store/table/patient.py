"""A table that waits for its store: a full disk or a lost mount need not end a launch."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import StoreError
from lawsweep.core.experiment import Experiment
from lawsweep.core.protocols import Done, Table

if TYPE_CHECKING:
    from lawsweep.core.protocols import Arrays

PATIENCE_S = 60.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
NAP_S = 0.1  # how soon a signal ends a wait


class PatientTable:
    """Passes everything on to ``table``; an append that fails is tried again for ``patience_s``.

    The launch stands still meanwhile: what workers finish stays in memory.  ``say`` is told when
    a pause begins and ends.  SIGINT or SIGTERM cuts the wait short to one more try.  Patience is
    spent once: after a wait in vain, an append is tried a single time, until one succeeds.
    """

    def __init__(
        self,
        table: Table,
        patience_s: float = PATIENCE_S,
        say: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.table, self.patience_s, self._say = table, patience_s, say
        self._sleep, self._clock = sleep or self._nap, clock
        self._in_vain = ""  # what an earlier wait in vain is told by
        self._is_called = False  # a signal has come

    @property
    def impatient(self) -> Table:
        """The table, whose append fails at once."""
        return self.table

    def check_writable(self) -> None:
        """As the table's."""
        self.table.check_writable()

    def done(self, run_ids: Collection[str]) -> Mapping[str, Done]:
        """As the table's."""
        return self.table.done(run_ids)

    def news(self, columns: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
        """As the table's; none while it cannot be read."""
        with suppress(StoreError):
            return self.table.news(columns)
        return ()

    def learn(self, experiment: Experiment) -> None:
        """As the table's."""
        self.table.learn(experiment)

    def append(
        self, rows: Sequence[Mapping[str, Any]], arrays: Sequence[Arrays | None] | None = None
    ) -> None:
        """Make rows durable, all or none, waiting for the store if need be.  Raises StoreError."""
        more = () if arrays is None else (arrays,)
        try:
            self.table.append(rows, *more)
        except StoreError as error:
            if self._in_vain:
                raise StoreError(f"{error} {self._in_vain}") from None
            if not self.patience_s:
                raise
            # Spent while it lasts: an interrupt in it must not be followed by another wait.
            self._in_vain = f"Waited for it in vain (store.patience_s={self.patience_s:g})."
            with self._listening():
                self._wait(error, lambda: self.table.append(rows, *more), len(rows))
        self._in_vain = ""

    def append_curves(self, points: Sequence[Any]) -> None:
        """As the table's, without patience: rows come with them, and have some."""
        self.table.append_curves(points)

    def _wait(self, error: StoreError, append: Callable[[], None], n_rows: int) -> None:
        start, wait_s = self._clock(), FIRST_WAIT_S
        self._say(
            f"paused: {error} Holding {n_rows:,} finished rows in memory; trying again for "
            f"{self.patience_s:g} s (store.patience_s)."
        )
        while True:
            left = self.patience_s - (self._clock() - start)
            if left <= 0 or self._is_called:
                raise StoreError(f"{error} {self._in_vain}")
            self._sleep(min(wait_s, left))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            try:
                append()
            except StoreError as again:
                error = again
                continue
            self._say(f"resumed after {self._clock() - start:.0f} s: the rows are written.")
            return

    def hurry(self) -> None:
        """Wait no longer than for one more try, as at a Ctrl-C; from any thread."""
        self._is_called = True

    def _nap(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._is_called:
            time.sleep(min(left, NAP_S))

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Hear SIGINT and SIGTERM; whoever handled them before is told as well.

        A launch may hold them back until it is between two writes, which it now never is.
        """
        self._is_called = False
        before: dict[int, Callable[[int, Any], Any]] = {}

        def called(number: int, frame: Any) -> None:
            self._is_called = True
            before[number](number, frame)

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):  # SIG_DFL and SIG_IGN are not: they stay as they are
                    before[number] = handler
                    signal.signal(number, called)
        try:
            yield
        finally:
            for name, old in before.items():
                signal.signal(name, old)
