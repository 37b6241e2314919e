"""Experiments that cost nothing, or a known time, so that what is left is the engine's."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lawsweep import experiment


@dataclass(frozen=True, kw_only=True)
class Params:
    index: int
    sleep_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Metrics:
    value: int


@experiment(version=1)
def noop(params: Params, seed: int) -> Metrics:
    """Nothing, or a nap."""
    if params.sleep_s:
        time.sleep(params.sleep_s)
    return Metrics(value=params.index)
