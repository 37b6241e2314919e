"""Execute runs: the same lines in every executor, so that they cannot differ."""

from __future__ import annotations

import platform
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from lawsweep.core.during.curve import StoppedEarlyError
from lawsweep.core.during.under_way import under_way
from lawsweep.core.errors import Infeasible, InvalidValueError
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import FAILURES, Loss, Lost, Mishap, Outcome, RunSpec, Status
from lawsweep.core.schema import printable
from lawsweep.core.secrets import hide
from lawsweep.worker import ahead, cards
from lawsweep.worker.cards import befell, settle
from lawsweep.worker.computing import begin_choosing, computing, tables_used
from lawsweep.worker.deadlines import RunTimeoutError, deadline
from lawsweep.worker.debugging import Debuggable, DebuggerLeftError, Look
from lawsweep.worker.hardware import machine
from lawsweep.worker.memory import (
    is_out_of_memory,
    peak_memory_bytes,
    planned_share,
    release_memory,
    reset_peak_memory,
)
from lawsweep.worker.printed import Tail, heard, said
from lawsweep.worker.process_state import ProcessState, borrowed, unforked
from lawsweep.worker.process_state import n_threads as n_threads

if TYPE_CHECKING:
    import numpy as np

MAX_TEXT = 20_000  # a row carries its traceback, not a log


class _Answer(NamedTuple):
    """What became of a run: the part of an Outcome that its function decides."""

    status: Status
    metrics: Mapping[str, Any] | None = None
    arrays: Mapping[str, np.ndarray] | None = None
    error: str | None = None
    traceback: str | None = None
    mishap: Mishap | None = None


class Batch:
    """A task's runs, executed piece by piece: the loop of every executor.

    A piece of several runs goes through the experiment's fused form.  Where that fails as a
    whole its runs are queued alone, so that a bad one never costs its neighbours.

    ``called_off`` says of a KeyboardInterrupt whether it is a person's, or the run raised it
    itself: then it is a failure like others, as it is in a process that no person interrupts.

    ``spoiled`` is there once a deadline has cut a piece off (that was at any line, in an import or
    a lock's release), or its GPU has failed one: nothing else is to be executed in this process.
    """

    def __init__(
        self,
        experiment: Experiment,
        runs: Sequence[RunSpec],
        groups: Sequence[int] = (),
        device: str = "cpu",
        timeout_s: float | None = None,
        memory_share: float = 1.0,
        called_off: Callable[[], bool] = lambda: False,
    ):
        self._called_off = called_off
        self._experiment, self._device, self._timeout_s = experiment, device, timeout_s
        self._memory_share = memory_share
        left = iter(runs)
        pieces = [tuple(islice(left, n)) for n in groups]
        self._pieces = deque([*(p for p in pieces if p), *((run,) for run in left)])
        self._fused_error: str | None = None
        self._told = False
        self._tables: dict[str, Any] = {}  # of sizes, told by then
        self.spoiled: Lost | None = None

    def __len__(self) -> int:
        return len(self._pieces)

    def step(self, state: ProcessState | None = None) -> tuple[Outcome, ...]:
        """Execute the next piece; no outcome where a fused form failed and its runs wait again.

        ``state`` is how the process is to be left, by default as it is.  A run that raises what is
        no Exception (SystemExit) passes it on, and is out of the batch.
        """
        if self._memory_share == 1.0:  # what holds anyway
            found = self._step(self._pieces.popleft(), state)
        else:
            with planned_share(self._memory_share):
                found = self._step(self._pieces.popleft(), state)
        if not self._pieces or self.spoiled is not None:
            ahead.forget()
        tables = {k: v for k, v in tables_used().items() if k not in self._tables}
        if found and (tables or not self._told):
            told = {**machine(), "calibrations": tables} if tables else machine()
            found = (found[0]._replace(machine=told), *found[1:])
            self._told = True
            self._tables.update(tables)
        return found

    def _step(self, piece: tuple[RunSpec, ...], state: ProcessState | None) -> tuple[Outcome, ...]:
        ahead.announce(self._experiment, self._pieces[0] if self._pieces else (), self._device)
        if len(piece) == 1:
            one, limit_s = piece[0], self._timeout_s
            outcome = execute_run(
                self._experiment, one, self._device, limit_s, state, called_off=self._called_off
            )
            if outcome.status == "timeout":
                self.spoiled = Lost(Loss.RETIRED, "a run was cut off at its deadline")
            self._heed_card(outcome)
            if self._fused_error:
                outcome = outcome._replace(fused_error=self._fused_error)
                self._fused_error = None
            return (outcome,)
        found = execute_group(
            self._experiment, piece, self._device, self._timeout_s, state, self._called_off
        )
        if isinstance(found, Mishap):
            self.spoiled = Lost(Loss.CARD_GROUP, found.detail, found.card)
            found = f"its GPU failed: {found.detail}"
        if isinstance(found, str):
            if found.startswith("timeout: "):
                self.spoiled = Lost(Loss.RETIRED_GROUP, found.removeprefix("timeout: "))
            self._fused_error = found
            self._pieces.extendleft((run,) for run in reversed(piece))
            return ()
        for outcome in found:
            self._heed_card(outcome)
        return found

    def _heed_card(self, outcome: Outcome) -> None:
        mishap = outcome.mishap
        if mishap is not None and mishap.kind == "card":
            self.spoiled = Lost(Loss.CARD, mishap.detail, mishap.card)

    def next_run(self) -> RunSpec:
        """The first run of the piece that ``step`` takes next."""
        return self._pieces[0][0]


