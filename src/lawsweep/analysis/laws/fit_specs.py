"""What a sweep's ``fits`` ask for, checked before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lawsweep.analysis.entries import Entry, distinct_names, entries
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression

LAWS = ("power", "exponential", "linear", "terms")


@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """One law to fit, once per group of ``by``; x, y, terms and where are expressions.

    ``power``: y = C x^a; ``exponential``: y = C exp(a x); ``linear``: y = b + a x;
    ``terms``: y = Σ c_k terms_k, without an intercept unless a term is ``1``.
    ``local``: give the slope between each two neighbouring points too.
    """

    name: str
    law: str
    y: str
    x: str | None = None
    by: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    where: str | None = None
    level: float = 0.95
    local: bool = False


def parse_fits(
    given: Any, columns: Sequence[str], kinds: Mapping[str, str] | None = None
) -> tuple[FitSpec, ...]:
    """The ``fits`` of a sweep file.  ``columns`` are the names its table will have.

    ``kinds``: what they hold, where it is known: bool, int, float, str, or another word.

    Raises UnknownNameError (key, law, column, function) or InvalidValueError, naming the entry.
    """
    specs = [_read(entry, columns) for entry in entries(given, "fits", FitSpec, kinds)]
    names = distinct_names([s.name for s in specs])
    return tuple(replace(s, name=n) for s, n in zip(specs, names, strict=True))


def _read(entry: Entry, columns: Sequence[str]) -> FitSpec:
    law = entry.choice("law", LAWS, None)
    by_terms = law == "terms"
    entry.require("y", "terms" if by_terms else "x")
    entry.refuse("x" if by_terms else "terms", f"law {law}")
    if by_terms:
        entry.refuse("local", "law terms")
    level = entry.values.get("level", 0.95)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise entry.wrong("level", "a number between 0 and 1, for example 0.95", level)
    y = entry.expression("y", columns)
    return FitSpec(
        name=entry.stem(law, y),
        law=law,
        y=y,
        x=None if by_terms else entry.expression("x", columns),
        by=entry.columns("by", columns),
        terms=entry.expressions("terms", columns) if by_terms else (),
        where=entry.condition("where", columns),
        level=float(level),
        local=entry.flag("local") or False,
    )


# Columns that only the table of thresholds has, and that a law may be about.
MEASURED = ("n_star", "low", "high", "transition_width")


def reads_cells(spec: FitSpec, names: Iterable[str]) -> bool:
    """Whether a fit of a search is one of thresholds, not of its rows, whose columns are ``names``.

    A metric that is called ``low``, say, is meant where it is named.
    """
    texts = [t for t in (spec.y, spec.x, *spec.terms) if t is not None]
    measured = set(MEASURED) - set(names)
    return any(set(Expression(text).names) & measured for text in texts)


def check_sources(specs: Iterable[FitSpec], rows: Collection[str], cells: Collection[str]) -> None:
    """Refuse a fit of a search that takes columns of thresholds and of runs alike.

    ``rows`` and ``cells`` are the columns of each.  Raises InvalidValueError.
    """
    for spec in specs:
        texts = [t for t in (spec.y, spec.x, *spec.terms, spec.where) if t is not None]
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
