"""Words that several verbs print."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from lawsweep.cli.plain_output import one_line, own_stream
from lawsweep.core.secrets import hide_overrides

_CELL = 8  # a cell is cut to no less
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


def room() -> int | None:
    """Columns of the terminal that stdout is; None where it is none, and nothing has to fit."""
    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else None


def aligned(rows: Sequence[Sequence[str]], within: int | None = None) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell, to the right.

    ``within`` so many columns of a terminal: the widest cells are cut, and where that is not
    enough the middle columns are left out, which a last line says.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    kept = list(range(len(widths)))
    while within is not None and len(kept) > 2 and _least(widths, kept) > within:
        del kept[len(kept) // 2]
    while within is not None and sum(widths[k] + 2 for k in kept) - 2 > within:
        widest = max(kept, key=lambda k: widths[k])
        if widths[widest] <= _CELL:
            break
        widths[widest] -= 1
    lines = ["  ".join(_cut(row[k], widths[k]).rjust(widths[k]) for k in kept) for row in rows]
    if gone := [str(rows[0][k]) for k in range(len(widths)) if k not in kept]:
        lines.append(f"left out, for want of room: {', '.join(gone)} (| cat has them)")
    return [line.rstrip() for line in lines]


def _least(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(min(widths[k], _CELL) + 2 for k in kept) - 2


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def print_table(table: Any, kind: str) -> None:
    """A table as text to stdout: csv, tsv, json, jsonl or md.

    To a terminal in what that shows as it is; to a file or a pipe as ``-o`` writes it, but for
    json: that is read by other programs, and has no NaN.
    """
    from lawsweep.store.exchange.export import encode

    data = encode(table, kind, strict=True)
    stream = own_stream(sys.stdout)
    if sys.stdout.isatty() or not hasattr(stream, "buffer"):
        click.echo(data.decode(), nl=False)
    else:
        stream.flush()
        stream.buffer.write(data)
        stream.flush()
