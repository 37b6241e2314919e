"""``lawsweep fit``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.analysis.laws.results import FitResult


@dataclass
class Fitted(Answer):
    """The sweep's fits."""

    fits: list[FitResult]

    def lines(self) -> Iterator[str]:
        """A line a fit."""
        return (f"fit:    {found.summary()}" for found in self.fits)

    def to_dict(self) -> list[dict[str, Any]]:
        """All that each fit says of itself."""
        return [found.to_dict() for found in self.fits]


@verb(30, only_prints=True)
@sweep_arguments
def fit(sweep: str, overrides: tuple[str, ...]) -> Fitted:
    """Fit the laws the sweep names: exponents with intervals."""
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    if not loaded.fits:
        raise InvalidValueError(f"Sweep {loaded.name} names no fits; add some under fits.")
    return Fitted(Study(loaded).fit())
