"""What the verbs that read the table print."""

from __future__ import annotations

from typing import Any

import click

from lawsweep.cli.plain_output import one_line
from lawsweep.cli.printing import at


def print_row(row: Any, arrays: Any, told: Any) -> None:
    """Every value of a row; with ``told``, (unit, meaning) of each."""
    values = {**row, **{n: f"array of shape {tuple(a['shape'])}" for n, a in arrays.items()}}
    for name, value in values.items():
        if value is None:
            continue
        unit, meaning = told.get(name, ("", ""))
        text = str(value) + (f" {unit}" if unit not in ("", "1") else "")
        click.echo(f"{name:>20}  " + text.replace("\n", "\n" + " " * 22))
        if meaning:
            click.echo(f"{'':>20}    {meaning}")


def print_launch(launch: Any) -> None:
    """The provenance record of a row's launch, an entry a line."""
    if launch is None:
        click.echo(f"{'launch':>20}  its record is not in this results folder")
        return
    for name, value in launch.items():
        text = _entry(value)
        if text:
            click.echo(f"{'launch.' + name:>26}  {text}")


def _entry(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items() if v not in (None, [], {}, ""))
    if isinstance(value, list):
        return " ".join(map(str, value[:5])) + (" ..." if value[5:] else "")
    return "" if value is None else str(value)


def print_table(table: Any, limit: int) -> None:
    """An Arrow table as aligned text; numbers to six digits, a missing value as null."""
    shown = table.slice(0, limit or table.num_rows).to_pydict()
    cells = [[name, *map(_cell, column)] for name, column in shown.items()]
    widths = [max(map(len, column)) for column in cells]
    for row in zip(*cells, strict=True):
        click.echo("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip())
    if limit and table.num_rows > limit:
        click.echo(f"... and {table.num_rows - limit:,} more rows (--limit 0 prints all)")


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    text = f"{value:.6g}" if isinstance(value, float) else one_line(value)
    return text if len(text) <= 60 else text[:57] + "..."


def print_comparison(found: Any, names: tuple[str, str]) -> None:
    """Metrics that differ, what only one sweep has, fits side by side."""
    a, b = names if names[0] != names[1] else ("A", "B")
    click.echo(f"joined on {', '.join(found.keys)}: {found.n_both:,} runs in both")
    for name, (x, y) in found.apart.items():
        click.echo(f"  apart: {name} is {x} in {a}, {y} in {b}")
    for name, side in found.own.items():
        click.echo(f"  only {a if side == 'a' else b} has the param {name}")
    for label, only in ((a, found.only_a), (b, found.only_b)):
        if only:
            click.echo(f"  {len(only):,} runs are in {label} alone; the first: {at(only[0])}")
    if found.not_ok:
        first = found.not_ok[0]
        click.echo(f"  {len(found.not_ok):,} runs are not ok in both; the first: {at(first)}")
    for m in found.metrics:
        click.echo(f"{m.name}: {_difference(m)}")
    for pair in found.fits:
        click.echo(f"fit {a}: {pair.a.summary()}")
        click.echo(f"fit {b}: {pair.b.summary()}")
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _difference(m: Any) -> str:
    if m.n == m.n_same:
        return f"the same in all {m.n:,} runs" if m.n else "no run is ok in both"
    parts = [f"the same in {m.n_same:,} of {m.n:,} runs"]
    if m.n_close:
        parts.append(f"to 1e-09 relative in {m.n_close:,} more")
    if m.max_absolute:
        parts.append(f"largest difference {m.max_absolute:.3g} at {at(m.max_absolute_at)}")
        parts.append(f"relative {m.max_relative:.3g} at {at(m.max_relative_at)}")
        parts.append(f"mean of B - A {m.mean_difference:.3g}")
    if m.n_unlike:
        parts.append(f"{m.n_unlike:,} differ otherwise, the first at {at(m.unlike_at)}")
    if m.chaotic and m.n_same + m.n_close < m.n:
        parts.append("it amplifies rounding, so other machines or fused groups differ run by run")
    return "; ".join(parts)


def comparison_as_json(found: Any) -> dict[str, Any]:
    """A comparison as plain values."""
    import dataclasses

    plain = {f.name: getattr(found, f.name) for f in dataclasses.fields(found) if f.name != "fits"}
    plain["metrics"] = [dataclasses.asdict(m) for m in found.metrics]
    plain["fits"] = [
        {"name": p.name, "group": p.group, "a": p.a.to_dict(), "b": p.b.to_dict()}
        for p in found.fits
    ]
    return plain
