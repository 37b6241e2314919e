"""The site loads nothing from elsewhere: an address that a page would fetch ends the build."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# What a browser fetches by itself: scripts, styles, pictures, fonts; not a link to be clicked.
_TAG = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"']([^\"']+)", re.I
)
_LINK = re.compile(r"<link\b[^>]*?\bhref=[\"']([^\"']+)", re.I)
_STYLE = re.compile(r"(?:@import\s+(?:url\()?|url\()\s*[\"']?([^\"')\s]+)", re.I)
_AWAY = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.I)


def fetched(text: str, kind: str) -> list[str]:
    """The addresses on another machine that a page or a style sheet would fetch."""
    patterns = (_STYLE,) if kind == ".css" else (_TAG, _LINK, _STYLE)
    return [a for p in patterns for a in p.findall(text) if _AWAY.match(a)]


def check(app: Any, exception: Exception | None) -> None:
    """Look through what was built; raises ValueError with the addresses found."""
    if exception is not None or app.builder.format != "html":
        return
    found = [
        f"{path.relative_to(app.outdir)} fetches {address}"
        for path in sorted(Path(app.outdir).rglob("*"))
        if path.suffix in (".html", ".css")
        for address in fetched(path.read_text(encoding="utf-8"), path.suffix)
    ]
    if found:
        raise ValueError("Expected a site that loads nothing. Take it out: " + "; ".join(found))


def setup(app: Any) -> dict[str, Any]:
    """Sphinx asks an extension for this."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
