"""``lawsweep.report``: of a run that is under way a point of its curve, of a sweep its page."""

from __future__ import annotations

from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lawsweep.core.during.under_way import is_under_way
from lawsweep.core.during.under_way import report as report_point

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep, Url
    from lawsweep.study.study import Study


@overload
def report(step: int, /, **metrics: Any) -> None: ...


@overload
def report(*, step: int, **metrics: Any) -> None: ...


@overload
def report(sweep: Sweep | Study | str | Path, /, typed: str | None = None) -> Path | Url: ...


@overload
def report(*, sweep: Sweep | Study | str | Path, typed: str | None = None) -> Path | Url: ...


def report(*given: Any, **named: Any) -> Any:
    """In a run: ``report(step, **metrics)`` adds a point to its curve.  Of a sweep: its page.

    ``step`` is a whole number that does not go back, the metrics are numbers (NaN and infinity are
    kept).  Points stand beside the table (``study.curves()``), a long curve is thinned, and a
    function that is called by hand, outside a launch, reports to nobody.  Raises InvalidValueError
    for what is no report.

    ``report(sweep)`` writes ``report.html`` into the sweep's folder: see ``Study.report``.
    """
    first, *others = given or (named.get("step", named.get("sweep")),)
    if is_under_way() or isinstance(first, Number) or "step" in named:
        named.pop("step", None) if not given else None
        if others:
            from lawsweep.core.errors import InvalidValueError

            raise InvalidValueError(
                f"report takes a step and metrics by name, got {others[0]!r} without one. Write "
                "report(10, loss=0.5)."
            )
        return report_point(first, named)
    from lawsweep.study.verbs import report_page

    return report_page(*given, **named)
