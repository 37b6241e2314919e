"""What the verbs print for a person."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lawsweep.runner.run_plan import RunReport


def duration(seconds: float) -> str:
    """``46.8 s``, ``3.3 min``, ``9.1 h`` or ``4 days``."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    if seconds < 5400:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 172_800 else f"{seconds / 86_400:.3g} days"


def print_start(sweep: Any, plan: Any) -> None:
    """What a launch is about to run; of a search, what it chooses from."""
    n_points, n_seeds, spec = plan.n_points, len(plan.seeds), sweep.search_spec
    what = f"{len(plan):,} runs ({n_points:,} points x {n_seeds} seeds) of {plan.experiment.name}"
    if spec is not None:
        what = f"search for {spec.axis}* of {spec.event} among {what}"
    click.echo(f"{sweep.name}: {what}")


def print_schedule(view: Any, schedule: Any, large: list[int]) -> None:
    """Expected work and time, on what basis, and what does not fit in memory."""
    n = view.costs.n_measured
    basis = f"from {n:,} finished rows" if n else "a guess from flops"
    basis = basis if n or view.costs.has_prior else "unknown: the experiment states no cost"
    kind, plural = "GPU" if view.device == "cuda" else "CPU", "" if schedule.n_slots == 1 else "s"
    slots = f"{schedule.n_slots} {kind} slot{plural}"
    click.echo(
        f"expected: {duration(schedule.work_s)} of work, longest run "
        f"{duration(schedule.longest_s)}; {duration(schedule.makespan_s)} on {slots} "
        f"(at least {duration(schedule.bound_s)}), {schedule.device_hours:.3g} device-hours; "
        f"{basis}"
    )
    if large:
        memory = view.costs.memory_bytes(large[0]) / 2**30
        click.echo(
            f"{len(large):,} runs need more memory than this machine's "
            f"{view.memory_bytes / 2**30:.3g} GiB (the first about {memory:.3g} GiB)"
        )