def execute_run(
    experiment: Experiment,
    run: RunSpec,
    device: str = "cpu",
    timeout_s: float | None = None,
    state: ProcessState | None = None,
    look: Look | None = None,
    called_off: Callable[[], bool] = lambda: True,
) -> Outcome:
    """Execute ``run``; whatever its function does short of killing the process is an Outcome.

    The process is left in ``state``, by default as it is now.  ``look`` is shown a failure;
    ``called_off`` as in Batch.
    """
    if state is None:
        experiment.load()
        with borrowed() as state:
            return execute_run(experiment, run, device, timeout_s, state, look, called_off)
    started_at, start = time.time(), time.perf_counter()
    begin_choosing()
    memory = reset_peak_memory()
    cards.reset_peak(device)
    limit = deadline(timeout_s, "on_failure.timeout_s", timeout_s)
    tail, here = Tail(), None
    try:
        with limit, Debuggable(), heard(tail), unforked(), under_way(run, started_at) as here:
            params = experiment.build(run.params)
            answer = _measured(experiment, experiment.evaluate(params, run.seed, device), run)
            settle(device)
    except Exception as failure:  # noqa: BLE001  (any failure of user code is a row)
        answer = _failed(failure, device)
        if look is not None:
            look(failure)
    except (RunTimeoutError, StoppedEarlyError) as end:
        answer = _Answer(end.status, error=str(end))
    except DebuggerLeftError:
        raise
    except KeyboardInterrupt as raised:
        if called_off():
            raise
        answer = _failed(raised, device)
    except BaseException:
        if not limit.passed:
            raise
        answer = _Answer("timeout")
    finally:
        wall_s = time.perf_counter() - start
        drew = state.restore()
    if limit.passed:  # whatever the function made of it
        answer = _Answer("timeout", error=limit.message)
    if answer.status in FAILURES:
        answer = answer._replace(traceback=tail.below(answer.traceback))
    peak = peak_memory_bytes() if memory else None
    held = cards.peak_bytes(device)
    if answer.status == "oom":
        release_memory()
    outcome = _outcome(run, answer, device, started_at, wall_s, peak)
    unseeded = ", ".join(drew) or None
    left = {} if here is None else here.left()
    return outcome._replace(peak_device_bytes=held, unseeded_draws=unseeded, **left)


