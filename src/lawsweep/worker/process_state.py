"""What of its process a run may change, and the next run must not see: one list, restored.

A worker executes thousands of runs.  One that leaves ``torch.set_default_dtype`` or a filter of
warnings behind would make the values of the next depend on which worker it came to.  So whoever
executes runs looks at the process once, when the experiment is loaded, and after every run
whatever differs is set back.  Global random states are set to the same state before every run.

What a module does when it is imported belongs at the top of an experiment's file: done inside the
function it is done once a process, and undone with the run.
"""

from __future__ import annotations

import _locale
import gc
import importlib
import locale
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from lawsweep.worker import random_state

ABSENT = object()  # of an item that cannot be read: it is left alone
_LEAST = sys.float_info.min  # half of it is 0 where denormals are flushed


class Item(NamedTuple):
    """Something a run may change: how it is read (after every run, so fast), and set back.

    ``keep`` copies what is changed in place; ``fresh`` is what holds where the run itself loaded
    the library.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    keep: Callable[[Any], Any] = lambda found: found
    fresh: Any = ABSENT


@contextmanager
def unforked() -> Iterator[None]:
    """End a process that is forked in here where it comes out: what follows is its parent's."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            failure = sys.exc_info()[1]
            code = 0 if failure is None else getattr(failure, "code", 1)
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))


class ProcessState:
    """The process as it is now; ``restore`` after each run, in the same thread."""

    def __init__(self) -> None:
        random_state.reset(look=False)
        self._umask, self._timer = _umask(), signal.getitimer(signal.ITIMER_REAL)
        self._decimal = _decimal_context()
        items = list(PYTHON)
        if threading.current_thread() is threading.main_thread():
            items.append(HANDLERS)
        self._torch = _torch() is not None
        if self._torch:
            items += torch_items()
        found = [(item.read, _now(item), item.write) for item in items]
        self._items = [each for each in found if each[1] is not ABSENT]

    def restore(self) -> tuple[str, ...]:
        """Set back what differs; the global random generators that were drawn from unseeded."""
        os.umask(self._umask)  # as fast as to ask
        if self._timer == (0.0, 0.0):
            signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm that a run left would end another
        if self._decimal is not None:
            sys.modules["decimal"].setcontext(self._decimal.copy())
        if not self._torch and _torch() is not None:
            self._torch = True
            self._items += [(i.read, i.fresh, i.write) for i in torch_items()]
        for read, kept, write in self._items:
            try:
                if read() != kept:
                    write(kept)
            except Exception:  # noqa: BLE001  (a run left what cannot even be read)
                with suppress(Exception):
                    write(kept)
        return random_state.reset()


@contextmanager
def borrowed() -> Iterator[ProcessState]:
    """For runs in a process that is not theirs: it has its own random states back at the end."""
    saved = random_state.save()
    try:
        yield ProcessState()
    finally:
        random_state.give_back(saved)


def _now(item: Item) -> Any:
    try:
        return item.keep(item.read())
    except Exception:  # noqa: BLE001  (a library of another version)
        return ABSENT


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  (as a string: it is asked for after every run)
    except OSError:
        return None  # it was removed under us


