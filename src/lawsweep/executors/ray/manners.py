"""Manners towards a Ray: signals, silence, and what its workers import from."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

PROBE_S = 5.0


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """No Ctrl-C while Ray stops: it takes a second, and half-stopped it would leave processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep this process's answer to SIGTERM: Ray's would exit before finished rows are written.

    Raises KeyboardInterrupt at the end where one came within: as Ray starts, its own answer to it
    is lost now and then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    heard, told = os.pipe()
    os.set_blocking(told, False)
    os.set_blocking(heard, False)
    others = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    try:
        with _kept_in_c(signal.SIGTERM):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.set_wakeup_fd(others)
        came = b""
        with contextlib.suppress(BlockingIOError):
            came = os.read(heard, 4096)
        os.close(heard)
        os.close(told)
        if signal.SIGTERM in came and callable(before):
            raise KeyboardInterrupt from None


@contextlib.contextmanager
def _kept_in_c(number: int) -> Iterator[None]:
    """Keep the process's own action on a signal while a library sets another below Python.

    Ray's core does, as it waits for the raylet: that prints a stack and aborts.
    """
    try:
        sigaction = ctypes.CDLL(None).sigaction
    except (AttributeError, OSError):
        yield
        return
    kept, over = ctypes.create_string_buffer(1024), threading.Event()  # more than any system's
    sigaction(int(number), None, kept)

    def keep() -> None:
        while not over.wait(0.005):
            sigaction(int(number), kept, None)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


@contextlib.contextmanager
def inherited(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the processes started within; this one has its own back after."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def probe(address: str) -> None:
    """Raise OSError when nothing listens at ``host:port``; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S).close()


def import_path() -> list[str]:
    """Folders this process imports from, other than those of the Python it runs."""
    folders = [Path(p or ".").resolve() for p in sys.path]
    own = [Path(p).resolve() for p in (sys.prefix, sys.base_prefix)]
    kept = [p for p in folders if p.is_dir() and not any(p.is_relative_to(o) for o in own)]
    return [str(p) for p in dict.fromkeys(kept)]


def silence_raylet(ray: Any) -> Callable[[], None]:
    """Keep Ray's own paragraph about each dead worker off the terminal; returns the way back.

    The runner says it in a line and keeps it as a row.  ``log_to_driver=False`` does not cover
    these messages, and there is no public switch; where the private name moved, they show.
    """
    worker: Any = getattr(getattr(ray, "_private", None), "worker", None)
    before = getattr(worker, "print_to_stdstream", None)
    if before is None:
        return lambda: None
    worker.print_to_stdstream = lambda *_, **__: None
    return lambda: setattr(worker, "print_to_stdstream", before)
