"""Experiments with scatter, for the tests of ``until``."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from lawsweep import Cost, Sweep, experiment, stream


@dataclass(frozen=True, kw_only=True)
class Params:
    """``own`` is the scatter of each point, ``slope`` that of a seed's exponent."""

    n: int
    own: float = 0.1
    slope: float = 0.0
    bend: float = 0.0
    too_large: float = math.inf  # from there on no run succeeds
    p_fail: float = 0.0
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float
    one: float
    bad: float | None


@experiment(version=1, cost=lambda p: Cost(flops=4e7 * p.n))
def noisy(params: Params, seed: int) -> Metrics:
    """y = n^1.5 up to scatter.  A file ``broken`` in the working folder makes odd seeds fail."""
    draws = stream(seed, f"n={params.n}").standard_normal(2)
    if params.n >= params.too_large or draws[1] > 3 - 4 * params.p_fail:
        raise MemoryError("too large")
    if seed % 2 and Path("broken").exists():
        raise ValueError("broken")
    shared = float(stream(seed, "shared").standard_normal())
    time.sleep(params.pause_s)
    v = math.log(params.n)
    log_y = (1.5 + params.slope * shared) * v + params.own * draws[0]
    log_y += params.bend * (v - 4) ** 2
    return Metrics(y=math.exp(log_y), one=1.0, bad=math.nan if seed % 2 else None)


def until_sweep(until, axis, **given):
    """A sweep of ``noisy`` over n in ``axis``, in this process, fitted by a power law."""
    values = {
        "name": "u",
        "experiment": "until_toys:noisy",
        "axes": {"n": axis},
        "seeds": 60,
        "until": until,
        "fits": ({"law": "power", "x": "n", "y": "y"},),
        "executor": {"kind": "serial"},
        "on_failure": {"stop_after": 0},
    }
    return Sweep(**{**values, **given})
