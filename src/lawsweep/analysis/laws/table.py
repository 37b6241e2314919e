"""The parameters of fits as one table: text that folds to a width, LaTeX, CSV.

A row is a parameter of a group of a fit, or a group that has no fit, with the reason.  The text and
LaTeX round to the digits that the interval determines; the CSV has every digit.
"""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.laws.fitted import Parameter
from lawsweep.core.errors import unknown_name

if TYPE_CHECKING:
    from lawsweep.analysis.laws.results import FitResult

FORMATS = ("table", "latex", "csv")
NARROWEST = 24  # characters of a folded column


@dataclass(frozen=True, kw_only=True)
class Row:
    """One parameter of one group; without ``parameter``, a group without a fit.

    ``source`` says where the interval comes from: ``seeds``, ``scatter``, or nothing.  ``n_upper``
    and ``n_lower`` are the rows that are bounds of their y.
    """

    name: str
    law: str
    group: Mapping[str, Any]
    parameter: Parameter | None
    level: float
    source: str
    n_points: int
    n_rows: int
    n_upper: int
    n_lower: int
    n_seeds: int | None
    verdict: str


def fit_rows(results: Sequence[FitResult]) -> list[Row]:
    """The rows of the table of these fits, in their order."""
    rows = []
    for found in results:
        base: dict[str, Any] = {
            "name": found.spec.name,
            "law": found.spec.law,
            "group": found.group,
            "level": found.spec.level,
            "n_points": found.n_points,
            "n_rows": found.n_rows,
            "n_upper": found.n_bounds["upper"],
            "n_lower": found.n_bounds["lower"],
        }
        said = found.reason or _short(found.verdict)
        rows += [
            Row(
                parameter=p,
                source=_source(p),
                n_seeds=found.seed_laws if _source(p) == "seeds" else None,
                verdict=said,
                **base,
            )
            for p in found.parameters
        ] or [Row(parameter=None, source="", n_seeds=None, verdict=f"no fit: {said}", **base)]
    return rows


