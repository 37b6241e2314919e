"""What replay and audit print."""

from __future__ import annotations

from typing import Any

import click

from lawsweep.cli.printing import at, duration


def print_replay(done: Any) -> None:
    """One row run again: what was compared, how, and each value that differs."""
    params = at(done.params)
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
    if done.amplified:
        since = "" if done.chaotic_from is None else f" from step {done.chaotic_from}"
        click.echo(f"chaotic{since}, not comparable: draws off in the last bit move as much here")
    for a in done.amplified:
        click.echo(f"  {a.name}: {a.recorded!r} recorded, {a.now!r} now  ({_moved(a)})")
    if done.left_out:
        click.echo(f"left out, as measures of rounding: {', '.join(done.left_out)}")
    for note in done.notes:
        click.echo(f"note: {note}", err=True)


def _moved(amplified: Any) -> str:
    return "changed" if amplified.moved is None else f"moved by {amplified.moved:.1g}"


def _times(done: Any) -> str:
    if done.wall_s is None or done.wall_s_recorded is None:
        return ""
    return f" ({duration(done.wall_s)}; {duration(done.wall_s_recorded)} when it was recorded)"


def print_audit(name: str, found: Any, n_ok: int) -> None:
    """A line on how many rows of a sample reproduced, and how."""
    tolerance = max(r.tolerance for r in found.replays)
    click.echo(
        f"{name}: {len(found.replays):,} of {n_ok:,} ok rows run again: {found.n_exact:,} "
        f"reproduced bit for bit, {found.n_close:,} to {tolerance:g} relative, "
        f"{found.n_differ:,} did not reproduce"
    )
    if found.n_chaotic:
        click.echo(f"{found.n_chaotic:,} of these amplified rounding; the rest of them agrees")
    why = {c for r in found.replays if not r.exact for c in r.circumstances}
    if why:
        click.echo(f"not bit for bit, because: {'; '.join(sorted(why))}")
