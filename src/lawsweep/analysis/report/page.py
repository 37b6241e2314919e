"""One HTML page about a sweep: how complete it is, its fits, its figures, where it came from."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre, code { font: 14px/1.5 ui-monospace, monospace; }
pre { white-space: pre-wrap; background: #8881; padding: .6rem .8rem; border-radius: .3rem; }
img { max-width: 100%; background: white; }
table { border-collapse: collapse; font-size: 14px; }
td, th { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; }
.good { color: #1a7f37; } .gap { color: #b35900; }
"""


def render(
    *,
    name: str,
    certificate: str,
    gaps: Sequence[str],
    notes: Sequence[str] = (),
    fits: Sequence[str],
    figures: Sequence[Path],
    columns: Sequence[tuple[str, str, str]],
    launches: Sequence[Mapping[str, Any]],
    command: str,
) -> str:
    """The page, whole in one file: pictures are inside it, and it loads nothing.

    ``notes`` is what else a reader must know of the rows.
    ``columns`` are (name, unit, meaning); ``launches`` are provenance records, latest first.
    """
    parts = [
        f"<h1>{_text(name)}</h1>",
        f'<p class="{"gap" if gaps else "good"}"><strong>{_text(certificate)}</strong></p>',
        _list(gaps),
        *(f'<p class="gap">{_text(note)}</p>' for note in notes),
        "<h2>Run it</h2>",
        f"<pre>{_text(command)}</pre>",
    ]
    if fits:
        parts += ["<h2>Fits</h2>", f"<pre>{_text(chr(10).join(fits))}</pre>"]
    if figures:
        parts += ["<h2>Figures</h2>", *map(_picture, figures)]
    parts += ["<h2>Launches</h2>", *map(_launch, launches)]
    rows = "".join(
        f"<tr><td><code>{_text(n)}</code></td><td>{_text(u)}</td><td>{_text(m)}</td></tr>"
        for n, u, m in columns
    )
    head = "<tr><th>column</th><th>unit</th><th>meaning</th></tr>"
    parts += ["<h2>Columns</h2>", f"<table>{head}{rows}</table>"]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{_text(name)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li><code>{_text(line)}</code></li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<figure><img alt="{_text(path.stem)}" src="data:image/png;base64,{data}"></figure>'


def _launch(record: Mapping[str, Any]) -> str:
    git = record.get("git") or {}
    commit = git.get("commit") or "not in a git checkout"
    facts = {
        "command": record.get("command"),
        "from": record.get("started_at"),
        "to": record.get("ended_at", "it did not end in order"),
        "commit": f"{commit}{' (with changes)' if git.get('dirty') else ''}",
        "processor": (record.get("hardware") or {}).get("processor"),
        "versions": ", ".join(f"{k} {v}" for k, v in (record.get("packages") or {}).items()),
    }
    rows = "".join(f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in facts.items())
    return f"<h3>{_text(record.get('launch_id'))}</h3><table>{rows}</table>"
