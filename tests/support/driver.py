"""Processes that append rows of ``toy`` in a loop and say which are durable, on demand."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pandas  # noqa: F401  (pyarrow would import it with the first row)
from rows import row
from toys import toy

from lawsweep.store.table.parquet import ParquetTable


def drive(url, name, n_appends):
    """Append three rows of its own and one that others append too; a line of ids after each."""
    table = ParquetTable(url, toy)
    for i in range(0, 3 * n_appends, 3):
        ids = [f"{name}-{i + k}" for k in range(3)] + [f"shared-{i}"]
        table.append([row(x) for x in ids])
        print(*ids, flush=True)


def acknowledged(outputs):
    """The ids in whole lines of what drivers have said."""
    lines = [line for p in outputs for line in p.read_text().rpartition("\n")[0].splitlines()]
    return {run_id for line in lines for run_id in line.split()}


@contextlib.contextmanager
def drivers():
    """Gives ``ask``: ``ask("start", url, name, output, n_appends)`` is a driver's pid, at once.

    ``ask("kill", pid)`` kills it, ``ask("ended", pid)`` is its exit status, None while it runs.
    One process has imported all that a driver needs, and forks.
    """
    nursery = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        bufsize=1,
    )  # fmt: skip

    def ask(*words):
        print(*words, file=nursery.stdin)
        answer = nursery.stdout.readline().strip()
        return int(answer) if answer else None

    with nursery:
        yield ask
        nursery.stdin.close()


def answer(word, *rest):
    if word == "start":
        url, name, output, n_appends = rest
        pid = os.fork()  # nothing has started a thread by now
        if pid == 0:
            sys.stdout = open(output, "w", encoding="utf-8")  # noqa: PTH123, SIM115
            drive(url, name, int(n_appends))
            sys.stdout.flush()
            os._exit(0)
        return pid
    pid = int(rest[0])
    if word == "kill":
        os.kill(pid, signal.SIGKILL)
        return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else ""


if __name__ == "__main__":
    for line in sys.stdin:
        print(answer(*line.split()), flush=True)
