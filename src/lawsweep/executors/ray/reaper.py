"""Ends a local Ray whose driver died: no process outlives its sweep.

Ray's own processes die with the driver, except two agents that take about a minute to notice.
The executor starts this module as a process of its own, with a pipe as its input.  When the pipe
closes without the word ``done``, the driver is gone, and whatever belongs to that Ray is killed:
processes that inherited the mark in their environment, and (some overwrite their environment with
a title) those that have a file of the session folder open.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import psutil

MARK = "LAWSWEEP_RAY_MARK"
GRACE_S = 0.5  # most of Ray ends by itself within this


class Reaper:
    """The driver's end: starts the process, tells it the session folder, releases it."""

    def __init__(self, mark: str):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lawsweep.executors.ray.reaper", mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal is not for the reaper
        )

    def watch(self, session_folder: str) -> None:
        """Name the folder in which the processes of this Ray keep their logs."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{session_folder}\n".encode())
        self._process.stdin.flush()

    def end_all(self) -> None:
        """Have everything that belongs to this Ray killed, and wait until it is."""
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=30)

    def release(self) -> None:
        """Say that Ray was stopped in order, and wait for the reaper to go."""
        if self._process.poll() is not None:
            return
        try:
            self._process.communicate(b"done\n", timeout=10)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()


def reap(mark: str, folders: list[str]) -> int:
    """Kill every other process that belongs to the marked Ray; how many there were."""
    killed = 0
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _belongs(process, mark, folders):
                process.kill()
                killed += 1
        except psutil.Error:
            continue  # ended meanwhile, or another user's
    return killed


def _belongs(process: psutil.Process, mark: str, folders: list[str]) -> bool:
    if process.status() == psutil.STATUS_ZOMBIE:
        return False
    if process.environ().get(MARK) == mark:
        return True
    if not process.name().startswith("ray"):
        return False
    return any(f.path.startswith(folder) for f in process.open_files() for folder in folders)


def main(mark: str) -> None:
    """Read until the pipe ends; without the word ``done``, kill until nothing is left."""
    lines = sys.stdin.buffer.read().decode().split("\n")
    if "done" in lines:
        return
    folders = [line for line in lines if line]
    time.sleep(GRACE_S)
    while reap(mark, folders):
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1])
