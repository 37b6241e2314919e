"""Small experiments for the tests: importable by Ray's workers, as a user's would be."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from lawsweep import Cost, Field, experiment, stream
from lawsweep.contracts.toys import FaultMetrics
from lawsweep.contracts.toys import FaultParams as FaultParams
from lawsweep.contracts.toys import FusedParams as FusedParams
from lawsweep.contracts.toys import faulty as faulty
from lawsweep.contracts.toys import fusable as fusable
from lawsweep.contracts.toys import fused_toy as fused_toy
from lawsweep.contracts.toys import spectrum as spectrum


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
