"""Processes that append rows of ``toy`` in a loop and say which are durable.

``URL NAME SECONDS``: be such a process.  ``--nursery``: start and kill them on demand, in no time:
``start URL NAME OUTPUT`` and ``kill PID`` on stdin are answered by the pid on stdout.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import pandas  # noqa: F401  (pyarrow would import it with the first row)
from rows import row
from toys import toy

from lawsweep.store.parquet import ParquetTable


def drive(url, name, seconds):
    """Append three rows of its own and one that others append too; a line of ids after each."""
    table, i, end = ParquetTable(url, toy), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        ids = [f"{name}-{i + k}" for k in range(3)] + [f"shared-{i}"]
        table.append([row(x) for x in ids])
        print(*ids, flush=True)
        i += 3


def nursery():
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "kill":
            os.kill(int(rest[0]), signal.SIGKILL)
            os.waitpid(int(rest[0]), 0)
            print(rest[0], flush=True)
            continue
        url, name, output = rest
        pid = os.fork()  # nothing has started a thread by now
        if pid == 0:
            sys.stdout = open(output, "w", encoding="utf-8")  # noqa: PTH123, SIM115
            drive(url, name, 60.0)
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--nursery":
        nursery()
    else:
        drive(sys.argv[1], sys.argv[2], float(sys.argv[3]))
