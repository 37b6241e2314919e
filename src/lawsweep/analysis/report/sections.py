"""Sections of the page below its result: figures, what is missing, cost, provenance, columns."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lawsweep.analysis.report.charts import about
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
    described = _about(drawing)
    still = ""
    if drawing.picture is not None:
        data = base64.b64encode(drawing.picture).decode("ascii")
        still = f'<img class="still" alt="{text(described)}" src="data:image/png;base64,{data}">'
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
    panels = chart["panels"]
    boxes = "".join(
        f'<div class="chart" hidden tabindex="0" role="img" aria-label="'
        f'{text(f"{title}: {described}" if title else described)}"></div>'
        for title in panels
    )
    boxes = f'<div class="panels">{boxes}</div>' if len(panels) > 1 else boxes
    return (
        f'<figure id="{name}" data-show="{text(show)}">'
        f'<div class="tools" role="group" {of} hidden>{tools}</div>{still}{boxes}'
        f'<p class="picked" aria-live="polite"></p>{caption}{_points(name, chart)}'
        f'<script type="application/json">{embedded(chart)}</script></figure>'
    )


def _notes(drawing: Drawing) -> list[str]:
    chart = drawing.chart or {}
    bars = any(v is not None for v in chart.get("marks", {}).get("lo", ()))
    notes = chart.get("notes", ())
    said = any("bars: " in note for note in notes)
    band = [f"Bars: {chart['band']}"] if chart.get("band") and bars and not said else []
    made = [drawing.caption, *band, *_lines_said(chart), *notes]
    return [_sentence(m.rstrip(".")) for m in made if m]


def _sentence(note: str) -> str:
    """With a capital, unless it begins with a name: of parameters, ``a`` is another than ``A``."""
    return note[0].upper() + note[1:] if re.match(r"[a-z]{2,}(?![\w=(])", note) else note


def _lines_said(chart: Mapping[str, Any]) -> list[str]:
    """What lines and shades of a chart are."""
    roles = {line["role"] for line in chart.get("lines", ())}
    shade = " with its interval" if chart.get("bands") else ""
    words = {"law": f"lines: the fitted law{shade}", "run": "lines: a run each"}
    return [said for role, said in words.items() if role in roles]


def _about(drawing: Drawing) -> str:
    """What a figure shows, for who does not see it."""
    if drawing.chart is None:
        return f"Figure {drawing.name}. {drawing.caption}"
    return about(drawing.chart)


def _points(name: str, chart: Mapping[str, Any]) -> str:
    """The numbers of a chart as a table: its marks, its cells, or its lines of runs."""
    rows, head = [], ["group", chart["x"], chart["y"], "rows", "runs"]
    m, total = chart["marks"], len(chart["marks"]["x"])
    for i in range(min(total, TABLE_ROWS)):
        group = chart["groups"][m["g"][i]] if m["g"][i] >= 0 else ""
        rows.append([text(group), _n(m["x"][i]), _n(m["y"][i]), str(m["n"][i]), _ids(m["runs"][i])])
    for c in chart["cells"]:
        head = [chart["panels"][c["p"]], chart["x"], chart["y"], c["z"], "rows", "runs"]
        return _table_of(name, head, _cell_rows(c), len(c["v"]))
    if not total:
        runs = [line for line in chart["lines"] if line["role"] == "run"]
        head, total = ["group", "run", "points", f"last {chart['y']}"], len(runs)
        rows = [
            [text(chart["groups"][r["g"]]), _ids([r["run"]]), str(len(r["x"])), _n(r["y"][-1])]
            for r in runs[:TABLE_ROWS]
        ]
    return _table_of(name, head, rows, total)


def _cell_rows(c: Mapping[str, Any]) -> list[list[str]]:
    across, rows = len(c["x"]) - 1, []
    for i in range(min(len(c["v"]), TABLE_ROWS)):
        j, k = divmod(i, across)
        spans = [f"{_n(e[n])} to {_n(e[n + 1])}" for e, n in ((c["x"], k), (c["y"], j))]
        rows.append(["", *spans, _n(c["v"][i]), str(c["n"][i]), _ids(c["runs"][i])])
    return rows


def _table_of(name: str, head: Sequence[str], rows: list[list[str]], total: int) -> str:
    left = f"<p>The first {len(rows)} of {total:,}; all are in the CSV.</p>"
    more = left if len(rows) < total else ""
    return folded(f"{name}-data", "The points as a table", more + table(head, rows, "Points"))


def _n(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _ids(runs: Sequence[str]) -> str:
    return f"<code>{text(', '.join(runs))}</code>"


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
