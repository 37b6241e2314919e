"""What the verbs that keep the store print."""

from __future__ import annotations

import shlex
from typing import Any

import click

from lawsweep.cli.printing import at


def print_import(done: Any) -> None:
    """What an import brought, or would bring."""
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    for row in done.first if done.dry else ():
        click.echo("  " + at({k: v for k, v in row.items() if k not in ("run_id", "attempt")}))
    files = ", ".join(f.file for f in done.files)
    if done.missing:
        who = "the file has" if len(done.files) == 1 else "the files have"
        click.echo(f"{who} no {', '.join(done.missing)}: missing in these rows")
    if done.kept:
        some = ", ".join(r[:12] for r in done.kept[:5]) + (", ..." if done.kept[5:] else "")
        click.echo(f"{len(done.kept):,} runs are in the table as ok, and stay as they are: {some}")
    verb = "would come" if done.dry else "imported"
    where = "" if done.launch_id is None else f" (launch {done.launch_id})"
    click.echo(f"{len(done.run_ids):,} rows of {done.experiment} {verb} from {files}{where}")


def print_carried(done: Any) -> None:
    """What was carried over from an older version, or would be."""
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    if done.kept:
        click.echo(
            f"{len(done.kept):,} are in the table under version {done.version} already, and stay"
        )
    if done.n_affected:
        click.echo(
            f"{done.n_affected:,} rows mean something else in version {done.version}, and are left "
            f"to be computed again (the others fulfil: {done.condition})"
        )
    verb = "would come" if done.dry else "carried over"
    where = "" if done.launch_id is None else f" (launch {done.launch_id})"
    click.echo(
        f"{len(done.run_ids):,} rows of {done.experiment} version {done.from_version} {verb}{where}"
    )


def print_compacted(report: Any) -> None:
    """A line a folder: parts and bytes before and after, and what was left alone."""
    click.echo(
        f"{report.folder}: {report.n_parts_before:,} -> {report.n_parts_after:,} parts, "
        f"{_bytes(report.bytes_before)} -> {_bytes(report.bytes_after)}"
        + (
            f", {report.n_duplicates_dropped:,} repeated rows"
            if report.n_duplicates_dropped
            else ""
        )
    )
    for name, reason in {**report.apart, **report.skipped}.items():
        click.echo(f"note: left alone {report.folder}/{name}: {reason}", err=True)


def _bytes(n: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.3g} {unit}"
        n /= 1024
    return f"{n:.3g} GiB"


def print_findings(table: str, findings: Any) -> None:
    """Problems first, then notes, then what was looked at and is well; a verdict at the end."""
    for f in findings:
        ids = f" ({', '.join(i[:12] for i in f.run_ids)}{', ...' if f.n > len(f.run_ids) else ''})"
        click.echo(f"{f.severity:<7}  {f.check:<9} {f.message}{ids if f.run_ids else ''}")
    n = {s: sum(f.severity == s for f in findings) for s in ("problem", "note")}
    verdict = f"{n['problem']} problems" if n["problem"] else "clean"
    notes = f", {n['note']} notes" if n["note"] else ""
    click.echo(f"{table}: {verdict}{notes}")


def print_rubbish(found: Any, overrides: tuple[str, ...]) -> None:
    """What dead writers left, what was removed of it, and how to remove it."""
    for r in found:
        state = "removed" if r.removed else "kept" if r.kept else "could go"
        reason = f"; {r.kept}" if r.kept else ""
        click.echo(f"{state:<8}  {r.kind}: {r.where}: {r.message} ({_bytes(r.n_bytes)}){reason}")
    left = [r for r in found if not r.removed and not r.kept]
    if not found:
        click.echo("nothing to remove")
    elif left:
        n_bytes, command = sum(r.n_bytes for r in left), ["lawsweep", "gc", *overrides, "--delete"]
        click.echo(f"{len(left):,} could go, {_bytes(n_bytes)}: {shlex.join(command)}")
