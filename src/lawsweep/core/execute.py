"""Execute one run: the same few lines in every executor, so that they cannot differ."""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lawsweep.core.errors import Infeasible
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Outcome, RunSpec, Status
from lawsweep.core.schema import printable

MAX_TEXT = 20_000  # a row carries its traceback, not a log


class RunTimeoutError(BaseException):
    """A run took longer than ``on_failure.timeout_s``.

    No Exception, so that an experiment's own ``except Exception`` does not swallow it.
    """


def execute_run(
    experiment: Experiment, run: RunSpec, device: str = "cpu", timeout_s: float | None = None
) -> Outcome:
    """Execute ``run``; whatever its function does short of killing the process is an Outcome."""
    started_at, start = time.time(), time.perf_counter()
    memory, folder = _reset_peak_memory(), Path.cwd()
    status: Status = "ok"
    metrics = error = trace = None
    try:
        with _deadline(timeout_s):
            params = experiment.params_type(**experiment.with_defaults(run.params))
            metrics = experiment.metrics_row(experiment.evaluate(params, run.seed, device))
    except Infeasible as reason:
        status, error = "infeasible", _text(reason) or "infeasible"
    except RunTimeoutError as late:
        status, error = "timeout", str(late)
    except Exception as failure:  # noqa: BLE001  (any failure of user code is a row)
        status = "oom" if _is_out_of_memory(failure) else "failed"
        error = f"{type(failure).__name__}: {_text(failure)}"[:MAX_TEXT]
        trace = printable(traceback.format_exc())[-MAX_TEXT:]
    finally:
        _return_to(folder)
    return Outcome(
        index=run.index,
        status=status,
        metrics=metrics,
        error=error,
        traceback=trace,
        wall_s=time.perf_counter() - start,
        peak_memory_bytes=_peak_memory_bytes() if memory else None,
        attempt=run.attempt,
        device=device,
        host=platform.node(),
        n_threads=n_threads(),
        started_at=started_at,
    )


def _text(failure: BaseException) -> str:
    """What an exception says, whatever its ``__str__`` does."""
    try:
        return printable(str(failure))
    except Exception:  # noqa: BLE001
        return "(its message cannot be read)"


def _return_to(folder: Path) -> None:
    """Undo a change of the working folder: in one process the results would follow it."""
    with suppress(OSError):
        if Path.cwd() != folder:
            os.chdir(folder)


def _is_out_of_memory(failure: Exception) -> bool:
    # torch's exception is known by name: core does not import torch.
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":
        return True
    return isinstance(failure, RuntimeError) and "can't allocate memory" in str(failure)


def _reset_peak_memory() -> bool:
    """Begin to measure this process's peak resident memory; False where Linux does not allow it."""
    try:
        with Path("/proc/self/clear_refs").open("w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return False
    return True


def _peak_memory_bytes() -> int | None:
    """Peak resident memory since the reset, what the worker held before included."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def n_threads() -> int:
    """Threads that numerical libraries in this process were told to use, else the cores."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() else len(os.sched_getaffinity(0))


@contextmanager
def _deadline(timeout_s: float | None) -> Iterator[None]:
    """Raise RunTimeoutError in this thread after ``timeout_s``.

    By a signal, so it ends Python code at the next bytecode; a call that never returns to Python
    is ended from outside, by the runner.  Off the main thread there are no signals.
    """
    if timeout_s is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(signum: int, frame: Any) -> None:
        raise RunTimeoutError(f"longer than on_failure.timeout_s={timeout_s:g}")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