def print_points(view: Any, limit: int) -> None:
    """A table of the points with the states of their runs."""
    plan, n_seeds = view.plan, len(view.plan.seeds)
    columns = {**plan.extra, **plan.params}
    n = min(plan.n_points, limit or plan.n_points)
    cells = [[str(columns[m][i]) for m in columns] for i in range(n)]
    for i, row in enumerate(cells):
        states = view.states[i * n_seeds : (i + 1) * n_seeds]
        row.append(" ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)))
    heads = [*columns, "runs"]
    widths = [max([len(m), *(len(c[j]) for c in cells)]) for j, m in enumerate(heads)]
    for row in (heads, *cells):
        click.echo("  ".join(m.rjust(w) for m, w in zip(row, widths, strict=True)))
    if n < plan.n_points:
        click.echo(f"... and {plan.n_points - n:,} more points (--limit 0 lists all)")


def print_end(report: RunReport, found: Any, certificate: str, typed: str, *, retry: bool) -> None:
    """How a launch ended, how complete the sweep is, and what closes each gap."""
    ran = sum(report.statuses.values())
    if report.stopped is not None:
        click.echo(f"stopped: {report.message}")
    elif ran == 0 and retry:
        click.echo("nothing to run again: no row has failed")
    elif ran == 0:
        click.echo("nothing to run: every planned run is in the table already")
    else:
        rate = ran / max(report.wall_s, 1e-9)
        click.echo(f"ran {ran:,} in {duration(report.wall_s)} ({rate:.3g} runs/s)")
    click.echo(certificate)
    for gap in found.gaps(typed):
        click.echo(f"  {gap}")
    for note in report.notes:
        click.echo(f"note: {note}", err=True)


def print_sign_of_life(launch: Any) -> None:
    """A launch that runs: how far it is, and the runs that are longest under way."""
    from lawsweep.cli.progress import line, slow_line

    slow = slow_line(launch)
    click.echo(f"running on {launch['host']}: {line(launch)} (launch {launch['launch_id']})")
    if slow is not None:
        click.echo(f"  {slow}")


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


def print_fits(fits: list[Any]) -> None:
    """A line a fit."""
    for found in fits:
        click.echo(f"fit:    {found.summary()}")


def typed(sweep: str, overrides: tuple[str, ...]) -> str:
    """The sweep and its overrides as a shell takes them: what a suggested command ends in."""
    return shlex.join([sweep, *overrides])


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
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def print_replay(done: Any) -> None:
    """One row run again: what was compared, how, and each value that differs."""
    params = " ".join(f"{k}={v}" for k, v in done.params.items())
    click.echo(f"{done.experiment} {done.run_id}: {params} seed={done.seed}".replace("  ", " "))
    how = "bit for bit" if done.exact else f"to {done.tolerance:g} relative"
    what = f"{len(done.compared)} values" if done.status_recorded == "ok" else done.status_recorded
    if done.reproduced:
        click.echo(f"reproduced {how}: {what}{_times(done)}")
    else:
        click.echo(f"NOT reproduced {how}: {len(done.differences)} differ{_times(done)}")
    for d in done.differences:
        by = "" if d.relative is None else f"  (relative difference {d.relative:.3g})"
        click.echo(f"  {d.name}: {d.recorded!r} recorded, {d.now!r} now{by}")
    if done.error and not done.reproduced:
        click.echo(f"  error now: {done.error}")
    if not done.exact:
        click.echo(f"not bit for bit, because: {'; '.join(done.circumstances)}")
    if done.left_out:
        click.echo(f"left out, as measures of rounding: {', '.join(done.left_out)}")
    for note in done.notes:
        click.echo(f"note: {note}", err=True)


def print_audit(name: str, found: Any, n_ok: int, tolerance: float) -> None:
    """A line on how many rows of a sample reproduced, and how."""
    click.echo(
        f"{name}: {len(found.replays):,} of {n_ok:,} ok rows run again: {found.n_exact:,} "
        f"reproduced bit for bit, {found.n_close:,} to {tolerance:g} relative, "
        f"{found.n_differ:,} did not reproduce"
    )
    why = {c for r in found.replays if not r.exact for c in r.circumstances}
    if why:
        click.echo(f"not bit for bit, because: {'; '.join(sorted(why))}")


def print_import(done: Any) -> None:
    """What an import brought, or would bring."""
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    for row in done.first if done.dry else ():
        click.echo("  " + _at({k: v for k, v in row.items() if k not in ("run_id", "attempt")}))
    if done.missing:
        click.echo(f"the file has no {', '.join(done.missing)}: missing in these rows")
    if done.kept:
        some = ", ".join(r[:12] for r in done.kept[:5]) + (", ..." if done.kept[5:] else "")
        click.echo(f"{len(done.kept):,} runs are in the table as ok, and stay as they are: {some}")
    verb = "would come" if done.dry else "imported"
    where = "" if done.launch_id is None else f" (launch {done.launch_id})"
    click.echo(f"{len(done.run_ids):,} rows of {done.experiment} {verb} from {done.file}{where}")


def _times(done: Any) -> str:
    if done.wall_s is None or done.wall_s_recorded is None:
        return ""
    return f" ({duration(done.wall_s)}; {duration(done.wall_s_recorded)} when it was recorded)"


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
    for name, reason in report.skipped.items():
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
            click.echo(f"  {len(only):,} runs are in {label} alone; the first: {_at(only[0])}")
    if found.not_ok:
        first = found.not_ok[0]
        click.echo(f"  {len(found.not_ok):,} runs are not ok in both; the first: {_at(first)}")
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
    if m.max_absolute:
        parts.append(f"largest difference {m.max_absolute:.3g} at {_at(m.max_absolute_at)}")
        parts.append(f"relative {m.max_relative:.3g} at {_at(m.max_relative_at)}")
        parts.append(f"mean of B - A {m.mean_difference:.3g}")
    if m.n_unlike:
        parts.append(f"{m.n_unlike:,} differ otherwise, the first at {_at(m.unlike_at)}")
    return "; ".join(parts)


def _at(where: Any) -> str:
    return " ".join(f"{k}={v}" for k, v in where.items())


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
