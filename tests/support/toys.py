"""Small experiments for the tests: importable by Ray's workers, as a user's would be."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from lawsweep import Array, Cost, Field, Infeasible, experiment, stream


@dataclass(frozen=True, kw_only=True)
class Params:
    """Params of ``toy``."""

    n: Annotated[int, Field("a count", ge=1, le=1000)]
    scale: float = 1.0
    mode: Literal["ok", "nan", "missing"] = "ok"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics of ``toy``."""

    y: Annotated[float | None, Field("n times scale plus noise", unit="m")]
    draws: int
    converged: bool = True


@experiment(version=1, cost=lambda p: Cost(flops=1e3 * p.n))
def toy(params: Params, seed: int) -> Metrics:
    """Multiply and add noise."""
    noise = float(stream(seed, "noise").standard_normal())
    y = {"ok": params.n * params.scale + noise, "nan": float("nan"), "missing": None}[params.mode]
    return Metrics(y=y, draws=params.n)


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
    ] = "none"
    at: int = 2
    pause_s: float = 0.0


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
        case "interrupt":
            raise KeyboardInterrupt
    return FaultMetrics(y=params.i + seed / 10)


def _swallow(how):
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
class ImportParams:
    """Params of ``slowly_importing``."""

    i: int
    home: str


@experiment(version=1)
def slowly_importing(params: ImportParams, seed: int) -> FaultMetrics:
    """Import ``slow_import`` from ``home``, in a way that cannot be read off this function."""
    sys.path.insert(0, params.home)
    return FaultMetrics(y=__import__("slow_import").value + params.i)


@dataclass(frozen=True, kw_only=True)
class PairParams:
    """Params of ``pair``."""

    n_target: int
    n_compressed: int
    width: int = 3
    widths: tuple[int, ...] = (2, 2)
    kernel: str = "full"
    rate: float | None = None


@experiment(version=2, constraints=("n_compressed <= n_target",))
def pair(params: PairParams, seed: int) -> FaultMetrics:
    """Has a constraint, a tuple, an optional and a version."""
    return FaultMetrics(y=float(params.n_target - params.n_compressed))


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


def fused_toy(params, seeds, device):
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
    answers = [_fused_answer(p, seed) for p, seed in zip(params, seeds, strict=True)]
    if here and first.fault == "wrong_type":
        answers[0] = "not metrics"
    return answers[1:] if here and first.fault == "too_few" else answers


def _fused_answer(params, seed):
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
