"""A program and all that it starts, from its start to its end: none of it outlives the run.

It leads a process group of its own.  When it has ended, when the run is cut off (a deadline, a
Ctrl-C) and when the worker is killed, the group is ended: by this process, or by a watcher that
waits at a pipe whose other end goes with the worker.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lawsweep.core.errors import InvalidValueError

GRACE_S = 1.0  # between the request to end and the end
DRAIN_S = 5.0  # for what it wrote to arrive, once it has ended
_CHUNK = 65_536
_LONGEST = 16 * 2**20  # bytes of one line; of what is longer the beginning is kept
NOT_FOUND, NOT_RUN = 127, 126


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code (-n: by signal n), and what it wrote, as far as kept."""

    code: int
    out: str
    err: str
    cut: bool


def run_process(
    words: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    log_bytes: int,
    hear: Callable[[bytes], None] | None = None,
) -> Ended:
    """Run a program to its end in ``folder``; what it writes is in stdout.txt and stderr.txt.

    Of each the first and the last of ``log_bytes`` are kept.  ``hear`` is told, by another thread,
    what it writes to stdout, as it comes.  Raises InvalidValueError for one that
    cannot be started, and whatever interrupts it.
    """
    program: _Program | None = None
    try:
        with _signals_held():
            program = _Program(words, folder, env, log_bytes, hear)
        code = program.process.wait()
    finally:
        if program is not None:
            with _signals_held():
                program.end()
    return Ended(code, program.out.text(), program.err.text(), program.out.cut)


@contextmanager
def _signals_held() -> Iterator[None]:
    """What a signal would raise is raised at the end: no program is half started or half ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    ours = {n: handler for n, handler in before.items() if callable(handler)}
    for number in ours:
        signal.signal(number, lambda n, frame: came.append(n))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for once in dict.fromkeys(came):
            ours[signal.Signals(once)](once, None)


class _Program:
    """A program under way, its watcher and its logs."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        log_bytes: int,
        hear: Callable[[bytes], None] | None,
    ):
        self.process = _popen(words, folder, env)
        self._watcher = _watch(self.process.pid)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = _Log(self.process.stdout, folder / "stdout.txt", log_bytes, hear)
        self.err = _Log(self.process.stderr, folder / "stderr.txt", log_bytes)

    def end(self) -> None:
        """End what is left of it, and take what it wrote."""
        _end_group(self.process)
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            assert self._watcher.stdin is not None
            self._watcher.stdin.close()
        self.out.close()
        self.err.close()


def _popen(words: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise InvalidValueError(
            f"There is no program {words[0]!r} on PATH of {os.uname().nodename}; check the first "
            "word of the command, or write its whole path."
        ) from None
    except PermissionError:
        raise InvalidValueError(
            f"{words[0]!r} cannot be run: no permission. Make it executable, or name the program "
            "that runs it."
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidValueError(
            f"{words[0]!r} cannot be run: {error}. Name another program, or mend this one."
        ) from None


def _watch(group: int) -> subprocess.Popen[bytes] | None:
    """A process that ends the group when this one is gone: its input is then at its end."""
    with suppress(OSError):
        return subprocess.Popen(
            ["/bin/sh", "-c", f"read _; kill -s KILL -- -{group}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the program, and what it started: asked first where it is still there."""
    try:
        if process.poll() is None:
            _tell(process.pid, signal.SIGTERM)
            end = time.monotonic() + GRACE_S
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
    finally:
        _tell(process.pid, signal.SIGKILL)
        process.wait()


def _tell(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class _Log:
    """What a program writes: the first half as it comes into a file, the last half at the end.

    Of what is between them the last line with a brace is kept in memory, and the whole of the line
    that the last half begins in: metrics are found wherever they stand, and however long they are.
    """

    def __init__(
        self,
        stream: IO[bytes],
        path: Path,
        limit: int,
        hear: Callable[[bytes], None] | None = None,
    ):
        self._hear = hear
        self._stream, self._half = stream, max(1, limit // 2)
        self._head, self._tail = bytearray(), bytearray()
        self._n_gone = 0
        self._braced, self._begun = b"", bytearray()
        self._file = path.open("wb")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError):  # closed under it
            while data := os.read(self._stream.fileno(), _CHUNK):
                if self._hear is not None:
                    self._hear(data)
                room = self._half - len(self._head)
                first, rest = data[: max(0, room)], data[max(0, room) :]
                if first:
                    self._head += first
                    self._file.write(first)
                    self._file.flush()
                self._tail += rest
                if len(self._tail) > 2 * self._half:
                    self._drop()

    def _drop(self) -> None:
        gone = max(0, len(self._tail) - self._half)
        if gone:
            self._pass(bytes(self._tail[:gone]))
        self._n_gone += gone
        del self._tail[:gone]

    def _pass(self, data: bytes) -> None:
        """Take what is left out: whole lines are looked through, one that has begun is kept."""
        if not self._n_gone:  # the first of it: the head is full, and may end within a line
            self._begun += self._head[self._head.rfind(b"\n") + 1 :]
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            lines = (bytes(self._begun) + whole).splitlines()
            braced = (line for line in reversed(lines) if line.lstrip().startswith(b"{"))
            self._braced = next(braced, self._braced)
            self._begun.clear()
        self._begun += rest
        if len(self._begun) > _LONGEST:
            del self._begun[1000:]

    @property
    def cut(self) -> bool:
        """Whether something was left out."""
        return self._n_gone > 0

    def close(self) -> None:
        """Take what is there, and write the end of it."""
        self._thread.join(DRAIN_S)
        self._drop()
        with suppress(OSError):
            if self._n_gone:
                self._file.write(f"\n... {self._n_gone:,} bytes left out ...\n".encode())
            self._file.write(bytes(self._tail))
            self._file.close()
        self._stream.close()

    def text(self) -> str:
        """What is kept, as text, in whole lines."""
        head = bytes(self._head)
        if self._n_gone:
            head = head[: head.rfind(b"\n") + 1]
            head += self._braced + b"\n" * bool(self._braced) + bytes(self._begun)
        return (head + bytes(self._tail)).decode("utf-8", "replace")
