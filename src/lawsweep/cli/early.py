"""The first moments of the command, while the rest of it is being imported: nothing has begun."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def begin() -> None:
    """In a process that is the ``lawsweep`` command, Ctrl-C and SIGTERM end it quietly.

    Elsewhere nothing is done.
    """
    words = sys.orig_argv[1:3]
    if "lawsweep.cli.main" in words or any(os.path.basename(w) == "lawsweep" for w in words):  # noqa: PTH119
        for number in (0, 1, 2):
            try:
                os.fstat(number)
            except OSError:  # closed by the shell: the next file that is opened would be it
                os.open(os.devnull, os.O_RDWR)
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _leave)


def _leave(number: int, frame: Any) -> None:
    os.write(2, b"lawsweep: interrupted\n")
    os._exit(130)
