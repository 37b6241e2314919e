"""Experiments that go wrong in every way a run can, importable wherever this package is."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from lawsweep import Array, Field, Infeasible, experiment, stream


class MuteError(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@dataclass(frozen=True, kw_only=True)
class FaultParams:
    """Params of ``faulty``."""

    i: int
    fault: Literal[
        "none",
        "raise",
        "infeasible",
        "memory",
        "exit",
        "kill",
        "abort",
        "segfault",
        "sleep",
        "deaf",
        "wrong_type",
        "interrupt",
        "raise_interrupt",
        "gate",
        "sys_exit",
        "surrogate",
        "infeasible_html",
        "mute",
        "swallow",
        "swallow_all",
        "swallow_and_fail",
        "swallow_exit",
        "swallow_for_ever",
        "chdir",
        "card",
    ] = "none"
    at: int = 2
    pause_s: float = 0.0
    gate: str = ""


@dataclass(frozen=True, kw_only=True)
class FaultMetrics:
    """Metrics of ``faulty``."""

    y: float


@experiment(version=1)
def faulty(params: FaultParams, seed: int) -> FaultMetrics:
    """Do what ``fault`` says at the point ``i == at``."""
    time.sleep(params.pause_s)
    if params.i != params.at:
        return FaultMetrics(y=params.i + seed / 10)
    match params.fault:
        case "raise":
            raise ValueError("a kernel said no")
        case "infeasible":
            raise Infeasible("n exceeds p")
        case "memory":
            raise MemoryError("no room")
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "abort":
            os.abort()
        case "segfault":
            ctypes.string_at(0)
        case "sleep":
            time.sleep(3600)
        case "deaf":
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            time.sleep(3600)
        case "wrong_type":
            return "not metrics"  # type: ignore[return-value]
        case "sys_exit":
            sys.exit(5)
        case "infeasible_html":
            raise Infeasible("<script>alert(1)</script>")
        case "surrogate":
            raise ValueError("bad name \udc80")
        case "mute":
            raise MuteError
        case "swallow":
            with contextlib.suppress(Exception):
                time.sleep(3)
        case "swallow_all" | "swallow_and_fail" | "swallow_exit" | "swallow_for_ever":
            _swallow(params.fault)
        case "chdir":
            os.chdir("/")
        case "card":
            raise RuntimeError("CUDA error: device-side assert triggered")
        case "interrupt":
            signal.raise_signal(signal.SIGINT)
        case "raise_interrupt":
            raise KeyboardInterrupt("not a person's")
        case "gate":
            _wait_for(Path(params.gate))
    return FaultMetrics(y=params.i + seed / 10)


def _wait_for(gate: Path) -> None:
    """Until a test has made the file, or given up."""
    end = time.monotonic() + 120
    while not gate.exists() and time.monotonic() < end:
        time.sleep(0.02)


def _swallow(how: str) -> None:
    """Catch whatever ends it, as code does that tidies up."""
    try:
        time.sleep(3600)
    except BaseException:  # noqa: BLE001
        if how == "swallow_and_fail":
            raise ValueError("it was interrupted") from None
        if how == "swallow_exit":
            sys.exit(1)
    if how == "swallow_for_ever":
        time.sleep(3600)


@dataclass(frozen=True, kw_only=True)
class FusedParams:
    """Params of ``fusable``."""

    n: int = 1
    rate: float = 1.0
    at: int = -1
    fault: Literal[
        "none",
        "nan",
        "infeasible",
        "raise",
        "kill",
        "slow",
        "group_raise",
        "group_memory",
        "group_exit",
        "group_os_exit",
        "group_kill",
        "group_slow",
        "group_deaf",
        "too_few",
        "nothing",
        "wrong_type",
    ] = "none"
    log: str = ""
    pause_s: float = 0.0


def fused_toy(params: Sequence[FusedParams], seeds: Sequence[int], device: str) -> Any:
    """Many runs of ``fusable`` at once; a fault that begins with group harms only this form."""
    first = params[0]
    assert all((p.n, p.fault, p.at) == (first.n, first.fault, first.at) for p in params)
    if first.log:
        with Path(first.log).open("a", encoding="utf-8") as file:
            file.write(f"{len(seeds)}\n")
    time.sleep(first.pause_s)
    here = first.at in seeds
    match first.fault:
        case "group_raise" if here:
            raise ValueError("they do not fit together")
        case "group_memory" if len(seeds) > 4:
            raise MemoryError("too many at once")
        case "group_exit" if here:
            sys.exit(3)
        case "group_os_exit" if here:
            os._exit(3)
        case "group_kill" if here:
            os.kill(os.getpid(), signal.SIGKILL)
        case "group_slow" if here:
            time.sleep(3600)
        case "group_deaf" if here:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            time.sleep(3600)
        case "nothing" if here:
            return None
    answers: list[Any] = [_fused_answer(p, seed) for p, seed in zip(params, seeds, strict=True)]
    if here and first.fault == "wrong_type":
        answers[0] = "not metrics"
    return answers[1:] if here and first.fault == "too_few" else answers


def _fused_answer(params: FusedParams, seed: int) -> Any:
    try:
        return fusable.function(params, seed)
    except Exception as failure:  # noqa: BLE001
        return failure


@experiment(version=1, fused=fused_toy, fuse_over=("rate",))
def fusable(params: FusedParams, seed: int) -> FaultMetrics:
    """Noise times a rate; the seed ``at`` does what ``fault`` says."""
    if seed == params.at:
        match params.fault:
            case "nan":
                return FaultMetrics(y=float("nan"))
            case "infeasible":
                raise Infeasible("this seed has no answer")
            case "raise":
                raise ValueError("this seed cannot")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "slow":
                time.sleep(3600)
    y = params.n + params.rate * float(stream(seed, "noise").standard_normal())
    return FaultMetrics(y=y)


@dataclass(frozen=True, kw_only=True)
class SpectrumParams:
    """Params of ``spectrum``."""

    n: int
    kind: Literal["real", "complex", "text", "none", "ragged"] = "real"


@dataclass(frozen=True, kw_only=True)
class SpectrumMetrics:
    """Metrics of ``spectrum``."""

    largest: float
    eigenvalues: Annotated[Array | None, Field("all eigenvalues")]
    table: Array = None


@experiment(version=1)
def spectrum(params: SpectrumParams, seed: int) -> SpectrumMetrics:
    """Leaves an array beside its row."""
    draws = stream(seed, "draws").standard_normal(params.n)
    values = {
        "real": draws.astype(np.float32),
        "complex": draws + 1j,
        "text": np.array(["a"] * params.n),
        "none": None,
        "ragged": [[1.0], [1.0, 2.0]],
    }[params.kind]
    grid = np.arange(6).reshape(2, 3).T
    return SpectrumMetrics(largest=float(draws.max()), eigenvalues=values, table=grid)


@dataclass(frozen=True, kw_only=True)
class MessyParams:
    """Params of ``messy``."""

    i: int


@dataclass(frozen=True, kw_only=True)
class MessyMetrics:
    """What a run of ``messy`` found."""

    folder: str
    variable: str
    draw: float


@experiment(version=1)
def messy(params: MessyParams, seed: int) -> MessyMetrics:
    """Say what was found in the process, and leave something else."""
    variable = os.environ.get("LAWSWEEP_MESSY", "none")
    found = MessyMetrics(folder=str(Path.cwd()), variable=variable, draw=random.random())
    os.chdir("/")
    os.environ["LAWSWEEP_MESSY"] = str(params.i)
    random.seed(params.i)
    return found
