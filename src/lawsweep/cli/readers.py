"""Whoever reads what a command prints may go away (``| head -1``, a closed terminal, a full disk).

What a command computes and writes is not for that reader.  So its streams take what can no longer
be written and forget it; only a verb that does nothing but print ends there.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Readers:
    """Which of stdout (1) and stderr (2) could not be written any more, and why.

    ``ends``: the command ends at the first such write, by the OSError; else it goes on.
    """

    def __init__(self) -> None:
        self.lost: dict[int, OSError] = {}
        self.ends = False


class _Stream(io.FileIO):
    """A descriptor that is turned to nowhere when it cannot be written."""

    def __init__(self, number: int, readers: Readers):
        super().__init__(number, "wb", closefd=False)
        self._readers = readers

    def write(self, data: Any, /) -> int:
        """Write what can be written."""
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            self._readers.lost.setdefault(self.fileno(), error)
            # Also for what writes there without us: libraries, and processes that are started.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self._readers.ends:
                raise
            return memoryview(data).nbytes


@contextlib.contextmanager
def lasting() -> Iterator[Readers]:
    """stdout and stderr of this process, for as long as its command takes, and what became of them.

    They stay so afterwards where one was lost: what is still in a buffer has nowhere to go.
    """
    readers, before = Readers(), (sys.stdout, sys.stderr)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell: >&-
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  (as long as we live)
        else:
            setattr(sys, name, _like(stream, number, readers))
    try:
        yield readers
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        if not readers.lost:
            sys.stdout, sys.stderr = before


def _like(stream: Any, number: int, readers: Readers) -> io.TextIOWrapper:
    """A text stream on the descriptor, as ``stream`` is."""
    with contextlib.suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(number, readers)),
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