def fit_table(results: Sequence[FitResult], format: str = "table", *, width: int = 100) -> str:
    """The parameters of these fits as ``table`` (text of ``width``), ``latex`` or ``csv``.

    Raises UnknownNameError for another format.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    rows = fit_rows(results)
    if format == "csv":
        return _csv(rows)
    if format == "latex":
        return _latex(rows)
    names = dict.fromkeys(r.name for r in rows)
    return "\n\n".join(_text([r for r in rows if r.name == n], width) for n in names)


def _source(parameter: Parameter) -> str:
    ends = (parameter.low, parameter.high)
    if parameter.seeds is not None and parameter.scatter != ends:
        return "seeds"
    return "scatter" if math.isfinite(parameter.high - parameter.low) else ""


def _short(verdict: str | None) -> str:
    """``supported``, or ``not supported: …`` up to its first stop; empty where nothing is known."""
    if verdict is None:
        return ""
    if "is supported" in verdict:
        return "supported"
    short = re.sub(r"^.*?(?=not supported)", "", verdict)
    return re.sub(r"(?s)^((?:\([^()]*\)|[^;])*).*$", r"\1", short)


def _text(rows: Sequence[Row], width: int) -> str:
    """The table of one fit under its name; the last column folds."""
    columns = list(dict.fromkeys(k for r in rows for k in r.group))
    head = [*columns, "parameter", "estimate", "interval", "from", "points", "bounds", "verdict"]
    cells = [head]
    for r in rows:
        p = r.parameter
        estimate, interval = ("", "") if p is None else _split(p)
        source = f"{r.n_seeds} seeds" if r.n_seeds else r.source
        group = [_plain(r.group.get(k)) for k in columns]
        name = "" if p is None else p.name
        cells.append(
            [*group, name, estimate, interval, source, str(r.n_points), _bounds(r), r.verdict]
        )
    used = [k for k in range(len(head)) if any(row[k] for row in cells[1:])]
    cells = [[row[k] for k in used] for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    folds = head[used[-1]] == "verdict"
    room = width - 2 - sum(widths[:-1]) - 2 * len(widths[:-1])
    below = folds and room < min(widths[-1], NARROWEST)  # too narrow: the verdict stands beneath
    lines = [f"{rows[0].name} ({rows[0].law}, {100 * rows[0].level:g} %)"]
    for row in cells:
        last = [row[-1].rjust(widths[-1])]
        if folds:
            last = textwrap.wrap(row[-1], max(width - 6, NARROWEST) if below else room) or [""]
        fixed = "  ".join(c.rjust(w) for c, w in zip(row[:-1], widths[:-1], strict=True))
        if below:
            lines.append(f"  {fixed}")
            lines += [f"      {piece}" for piece in last if piece and row is not cells[0]]
            continue
        for i, piece in enumerate(last):
            before = fixed if i == 0 else " " * len(fixed)
            lines.append(f"  {before}  {piece}".rstrip())
    return "\n".join(lines)


def _bounds(row: Row) -> str:
    """``12 upper of 40``: rows that are bounds; empty where none is."""
    kinds = ((row.n_upper, "upper"), (row.n_lower, "lower"))
    said = ", ".join(f"{n} {kind}" for n, kind in kinds if n)
    return f"{said} of {row.n_rows}" if said else ""


def _split(parameter: Parameter) -> tuple[str, str]:
    """``1.19`` and ``[1.15, 1.23]``."""
    estimate, mark, ends = parameter.interval().partition(" [")
    return estimate, f"{mark.strip()}{ends}"


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


_ESCAPES = {
    "\\": r"\textbackslash{}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "≤": r"$\le$", "≥": r"$\ge$",
    "→": r"$\to$", "±": r"$\pm$", "Δ": r"$\Delta$",
}  # fmt: skip


def latex_text(text: str) -> str:
    """The text as LaTeX sets it: what has a meaning there is escaped, lines are one."""
    return "".join(_ESCAPES.get(c, c) for c in " ".join(text.split()))


def latex_number(text: str) -> str:
    """A number as mathematics: ``$-1.2 \\cdot 10^{-5}$``, ``$\\infty$``, ``--`` for NaN."""
    if "nan" in text:
        return "--"
    mantissa, _, exponent = text.replace("inf", r"\infty").partition("e")
    power = rf" \cdot 10^{{{int(exponent)}}}" if exponent else ""
    return f"${mantissa}{power}$"


def _latex(rows: Sequence[Row]) -> str:
    """A tabular of booktabs."""
    columns = list(dict.fromkeys(k for r in rows for k in r.group))
    bounds = any(_bounds(r) for r in rows)
    head = ["fit", *columns, "parameter", "estimate", "interval", "points"]
    head += ["bounds"] if bounds else []
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(columns)}lrlr{'r' if bounds else ''}}}",
        r"\toprule",
        " & ".join(map(latex_text, head)) + r" \\",
        r"\midrule",
    ]
    for i, r in enumerate(rows):
        if i and r.name != rows[i - 1].name:
            lines.append(r"\midrule")
        cells = [latex_text(r.name), *(latex_text(_plain(r.group.get(k))) for k in columns)]
        if r.parameter is None:
            cells.append(rf"\multicolumn{{3}}{{l}}{{{latex_text(r.verdict)}}}")
        else:
            estimate, ends = _split(r.parameter)
            low, high = ends.strip("[]").split(", ")
            shown = f"[{latex_number(low)}, {latex_number(high)}]"
            cells += [latex_text(r.parameter.name), latex_number(estimate), f"{{{shown}}}"]
        cells += [str(r.n_points), *([_bounds(r)] if bounds else [])]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _csv(rows: Sequence[Row]) -> str:
    """RFC 4180: lines end in CR LF; a text that a spreadsheet would compute is one of text."""
    from lawsweep.store.exchange.plain_text import guarded

    def cell(value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, float):
            return repr(float(value))
        return value if isinstance(value, int) else guarded(str(value))

    columns = list(dict.fromkeys(k for r in rows for k in r.group))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    said = ("scatter_low", "scatter_high", "seeds_low", "seeds_high")
    numbers = ("estimate", "low", "high", "level", "interval_from", *said)
    counts = ("n_points", "n_rows", "n_seeds", "verdict", "n_upper_bounds", "n_lower_bounds")
    writer.writerow(map(cell, ("fit", "law", *columns, "parameter", *numbers, *counts)))
    for r in rows:
        p = r.parameter
        values: list[Any] = [None] * (1 + len(numbers))
        if p is not None:
            ends = (*(p.scatter or (None, None)), *(p.seeds or (None, None)))
            values = [p.name, p.estimate, p.low, p.high, r.level, r.source, *ends]
        group = [r.group.get(k) for k in columns]
        tail = [r.n_points, r.n_rows, r.n_seeds, r.verdict, r.n_upper, r.n_lower]
        writer.writerow(map(cell, [r.name, r.law, *group, *values, *tail]))
    return out.getvalue()
