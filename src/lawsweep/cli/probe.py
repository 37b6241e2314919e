"""An experiment that computes nothing, for ``lawsweep doctor``."""

from __future__ import annotations

from dataclasses import dataclass

from lawsweep.core.plain.decorator import experiment


@dataclass(frozen=True, kw_only=True)
class Params:
    """None."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The seed comes back."""

    echo: int


@experiment(version=1)
def probe(params: Params, seed: int) -> Metrics:
    """Give back the seed."""
    return Metrics(echo=seed)
