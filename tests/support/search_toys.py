"""An experiment with a threshold, for the tests of searches; Ray's workers can import it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lawsweep import experiment, stream


@dataclass(frozen=True, kw_only=True)
class Params:
    """``edge`` is where the chance is one half; ``spread`` the transition's width in log n."""

    n: int
    d: int
    edge: float = 0.7  # over d^2
    spread: float = 0.05
    fault: Literal["none", "sometimes", "always", "beyond", "large"] = "none"
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """``loss`` is small below the threshold and large above it; None where ``fault`` says so."""

    loss: float
    reading: float | None


@experiment(version=1)
def memory(params: Params, seed: int) -> Metrics:
    """Fit or fail at random: P(loss < 1) = 1 / (1 + (n / N*)^(1 / spread))."""
    time.sleep(params.pause_s)
    if params.fault == "always" or (params.fault == "sometimes" and seed % 3 == 0):
        raise ValueError(f"no luck with seed {seed}")
    if params.fault == "large" and params.n > 0.5 * params.d**2:
        raise MemoryError(f"no room for {params.n}")
    u = float(stream(seed, f"n={params.n} d={params.d}").random())
    z = math.log(params.n / (params.edge * params.d**2)) / params.spread
    fits = u < 1 / (1 + math.exp(min(z, 700)))
    loss = 0.01 if fits else 10.0
    return Metrics(loss=loss, reading=None if params.fault == "beyond" and not fits else loss)


@dataclass(frozen=True, kw_only=True)
class LineParams:
    """A search along ``n`` has one cell; ``high`` is no name for what tells cells apart."""

    n: int
    high: float = 50.0


@dataclass(frozen=True, kw_only=True)
class LineMetrics:
    """``low`` is a law of its own; the name is also one of a threshold's columns."""

    fits: bool
    low: float


@experiment(version=1)
def line(params: LineParams, seed: int) -> LineMetrics:
    """Fits below ``high``.  A file ``flaky`` in the working folder makes a third of seeds fail."""
    if seed % 3 == 0 and Path("flaky").exists():
        raise ValueError("no luck")
    return LineMetrics(fits=params.n < params.high, low=params.n**2.0)
