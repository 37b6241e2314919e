"""What several verbs print, and what a launch and its plan do."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.plain_output import one_line
from lawsweep.core.secrets import hide_overrides

if TYPE_CHECKING:
    from lawsweep.launch.loop import RunReport


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
    cells = [[one_line(columns[m][i]) for m in columns] for i in range(n)]
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
    if report.by_others:
        click.echo(f"{report.by_others:,} were done by other launches meanwhile")
    click.echo(certificate)
    for gap in found.gaps(typed):
        click.echo(f"  {gap}")
    for note in report.notes:
        click.echo(f"note: {note}", err=True)


def print_sign_of_life(launch: Any) -> None:
    """A launch that runs: how far it is, and the runs that are longest under way."""
    from lawsweep.cli.progress import line, slow_line

    slow = slow_line(launch)
    where, since = launch.get("host") or "?", launch.get("started_at")
    name = f"launch {launch.get('launch_id') or '?'}" + (f", since {since}" if since else "")
    click.echo(one_line(f"running on {where}: {line(launch)} ({name})"))
    if slow is not None:
        click.echo(f"  {slow}")


def print_variants(typed: str, sweep: Any, others: list[Any]) -> None:
    """The sweep's folders under other overrides, and what to type for each."""
    for other in others:
        again = shlex.join([typed, *other.overrides])
        click.echo(
            f"also: {again} ({other.n_planned:,} planned, {sweep.results}/sweeps/{other.folder})"
        )


def print_fits(fits: list[Any]) -> None:
    """A line a fit."""
    for found in fits:
        click.echo(f"fit:    {found.summary()}")


def typed(sweep: str, overrides: tuple[str, ...]) -> str:
    """The sweep and its overrides as a shell takes them: what a suggested command ends in."""
    return shlex.join([sweep, *hide_overrides(overrides)])


def at(where: Any) -> str:
    """Names and values as ``n=3 seed=0``."""
    return " ".join(f"{k}={one_line(v)}" for k, v in where.items())