def execute_group(
    experiment: Experiment,
    runs: Sequence[RunSpec],
    device: str = "cpu",
    timeout_s: float | None = None,
    state: ProcessState | None = None,
    called_off: Callable[[], bool] = lambda: True,
) -> tuple[Outcome, ...] | str | Mishap:
    """Execute runs at once by the fused form: their Outcomes, or why there are none.

    A Mishap where their GPU failed them, and with it this process.

    All of them have as long as they would have alone.  Each is given an equal share of the wall
    time; none the peak memory, which is that of all together.
    """
    assert experiment.fused is not None
    if state is None:
        experiment.load()
        with borrowed() as state:
            return execute_group(experiment, runs, device, timeout_s, state, called_off)
    started_at, start = time.time(), time.perf_counter()
    begin_choosing()
    seconds = None if timeout_s is None else timeout_s * len(runs)
    limit = deadline(seconds, f"{len(runs)} times on_failure.timeout_s", timeout_s)
    why: str | None = None
    mishap: Mishap | None = None
    try:
        with limit, Debuggable(), unforked(), under_way(None):
            params = [experiment.build(run.params) for run in runs]
            found = experiment.fused(params, [run.seed for run in runs], device)
            answers = _checked(experiment, list(found), runs, device)
            settle(device)
    except DebuggerLeftError:
        raise
    except BaseException as failure:  # which run it is, the runs alone say
        if isinstance(failure, KeyboardInterrupt) and called_off():
            raise
        mishap = befell(failure, device) if isinstance(failure, Exception) else None
        memory = "oom: " if isinstance(failure, Exception) and is_out_of_memory(failure) else ""
        why = f"{memory}{type(failure).__name__}: {said(failure)}"[:MAX_TEXT]
    finally:
        share_s = (time.perf_counter() - start) / len(runs)
        drew = ", ".join(state.restore()) or None
    if limit.passed:
        return f"timeout: {limit.message}"
    if mishap is not None and mishap.kind == "card":
        return mishap
    if why is not None:
        if why.startswith("oom: "):
            release_memory()  # now that the exception and what it held are gone
        return why
    return tuple(
        _outcome(run, answer, device, started_at, share_s, None, len(runs), drew)
        for run, answer in zip(runs, answers, strict=True)
    )


def _checked(
    experiment: Experiment, found: list[Any], runs: Sequence[RunSpec], device: str
) -> list[_Answer]:
    if len(found) != len(runs):
        raise InvalidValueError(
            f"the fused form of {experiment.name} must return one answer a run; it was given "
            f"{len(runs)} runs and returned {len(found)}."
        )
    return [
        _failed(one, device) if isinstance(one, Exception) else _measured(experiment, one, run)
        for one, run in zip(found, runs, strict=True)
    ]


def _measured(experiment: Experiment, metrics: Any, run: RunSpec) -> _Answer:
    """The answer of a run that returned; raises InvalidValueError for what is not its Metrics."""
    row, arrays = experiment.measured(metrics, run.params, run.seed)
    return _Answer("ok", row, arrays or None)


def _failed(failure: Exception | KeyboardInterrupt, device: str) -> _Answer:
    mishap = befell(failure, device) if isinstance(failure, Exception) else None
    if isinstance(failure, Infeasible) and mishap is None:
        return _Answer("infeasible", error=said(failure) or "infeasible")
    crowd = mishap is not None and mishap.kind == "neighbour"
    is_oom = isinstance(failure, Exception) and is_out_of_memory(failure)
    return _Answer(
        "oom" if crowd or is_oom else "failed",
        error=f"{type(failure).__name__}: {said(failure)}"[:MAX_TEXT],
        traceback=hide(printable("".join(traceback.format_exception(failure))))[-MAX_TEXT:],
        mishap=mishap,
    )


def _outcome(
    run: RunSpec, answer: _Answer, device: str, started_at: float, wall_s: float,
    peak_memory_bytes: int | None, n_fused: int = 1, drew: str | None = None,
) -> Outcome:  # fmt: skip
    used = computing(device)
    return Outcome(
        index=run.index,
        status=answer.status,
        metrics=answer.metrics,
        error=answer.error,
        traceback=answer.traceback,
        wall_s=wall_s,
        peak_memory_bytes=peak_memory_bytes,
        attempt=run.attempt,
        device=device,
        host=platform.node(),
        n_threads=n_threads(),
        started_at=started_at,
        arrays=answer.arrays,
        n_fused=n_fused,
        blas=used.blas,
        instruction_set=used.instruction_set,
        calibration="+".join(sorted(tables_used())) or None,
        mishap=answer.mishap,
        device_name=cards.name_of(device),
        unseeded_draws=drew,
    )
