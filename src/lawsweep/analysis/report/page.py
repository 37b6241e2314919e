"""One HTML page about a sweep, whole in one file: it loads nothing.

It leads with what came out; then the figures, the parameters, what is missing, cost, what to run
next, and where it all came from.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path

from lawsweep.analysis.report import sections
from lawsweep.analysis.report.bundle import plotting_script
from lawsweep.analysis.report.facts import Facts
from lawsweep.analysis.report.headline import headline, parameters
from lawsweep.analysis.report.markup import text

# Before the first paint, so that a chosen theme does not flash.
_THEME = (
    'try { const t = localStorage.getItem("lawsweep-theme");'
    ' if (t === "light" || t === "dark") document.documentElement.dataset.theme = t; } catch {}'
)


def render(facts: Facts, *, stamp: str = "", every_s: float | None = None) -> str:
    """The page.

    ``every_s`` makes it one that is watched: it asks whoever serves it so often whether ``stamp``
    is still the state of things, and takes over what changed.
    """
    body = "\n".join(
        part
        for part in (
            headline(facts),
            sections.figures(facts),
            parameters(facts),
            sections.decisions(facts),
            sections.missing(facts),
            sections.following(facts),
            sections.cost(facts),
            sections.provenance(facts),
            sections.columns(facts),
        )
        if part
    )
    return document(facts.name, body, stamp=stamp, every_s=every_s)


def document(title: str, body: str, *, stamp: str = "", every_s: float | None = None) -> str:
    """A whole page around the sections of ``body``."""
    library = plotting_script()
    scripts = [_THEME, *([library] if library else []), _kept("page.js")]
    policy = _policy(scripts, live=every_s is not None)
    watched = (
        "" if every_s is None else f' data-stamp="{text(stamp)}" data-every="{1000 * every_s:g}"'
    )
    live = "" if every_s is None else '<div id="live" role="status">watching</div>'
    ours, *others = (f"<script>{s}</script>" for s in scripts)
    return (
        f'<!doctype html>\n<html lang="en"{watched}><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">'
        '<link rel="icon" href="data:,">'
        f"<title>{text(title)}</title>{ours}<style>{_kept('page.css')}</style></head>\n"
        f'<body><a class="skip" href="#main">Skip to the result</a>{live}'
        f'<header><h1>{text(title)}</h1><button type="button" id="theme" hidden '
        'aria-label="Switch between light and dark">Dark</button></header>\n'
        f'<main id="main">\n{body}\n</main>\n'
        "<footer>Made by lawsweep. This file holds all that it shows and loads nothing.</footer>\n"
        f"{''.join(others)}</body></html>\n"
    )


def _policy(scripts: list[str], *, live: bool) -> str:
    """What the page may do: run these scripts, and load nothing (watched: ask its server)."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    hashes = " ".join(f"'sha256-{d}'" for d in digests)
    connect = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _kept(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
