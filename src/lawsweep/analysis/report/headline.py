"""The result in words: each law's leading parameter with its interval, and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lawsweep.analysis.report.charts import plain
from lawsweep.analysis.report.facts import Facts
from lawsweep.analysis.report.markup import badge, folded, section, table, text

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fitted import Parameter
    from lawsweep.analysis.laws.results import FitResult

SHOWN = 6  # laws that lead the page; the others are in the table
_KINDS = {"ok": "ok", "infeasible": "infeasible", "stopped": "infeasible"}  # no failures


def headline(facts: Facts) -> str:
    """What came out, and how complete it is."""
    fits = facts.fits
    parts = [_law(found) for found in fits[:SHOWN]]
    if len(fits) > SHOWN:
        more = len(fits) - SHOWN
        parts.append(f'<p><a href="#parameters">{more} more in the table of parameters</a></p>')
    if facts.found:
        parts += [f"<p>{text(facts.found[0])}</p>", _lines(facts.found[1:])]
    if not fits and not facts.found:
        parts.append(f"<p>{text(facts.no_fits or 'This sweep asks for no fits.')}</p>")
    parts.append(_completeness(facts))
    parts += [f'<p class="note"><strong>Note:</strong> {text(n)}</p>' for n in facts.notes]
    parts += [
        f'<p class="note bad"><strong>Not drawn:</strong> {text(n)}</p>' for n in facts.not_drawn
    ]
    return section("result", "Result", parts)


def parameters(facts: Facts) -> str:
    """Every parameter of every law, to be copied."""
    fits = [f for f in facts.fits if f.parameters]
    if not fits:
        return ""
    rows = []
    for f in fits:
        level = f"{100 * f.spec.level:g} %"
        for p in f.parameters:
            rows.append(
                [text(f.spec.name), text(f.label()), f"<code>{text(p.name)}</code>",
                 _cell(p.estimate), _cell(p.low), _cell(p.high), text(level),
                 str(f.n_points), str(f.n_rows), _verdict_badge(f)]
            )  # fmt: skip
    head = (
        "fit",
        "group",
        "parameter",
        "estimate",
        "low",
        "high",
        "level",
        "points",
        "rows",
        "law",
    )
    buttons = "".join(
        f'<button type="button" data-from="table-{kind}">Copy as {label}</button>'
        for kind, label in (("text", "text"), ("latex", "LaTeX"), ("csv", "CSV"))
        if kind in facts.tables
    )
    kept = "".join(
        f'<pre id="table-{kind}" tabindex="0">{text(made)}</pre>'
        for kind, made in facts.tables.items()
    )
    lines = "\n".join(f.summary() for f in fits)
    return section(
        "parameters",
        "Parameters",
        [
            table(head, rows, "Parameters of the laws"),
            f'<div class="tools">{buttons}</div>' if buttons else "",
            folded("as-text", "The table as text, LaTeX and CSV", kept) if kept else "",
            folded("lines", "Each law on a line, with its evidence", f"<pre>{text(lines)}</pre>"),
        ],
    )


def leading(p: Parameter) -> str:
    """``exponent 1.28 ± 0.03``; both ends where the interval is not about the estimate's."""
    name = "constant" if p.name == "1" else plain(p.name)  # of terms, the intercept
    half = (p.high - p.low) / 2
    if math.isinf(half):  # not bounded, and that is the finding
        return f"{name} {p.interval()}"
    if not (math.isfinite(half) and half > 1e-12 * abs(p.estimate)):
        return f"{name} {p.estimate:.4g}"
    middle = (p.high + p.low) / 2
    if abs(middle - p.estimate) > 0.1 * half:
        return f"{name} {p.interval()}"
    power = math.floor(math.log10(half))
    digits = -power + (1 if half < 3 * 10.0**power else 0)
    if not 0 <= digits <= 6 or abs(p.estimate) >= 1e6:
        return f"{name} {p.estimate:.4g} ± {half:.2g}"
    return f"{name} {p.estimate:.{digits}f} ± {half:.{digits}f}"


def kind_of(found: FitResult) -> str:
    """``good``, ``warn`` (something must be known of it) or ``bad`` (no fit)."""
    if found.reason is not None:
        return "bad"
    if "not supported" in (found.verdict or "") or found.warnings:
        return "warn"
    return "good" if "supported" in (found.verdict or "") else ""


def _law(found: FitResult) -> str:
    kind, where = kind_of(found), found.label()
    inputs = ", ".join(dict.fromkeys(t for _, t in found.law.inputs(found.spec)))
    about = f"{found.spec.y} against {inputs}" if inputs else found.spec.y
    head = f"<strong>{text(found.spec.name)}</strong> · {text(about)}"
    head += f" · {text(where)}" if where else ""
    if found.reason is not None:
        said = f"<p>{badge('bad', 'no fit')}{text(found.summary())}</p>"
        return f'<div class="law bad"><p class="soft">{head}</p>{said}</div>'
    names = found.law.leading or ("exponent",)
    lead = [p for p in found.parameters if p.name in names] or [found.parameters[-1]]
    level = f"{100 * found.spec.level:g} % interval"
    value = (
        f'<p class="value">{text(", ".join(leading(p) for p in lead))} <small>({level})</small></p>'
    )
    verdict = found.verdict
    said = f"<p>{_verdict_badge(found)}{text(verdict)}</p>" if verdict else ""
    told = "".join(
        f"<p>{badge('warn', 'warning')}{text(w)}</p>"
        for w in dict.fromkeys(found.other_warnings if verdict else found.warnings)
    )
    formula = f'<p class="soft"><code>{text(found.law.formula(found))}</code></p>'
    return f'<div class="law {kind}"><p class="soft">{head}</p>{value}{said}{told}{formula}</div>'


def _verdict_badge(found: FitResult) -> str:
    said = found.verdict or ""
    if "not supported" in said:
        return badge("warn", "not supported")
    return badge("good", "supported") if "is supported" in said else ""


def _completeness(facts: Facts) -> str:
    done = sum(facts.statuses.values())
    whole = done >= facts.planned and not facts.failures
    kind, word = ("good", "complete") if whole else ("warn", "not complete")
    shares = [
        f'<i class="{_KINDS.get(status, "bad")}" style="width:{100 * n / facts.planned:.3f}%"></i>'
        for status, n in sorted(facts.statuses.items(), key=lambda e: e[0] != "ok")
        if n and facts.planned
    ]
    running = f"; {facts.running:,} running" if facts.running else ""
    said = text(facts.certificate)
    return (
        f"<p>{badge(kind, word)}<strong>{said}</strong>{running}</p>"
        f'<div class="bar" role="img" aria-label="{said}">{"".join(shares)}</div>'
    )


def _lines(lines: Sequence[str]) -> str:
    return f"<pre>{text(chr(10).join(lines))}</pre>" if lines else ""


def _cell(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.6g}" if math.isfinite(value) else "?"
