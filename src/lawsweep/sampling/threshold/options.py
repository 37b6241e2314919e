"""What a search for a threshold is told: the event, the axis, and how well it is to be known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.options import check_options
from lawsweep.core.schema import Field

_EXAMPLE = "for example {axis: n_samples, event: memorized}"


@dataclass(frozen=True)
class ThresholdOptions:
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
    tolerance: Annotated[float, Field("share of the threshold", gt=0, lt=1)] = 0.05
    confidence: Annotated[float, Field("of the interval", gt=0.5, lt=1)] = 0.9
    max_runs: Annotated[int, Field("runs of a cell", ge=1, le=100_000)] = 40
    batch: Annotated[int, Field("runs at once", ge=1, le=1000)] = 4

    @property
    def typical_runs(self) -> int:
        """Runs that a cell whose transition is about as wide as the tolerance needs: seen."""
        return min(self.max_runs, 28)

    def __post_init__(self) -> None:
        check_options(self, "search")
        for name in ("axis", "event"):
            if not getattr(self, name).strip():
                raise InvalidValueError(f"search.{name} must be text, got none, {_EXAMPLE}.")
        Expression(self.event)
