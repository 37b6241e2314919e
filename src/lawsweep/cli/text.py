"""Words that several verbs print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click

from lawsweep.cli.plain_output import one_line
from lawsweep.core.secrets import hide_overrides

TEXTS = ("csv", "tsv", "json", "jsonl", "md")  # what a table may be printed as


def duration(seconds: float) -> str:
    """``46.8 s``, ``3.3 min``, ``9.1 h`` or ``4 days``."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    if seconds < 5400:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 172_800 else f"{seconds / 86_400:.3g} days"


def size(n_bytes: float) -> str:
    """``312 bytes``, ``4.5 KiB``, ``1.2 GiB``."""
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.3g} GiB"


def typed(sweep: str, overrides: Sequence[str]) -> str:
    """The sweep and its overrides as a shell takes them: what a suggested command ends in."""
    return shlex.join([sweep, *hide_overrides(tuple(overrides))])


def at(where: Mapping[str, Any]) -> str:
    """Names and values as ``n=3 seed=0``."""
    return " ".join(f"{k}={one_line(v)}" for k, v in where.items())


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def print_table(table: Any, kind: str) -> None:
    """A table as text to stdout: csv, tsv, json, jsonl or md."""
    from lawsweep.store.exchange.export import encode

    click.echo(encode(table, kind).decode(), nl=False)
