"""What a run printed last, kept with the row of one that failed, and what its failure says."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from lawsweep.core.schema import printable
from lawsweep.core.secrets import hide

MOST = 8_000  # characters of a run's output that its row keeps


class Tail:
    """The end of what was written to stdout and stderr, in the order it was written."""

    def __init__(self, most: int = MOST):
        self._pieces: deque[str] = deque()
        self._n, self._most = 0, most
        self.cut = False

    def add(self, text: str) -> None:
        """Remember, and forget what is too long ago."""
        if len(text) > self._most:
            text, self.cut = text[-self._most :], True
        self._pieces.append(text)
        self._n += len(text)
        while self._n - len(self._pieces[0]) >= self._most:
            self._n -= len(self._pieces.popleft())
            self.cut = True

    def text(self) -> str:
        """What is remembered."""
        found = "".join(self._pieces)
        self.cut |= len(found) > self._most
        return found[-self._most :]

    def below(self, traceback: str | None) -> str | None:
        """What is remembered, below a failure's traceback; that alone where nothing is."""
        said = hide(printable(self.text())).strip("\n")
        if not said:
            return traceback
        title = f"Last printed{f' ({self._most:,} characters)' if self.cut else ''}:"
        before = f"{traceback.rstrip()}\n\n" if traceback else ""
        return f"{before}{title}\n{said}\n"


class _Heard:
    """A stream that also tells a Tail what is written to it; all else is the stream's own."""

    def __init__(self, stream: Any, tail: Tail):
        self._stream, self._tail = stream, tail

    def write(self, text: str) -> int:
        if isinstance(text, str):
            self._tail.add(text)
        return int(self._stream.write(text) or 0)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def heard(tail: Tail) -> Iterator[None]:
    """Within, what Python writes to stdout and stderr goes on there, and its end is kept.

    What a library writes to the descriptors itself, or a logger that was there before to the
    stream it holds, is not heard.
    """
    before = (sys.stdout, sys.stderr)
    ours = tuple(None if s is None else _Heard(s, tail) for s in before)
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        if sys.stdout is ours[0]:
            sys.stdout = before[0]
        if sys.stderr is ours[1]:
            sys.stderr = before[1]


def said(failure: BaseException) -> str:
    """What an exception says, whatever its ``__str__`` does."""
    try:
        return hide(printable(str(failure)))
    except Exception:  # noqa: BLE001
        return "(its message cannot be read)"
