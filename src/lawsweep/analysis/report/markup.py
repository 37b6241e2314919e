"""HTML from values: what comes from a sweep or its rows is escaped here, and secrets hidden."""

from __future__ import annotations

import html
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from lawsweep.core.secrets import hide


def text(value: Any) -> str:
    """A value as text of the page, also within quotation marks."""
    return html.escape("" if value is None else hide(str(value)))


def embedded(value: Any) -> str:
    """Plain values as JSON that can stand within a ``script`` element, whatever they hold."""
    made = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    made = hide(made)
    for sign in "<>&\u2028\u2029":
        made = made.replace(sign, f"\\u{ord(sign):04x}")
    return made


def badge(kind: str, words: str) -> str:
    """A word in colour; ``kind`` is good, warn or bad."""
    return f'<span class="badge {kind}">{text(words)}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], name: str = "") -> str:
    """A table that scrolls within the page; cells are HTML already."""
    heads = "".join(f'<th scope="col">{text(h)}</th>' for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    caption = f' aria-label="{text(name)}"' if name else ""
    return (
        f'<div class="scroll" tabindex="0" role="region"{caption or " aria-label=table"}>'
        f"<table{caption}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def command(words: str) -> str:
    """A command with a button that copies it."""
    return (
        f'<code>{text(words)}</code> <button type="button" data-copy="{text(words)}" '
        f'aria-label="Copy the command {text(words)}">Copy</button>'
    )


def folded(name: str, summary: str, body: str) -> str:
    """What is shown when asked for; ``name`` is its id."""
    return f'<details id="{text(name)}"><summary>{text(summary)}</summary>{body}</details>'


def section(name: str, title: str, parts: Sequence[str]) -> str:
    """A section with its heading; its hash tells a page that is watched whether it changed."""
    body = "\n".join(p for p in parts if p)
    hashed = f"{zlib.crc32(body.encode('utf-8', 'surrogatepass')):08x}"
    head = f'<h2 id="{name}-title">{text(title)}</h2>' if title else ""
    by = f'aria-labelledby="{name}-title"' if title else f'aria-label="{name}"'
    return f'<section id="{name}" {by} data-hash="{hashed}">{head}\n{body}\n</section>'
