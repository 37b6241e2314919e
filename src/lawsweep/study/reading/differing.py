"""Differences with intervals: of the groups of a sweep's fits, of the thresholds of two sweeps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.laws.differences import Difference, differences, of_ends
from lawsweep.analysis.laws.fitted import count
from lawsweep.core.errors import InvalidValueError
from lawsweep.study.opening import Opened
from lawsweep.study.reading.findings import thresholds
from lawsweep.study.reading.fitting import fit

if TYPE_CHECKING:
    from lawsweep.analysis.laws.results import FitResult


@dataclass(frozen=True, kw_only=True)
class GroupComparison:
    """The fits of one sweep, and how the groups of each differ."""

    fits: tuple[FitResult, ...]
    differences: tuple[Difference, ...]


def compare_groups(study: Opened) -> GroupComparison:
    """The differences between the groups of each fit of a sweep.

    Raises InvalidValueError where no fit of it has two groups.
    """
    if not any(entry.get("by") for entry in study.sweep.fits if isinstance(entry, Mapping)):
        raise InvalidValueError(
            f"compare needs a second sweep, or --against with what is different, as no fit of "
            f"{study.sweep.name} has groups (by) to compare: lawsweep compare {study.sweep.typed} "
            f"--against params.x=1"
        )
    found = fit(study)
    return GroupComparison(fits=tuple(found), differences=tuple(differences(found)))


def threshold_differences(
    a: Opened, b: Opened, apart: Collection[str]
) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """B - A of the thresholds of cells that are in both; of searches of one axis, else none.

    The searches of the two sweeps are taken for independent.  A cell whose threshold or an end of
    its interval is not known in both is counted in a note.
    """
    if not (a.cells and b.cells and _axis(a) == _axis(b)):
        return (), ()
    cells = [_cells(study, apart) for study in (a, b)]
    told = {k for side in cells for k, n in Counter(_values(side)).items() if n > 1}
    found, n_unknown = [], 0
    for key, first in cells[0].items():
        if key not in cells[1]:
            continue
        second = cells[1][key]
        x, y = _ends(first), _ends(second)
        level = float(first["confidence"])
        ends = of_ends(x, y) if level == float(second["confidence"]) else None
        if ends is None:
            n_unknown += 1
            continue
        at = ", ".join(f"{name}={value}" for name, value in key if name in told)
        found.append(
            Difference(
                name="thresholds",
                parameter=f"n_star at {at}" if at else "n_star",
                a="A",
                b="B",
                level=level,
                estimate=y[0] - x[0],
                independent=ends,
                unpaired="searches",
            )
        )
    notes = (
        [
            f"{count(n_unknown, 'cell')} without a difference: a threshold, or an end of it, is "
            "not known"
        ]
        if n_unknown
        else []
    )
    return tuple(found), tuple(notes)


def _cells(study: Opened, apart: Collection[str]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """Thresholds by the params of their cells; cells that these do not tell apart have none."""
    settings = {s.name for s in study.plan.experiment.params} - {*apart}
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for record in thresholds(study).to_dict("records"):
        row = {str(k): v for k, v in record.items()}
        key = tuple((k, v) for k, v in row.items() if k in settings)
        found[key] = {"confidence": row["confidence"]} if key in found else row
    return found


def _values(cells: Mapping[tuple[Any, ...], Any]) -> list[str]:
    """The name of a param once for each value that it has."""
    return [name for name, _ in dict.fromkeys(pair for key in cells for pair in key)]


def _axis(study: Opened) -> Any:
    search = study.sweep.search
    return search.get("axis") if isinstance(search, Mapping) else None


def _ends(row: Mapping[str, Any]) -> tuple[float, float, float]:
    n_star, low, high = (
        float(v) if isinstance(v, int | float) else math.nan
        for v in (row.get(name) for name in ("n_star", "low", "high"))
    )
    return n_star, low, high