def _go_to(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _environment() -> Any:
    """Bytes by name, where they can be had as they are: ``os.environ`` would decode each."""
    return getattr(os.environ, "_data", os.environ)


def _set_environment(kept: dict[Any, Any]) -> None:
    keep = {os.fsdecode(name): os.fsdecode(value) for name, value in kept.items()}
    for name in [n for n in os.environ if n not in keep]:
        del os.environ[name]
    os.environ.update({n: v for n, v in keep.items() if os.environ.get(n) != v})
    time.tzset()  # the C library keeps the time zone that it once read there


def _set_path(kept: list[str]) -> None:
    sys.path[:] = kept


def _set_filters(kept: list[Any]) -> None:
    warnings.resetwarnings()  # what was decided by the others is forgotten with them
    warnings.filters[:] = kept  # type: ignore[index]


def _set_streams(kept: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = kept  # a run that silenced its prints would silence the launch


def _set_collecting(kept: bool) -> None:
    (gc.enable if kept else gc.disable)()


def _set_numpy_printing(kept: dict[str, Any]) -> None:
    np.set_printoptions(**kept)


def _set_numpy_errors(kept: dict[str, Any]) -> None:
    np.seterr(**kept)


# Raw, where that is to be had: the public form makes an enum of every answer.
_raw: Any = importlib.import_module("_signal")
_SIGNALS = [
    int(number) for number in (
        signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGHUP, signal.SIGUSR1,
        signal.SIGUSR2, signal.SIGCHLD, signal.SIGPIPE, signal.SIGFPE,
    )
]  # fmt: skip


def _handlers() -> list[Any]:
    return list(map(_raw.getsignal, _SIGNALS))


def _set_handlers(kept: list[Any]) -> None:
    for number, before in zip(_SIGNALS, kept, strict=True):
        # None: not set from Python, and not to be set from here.
        if before is not None and _raw.getsignal(number) != before:
            signal.signal(number, before)


# Threads cannot set these, nor change them.
HANDLERS = Item("signal handlers", _handlers, _set_handlers)

# Besides these: umask, a pending alarm, the decimal context (ProcessState), the random states.
PYTHON = (
    Item("working folder", _folder, _go_to),
    Item("os.environ", _environment, _set_environment, dict),
    Item("sys.path", lambda: sys.path, _set_path, list),
    Item("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Item("filters of warnings", lambda: warnings.filters, _set_filters, list),
    Item(
        "locale",
        lambda: _locale.setlocale(locale.LC_ALL),
        lambda kept: locale.setlocale(locale.LC_ALL, kept),
    ),
    Item("standard streams", lambda: (sys.stdout, sys.stderr), _set_streams),
    Item("garbage collection", gc.isenabled, _set_collecting),
    Item("numpy.seterr", np.geterr, _set_numpy_errors),
    Item("numpy.set_printoptions", np.get_printoptions, _set_numpy_printing),
)


def torch_items() -> list[Item]:
    """What torch keeps for a process or a thread; of CUDA where this torch has it."""
    torch: Any = _torch()
    backends = torch.backends
    items = [
        Item(
            "default dtype", torch.get_default_dtype, torch.set_default_dtype, fresh=torch.float32
        ),
        Item("default device", _default_device, torch.set_default_device, fresh=None),
        Item("grad mode", torch.is_grad_enabled, torch.set_grad_enabled, fresh=True),
        Item(
            "autocast",
            lambda: torch.is_autocast_enabled("cpu"),
            lambda kept: torch.set_autocast_enabled("cpu", kept),
            fresh=False,
        ),
        _flag("mkldnn.enabled", backends.mkldnn, "enabled", True),
        Item("threads", torch.get_num_threads, torch.set_num_threads, fresh=n_threads()),
        Item("anomaly mode", torch.is_anomaly_enabled, torch.set_anomaly_enabled, fresh=False),
        Item(
            "deterministic algorithms",
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda kept: torch.use_deterministic_algorithms(kept[0], warn_only=kept[1]),
            fresh=(False, False),
        ),
        Item(
            "float32 matmul precision",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
            fresh="highest",
        ),
        Item("denormals flushed", lambda: _LEAST / 2 == 0, torch.set_flush_denormal, fresh=False),
    ]
    if backends.cuda.is_built():
        items += [
            Item(
                "cuda.autocast",
                lambda: torch.is_autocast_enabled("cuda"),
                lambda kept: torch.set_autocast_enabled("cuda", kept),
                fresh=False,
            ),
            _flag("cuda.matmul.allow_tf32", backends.cuda.matmul, "allow_tf32", False),
            _flag("cudnn.allow_tf32", backends.cudnn, "allow_tf32", True),
            _flag("cudnn.deterministic", backends.cudnn, "deterministic", False),
            _flag("cudnn.benchmark", backends.cudnn, "benchmark", False),
        ]
    return items


def _flag(name: str, home: Any, attribute: str, fresh: bool) -> Item:
    return Item(
        name,
        lambda: getattr(home, attribute),
        lambda kept: setattr(home, attribute, kept),
        fresh=fresh,
    )


def _torch() -> Any:
    """torch, where it is loaded and whole: core does not load it."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "set_float32_matmul_precision") else None


def _default_device() -> Any:
    """The device that was set; None where none was.  (``get_default_device`` takes 10 µs.)"""
    return getattr(sys.modules.get("torch.utils._device"), "CURRENT_DEVICE", None)


def n_threads() -> int:
    """Threads that numerical libraries in this process were told to use, else the cores."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() else len(os.sched_getaffinity(0))


def _umask() -> int:
    """Of this process.  (The system call that asks also sets it, for other threads too.)"""
    with suppress(OSError, StopIteration), open("/proc/self/status", "rb") as lines:  # noqa: PTH123
        return int(next(line for line in lines if line.startswith(b"Umask:")).split()[1], 8)
    found = os.umask(0o022)
    os.umask(found)
    return found


def _decimal_context() -> Any:
    """A copy: what a run gets is a copy again, so that it may change it in place."""
    decimal = sys.modules.get("decimal")
    return None if decimal is None else decimal.getcontext().copy()
