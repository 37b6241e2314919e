"""Small experiments for the tests: importable by Ray's workers, as a user's would be."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Literal

from lawsweep import Cost, Field, Infeasible, experiment, stream


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
        case "chdir":
            os.chdir("/")
        case "interrupt":
            raise KeyboardInterrupt
    return FaultMetrics(y=params.i + seed / 10)


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
