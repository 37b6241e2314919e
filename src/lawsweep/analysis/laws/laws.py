"""The laws by name, and what a sweep's ``fits`` ask for, checked before anything runs."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lawsweep.analysis.entries import Entry, distinct_names, entries
from lawsweep.analysis.laws.fit_specs import KEYS, FitSpec
from lawsweep.analysis.laws.law import Law
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.plugins import load_class

GROUP = "lawsweep.laws"
LAWS: dict[str, str] = {
    "power": "lawsweep.analysis.laws.straight:Power",
    "exponential": "lawsweep.analysis.laws.straight:Exponential",
    "linear": "lawsweep.analysis.laws.straight:Linear",
    "terms": "lawsweep.analysis.laws.terms:Terms",
    "power_offset": "lawsweep.analysis.laws.nonlinear.powers:PowerOffset",
    "two_powers": "lawsweep.analysis.laws.nonlinear.powers:TwoPowers",
    "power_log": "lawsweep.analysis.laws.nonlinear.power_log:PowerLog",
    "rate": "lawsweep.analysis.laws.nonlinear.rate:Rate",
    "joint": "lawsweep.analysis.laws.nonlinear.joint:Joint",
    "collapse": "lawsweep.analysis.laws.collapse.law:Collapse",
}


@functools.cache
def find_law(name: str) -> Law:
    """The law of that name, ours or another package's.  Raises a LawsweepError."""
    found: Law = load_class(GROUP, name, LAWS, Law)()
    return found


def parse_fits(
    given: Any, columns: Sequence[str], kinds: Mapping[str, str] | None = None
) -> tuple[FitSpec, ...]:
    """The ``fits`` of a sweep file.  ``columns`` are the names its table will have.

    ``kinds``: what they hold, where it is known: bool, int, float, str, or another word.

    Raises UnknownNameError (key, law, column, function) or InvalidValueError, naming the entry.
    """
    specs = [read_fit(entry, columns) for entry in entries(given, "fits", KEYS, kinds)]
    names = distinct_names([s.name for s in specs])
    return tuple(replace(s, name=n) for s, n in zip(specs, names, strict=True))


def read_fit(entry: Entry, columns: Sequence[str]) -> FitSpec:
    """The fit that one entry asks for; its name may be that of another."""
    name = entry.kind("law", GROUP, LAWS)
    law = None if name is None else find_law(name)
    entry.check_keys(KEYS if law is None else (*KEYS, *law.own))
    if name is None or law is None:
        raise entry.unknown_kind("law", GROUP, LAWS)
    return law.read(entry, name, columns)


# Columns that only the table of thresholds has, and that a law may be about.
MEASURED = ("n_star", "low", "high", "transition_width")


def reads_cells(spec: FitSpec, names: Iterable[str]) -> bool:
    """Whether a fit of a search is one of thresholds, not of its rows, whose columns are ``names``.

    A metric that is called ``low``, say, is meant where it is named.
    """
    measured = set(MEASURED) - set(names)
    return any(
        set(Expression(text).names) & measured for _, text in find_law(spec.law).expressions(spec)
    )


def check_sources(specs: Iterable[FitSpec], rows: Collection[str], cells: Collection[str]) -> None:
    """Refuse a fit of a search that takes columns of thresholds and of runs alike.

    ``rows`` and ``cells`` are the columns of each.  Raises InvalidValueError.
    """
    for spec in specs:
        read = find_law(spec.law).expressions(spec)
        texts = [*(text for _, text in read), *([spec.where] if spec.where else [])]
        ours, what, other = (
            (cells, "thresholds", "runs")
            if reads_cells(spec, rows)
            else (rows, "runs", "thresholds")
        )
        for name in dict.fromkeys([*(n for t in texts for n in Expression(t).names), *spec.by]):
            if name not in ours:
                raise InvalidValueError(
                    f"The fit {spec.name} is one of {what}, and {name!r} is a column of {other} "
                    f"alone. Leave it out, or take one of: {', '.join(sorted(ours))}."
                )
