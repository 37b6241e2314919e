"""An experiment with a param of every kind, and one whose metrics are whatever a test wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lawsweep import Array, experiment


@dataclass(frozen=True, kw_only=True)
class Params:
    """Params of ``kinds``."""

    name: str = "x"
    label: str | None = None
    count: int = 1
    rate: float = 0.5
    flag: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics of ``kinds``."""

    y: float = 0.0


@experiment(version=1)
def kinds(params: Params, seed: int) -> Metrics:
    """Answer nothing."""
    return Metrics()


@dataclass(frozen=True, kw_only=True)
class OneParam:
    """Params of ``answers``."""

    i: int = 0


@dataclass(frozen=True, kw_only=True)
class Everything:
    """A metric of every kind."""

    real: float = 0.5
    whole: int = 1
    truth: bool = True
    text: str = "a"
    word: Literal["good", "bad"] = "good"
    numbers: tuple[int, ...] = (1, 2)
    maybe: float | None = None
    curve: Array = (1.0, 2.0)
    picture: Array | None = None


given: dict[str, Any] = {}


@experiment(version=1)
def answers(params: OneParam, seed: int) -> Everything:
    """Answer with the metrics that are ``given``."""
    return Everything(**given)
