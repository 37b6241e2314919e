"""Sections of the page below its result: figures, what is missing, cost, provenance, columns."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from lawsweep.analysis.report.facts import Drawing, Facts
from lawsweep.analysis.report.markup import command, embedded, folded, section, table, text

TABLE_ROWS = 200  # of a chart's points that the page lists; all are in its CSV
_HINT = (
    "Drag to move, Shift and the wheel to zoom, a double click sets it back; the arrow keys go "
    "from point to point; a click on a point or an entry of the legend picks it."
)


def figures(facts: Facts) -> str:
    """The charts, each with its picture for where no script runs, its caption and its data."""
    if not facts.figures:
        return ""
    show = "lawsweep show" + (f" {facts.results}" if facts.results else "")
    parts = [_figure(k, d, show) for k, d in enumerate(facts.figures)]
    if any(d.chart is not None for d in facts.figures):
        parts.append(f'<p class="soft">{text(_HINT)}</p>')
    return section("figures", "Figures", parts)


def _figure(k: int, drawing: Drawing, show: str) -> str:
    name, chart = f"figure-{k}", drawing.chart
    about = _about(drawing)
    still = ""
    if drawing.picture is not None:
        data = base64.b64encode(drawing.picture).decode("ascii")
        still = f'<img class="still" alt="{text(about)}" src="data:image/png;base64,{data}">'
    links = " · ".join(
        f'<a href="{text(f)}">{text(f.rpartition(".")[2].upper())}</a>' for f in drawing.files
    )
    caption = f"<strong>{text((chart or {}).get('title') or drawing.name)}.</strong> "
    caption += text(". ".join(_notes(drawing)))
    caption = f"<figcaption>{caption}{' · ' + links if links else ''}</figcaption>"
    if chart is None:
        return f'<figure id="{name}">{still}{caption}</figure>'
    tools = "".join(
        f'<button type="button" data-act="{act}"{more}>{label}</button>'
        for act, label, more in (
            ("logx", "log x", ' aria-pressed="false"'),
            ("logy", "log y", ' aria-pressed="false"'),
            ("in", "Zoom in", ""),
            ("out", "Zoom out", ""),
            ("reset", "Reset", ""),
            ("svg", "SVG", ' aria-label="Download as SVG"'),
            ("png", "PNG", ' aria-label="Download as PNG"'),
            ("csv", "CSV", ' aria-label="Download the data as CSV"'),
        )
    )
    of = f'aria-label="Tools of {text(drawing.name)}"'
    return (
        f'<figure id="{name}" data-show="{text(show)}">'
        f'<div class="tools" role="group" {of} hidden>{tools}</div>{still}'
        f'<div class="chart" hidden tabindex="0" role="img" aria-label="{text(about)}"></div>'
        f'<p class="picked" aria-live="polite"></p>{caption}{_points(name, chart)}'
        f'<script type="application/json">{embedded(chart)}</script></figure>'
    )


def _notes(drawing: Drawing) -> list[str]:
    chart = drawing.chart or {}
    band = [f"Bars: {chart['band']}"] if chart.get("band") else []
    laws = ["lines: the fitted law with its band"] if chart.get("laws") else []
    made = [drawing.caption, *band, *laws, *chart.get("notes", ())]
    return [m[0].upper() + m.rstrip(".")[1:] for m in made if m]


def _about(drawing: Drawing) -> str:
    """What a figure shows, for who does not see it."""
    chart = drawing.chart
    if chart is None:
        return f"Figure {drawing.name}. {drawing.caption}"
    x, y = ([v for v in chart["marks"][k] if v is not None] for k in "xy")
    n = len(chart["groups"])
    by = f" in {n} groups by {chart['by']}" if chart["by"] else ""
    return (
        f"{chart['y']} against {chart['x']}{by}: {len(x)} points, {chart['x']} from {min(x):.4g} "
        f"to {max(x):.4g}, {chart['y']} from {min(y):.4g} to {max(y):.4g}. "
        "The points are in the table below it."
    )


def _points(name: str, chart: Mapping[str, Any]) -> str:
    m = chart["marks"]
    n = min(len(m["x"]), TABLE_ROWS)
    rows = [
        [text(chart["groups"][m["g"][i]]), f"{m['x'][i]:.6g}", f"{m['y'][i]:.6g}", str(m["n"][i]),
         f"<code>{text(', '.join(m['runs'][i]))}</code>"]
        for i in range(n)
    ]  # fmt: skip
    head = ("group", chart["x"], chart["y"], "rows", "runs")
    left = (
        f"<p>The first {n} of {len(m['x']):,}; all are in the CSV.</p>" if n < len(m["x"]) else ""
    )
    return folded(f"{name}-data", "The points as a table", left + table(head, rows, "Points"))


def decisions(facts: Facts) -> str:
    """What was asked for and why, where runs are chosen until an interval is narrow."""
    if not facts.decisions:
        return ""
    rows = [
        [text(d["setting"]), str(d["round"]), text(d["action"]), f"{d['n_runs']:,}",
         _time(d["predicted_s"]), _number(d["estimate"]), _number(d["half_width"]),
         text(d["reason"])]
        for d in facts.decisions[:TABLE_ROWS]
    ]  # fmt: skip
    n, asked = len(facts.decisions), sum(d["predicted_s"] for d in facts.decisions)
    head = ("setting", "round", "action", "runs", "predicted", "estimate", "±", "why")
    more = f"<p>The first {TABLE_ROWS}; all are in decisions.parquet.</p>" if n > TABLE_ROWS else ""
    said = f"{n:,} decisions; {_time(asked)} of predicted computation asked for"
    made = folded("why", said, more + table(head, rows, "Decisions"))
    return section("decisions", "Decisions", [made])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def missing(facts: Facts) -> str:
    """What is not there, why, and what to do."""
    parts: list[str] = []
    if facts.gaps:
        items = "".join(f"<li><code>{text(line)}</code></li>" for line in facts.gaps)
        parts.append(f"<ul>{items}</ul>")
    if facts.failures:
        rows = [
            [text(f.status), text(f.reason), f"{f.n_rows:,}",
             command(" ".join(w for w in ("lawsweep show", f.run_id[:12], facts.results) if w))]
            for f in facts.failures
        ]  # fmt: skip
        parts.append(table(("status", "reason", "rows", "look at the first"), rows, "Failures"))
    if not parts:
        parts.append("<p>Every planned run has its row, and none failed.</p>")
    return section("missing", "Missing and failed", parts)


def following(facts: Facts) -> str:
    """What to run next, with the commands."""
    parts = [
        f"<p>{text(why)}</p>" + (f"<p>{command(what)}</p>" if what else "")
        for why, what in facts.following
    ]
    return section("next", "What to run next", parts) if parts else ""


def cost(facts: Facts) -> str:
    """What it took, and what the rest is expected to take."""
    if not facts.costs and facts.rest_s is None:
        return ""
    rows = [
        [text(c.device), f"{c.n_rows:,}", _time(c.total_s), _time(c.mean_s), _time(c.longest_s)]
        for c in facts.costs
    ]
    parts = [table(("device", "runs", "all together", "mean of a run", "longest"), rows, "Cost")]
    if facts.rest_s is not None:
        parts.append(f"<p>Expected for what is missing: {_time(facts.rest_s)} of computation.</p>")
    return section("cost", "Cost", parts)


def provenance(facts: Facts) -> str:
    """Where the rows came from: the command, then a record a launch, folded."""
    parts = [f"<p>{command(f'lawsweep run {facts.typed}')}</p>", f"<p>{text(facts.experiment)}</p>"]
    parts += [_launch(record) for record in facts.launches]
    return section("provenance", "Provenance", parts)


def columns(facts: Facts) -> str:
    """What each column means."""
    rows = [[f"<code>{text(n)}</code>", text(u), text(m)] for n, u, m in facts.columns]
    made = table(("column", "unit", "meaning"), rows, "Columns")
    return section("columns", "Columns", [folded("meanings", f"{len(rows)} columns", made)])


def _launch(record: Mapping[str, Any]) -> str:
    git, code = record.get("git") or {}, record.get("code") or {}
    commit = git.get("commit") or "not in a git checkout"
    facts = {
        "command": record.get("command"),
        "from": record.get("started_at"),
        "to": record.get("ended_at", "it did not end in order"),
        "commit": f"{commit}{' (with changes)' if git.get('dirty') else ''}",
        "code": code.get("digest") if isinstance(code, Mapping) else None,
        "processor": (record.get("hardware") or {}).get("processor"),
        "versions": ", ".join(f"{k} {v}" for k, v in (record.get("packages") or {}).items()),
    }
    rows = [[f"<strong>{text(k)}</strong>", text(v)] for k, v in facts.items() if v]
    name = str(record.get("launch_id"))
    return folded(f"launch-{name}", f"Launch {name}", table(("", ""), rows, f"Launch {name}"))


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.3g} s"
    if seconds < 5400:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
