"""What a sweep's ``search`` block asks for: the threshold of an event along one axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.expression import Expression

_EXAMPLE = "for example {axis: n_samples, event: memorized}"


@dataclass(frozen=True)
class SearchSpec:
    """Find where ``event`` stops being true as ``axis`` grows (``rising``: where it becomes true).

    ``axis`` is swept, and its planned values are the candidates; the other axes span the cells.
    ``event`` is a yes/no expression over params and metrics.  A comparison with a NaN is false (and
    ``!=`` true), so write it such that false is what a run that diverged should count as: ``loss <
    1``, not ``not loss > 1``.  A cell is resolved when the half
    width of its interval, which holds the threshold with probability ``confidence``, is at most
    ``tolerance`` times the threshold (of an axis that reaches 0 or below: times its span); it is
    given up after ``max_runs`` runs.  ``batch`` runs of
    a cell are asked for at once.
    """

    axis: str
    event: str
    rising: bool = False
    tolerance: float = 0.05
    confidence: float = 0.9
    max_runs: int = 40
    batch: int = 4

    @property
    def typical_runs(self) -> int:
        """Runs that a cell whose transition is about as wide as the tolerance needs: seen."""
        return min(self.max_runs, 28)

    def __post_init__(self) -> None:
        for name in ("axis", "event"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise _wrong(name, "text", getattr(self, name))
        if not isinstance(self.rising, bool):
            raise _wrong("rising", "true or false", self.rising)
        for name, low, high in (("tolerance", 0.0, 1.0), ("confidence", 0.5, 1.0)):
            value = getattr(self, name)
            good = isinstance(value, int | float) and not isinstance(value, bool)
            if not good or not low < value < high:
                raise _wrong(name, f"a number between {low:g} and {high:g}", value)
        for name, most in (("max_runs", 100_000), ("batch", 1000)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise _wrong(name, f"a whole number from 1 to {most:,}", value)
        Expression(self.event)


def read_search(value: Any) -> SearchSpec | None:
    """The ``search`` block of a sweep; None where it has none.  Raises a LawsweepError."""
    if value is None or isinstance(value, SearchSpec):
        return value
    names = [f.name for f in dataclasses.fields(SearchSpec)]
    if not isinstance(value, Mapping):
        raise InvalidValueError(f"search must be a mapping, {_EXAMPLE}; got {value!r}.")
    for key in value:
        if key not in names:
            raise unknown_name("key", str(key), names, "search")
    for key in ("axis", "event"):
        if value.get(key) is None:
            raise InvalidValueError(f"search needs {key}, {_EXAMPLE}; got {dict(value)!r}.")
    return SearchSpec(**{k: v for k, v in value.items() if v is not None})


def _wrong(name: str, expected: str, got: Any) -> InvalidValueError:
    return InvalidValueError(f"search.{name} must be {expected}, got {got!r}. Change its value.")
