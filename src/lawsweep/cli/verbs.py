"""The verbs that run and watch: each composes a sweep, calls the API and prints."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli import printing, search_lines
from lawsweep.cli.options import (
    EXIT_FAILED_ROWS,
    EXIT_INTERRUPTED,
    EXIT_SAME_FAILURE,
    json_option,
    load,
    results_dir,
    say,
    say_line,
    sweep_arguments,
    warn,
)

if TYPE_CHECKING:
    from lawsweep.launch.loop import RunReport
    from lawsweep.study.study import Study

_NOTHING_READ: dict[str, Any] = {"fits": [], "figures": []}


@click.command()
@sweep_arguments
@click.option("--no-analysis", is_flag=True, help="Do not fit and draw at the end.")
@json_option
def run(sweep: str, overrides: tuple[str, ...], no_analysis: bool, as_json: bool) -> int:
    """Run what the table lacks, then fit and draw."""
    return _run(sweep, overrides, analysis=not no_analysis, as_json=as_json)


@click.command()
@sweep_arguments
@click.option("--failed", is_flag=True, required=True, help="Rows that failed, oom or timeout.")
@click.option("--no-analysis", is_flag=True, help="Do not fit and draw at the end.")
@json_option
def rerun(
    sweep: str, overrides: tuple[str, ...], failed: bool, no_analysis: bool, as_json: bool
) -> int:
    """Try failed, oom and timeout rows again."""
    return _run(sweep, overrides, analysis=not no_analysis, as_json=as_json, retry=failed)


def _run(
    name: str,
    overrides: tuple[str, ...],
    *,
    analysis: bool,
    as_json: bool,
    retry: bool = False,
) -> int:
    from lawsweep.cli.progress import progress
    from lawsweep.study.progress import certificate
    from lawsweep.study.study import Study

    sweep, typed = load(name, overrides), printing.typed(name, overrides)
    # The command to print again, in years: as typed, without this machine's paths.
    command = f"lawsweep {'rerun' if retry else 'run'} {typed}{' --failed' if retry else ''}"
    study = Study(sweep)
    if not as_json:
        printing.print_start(sweep, study.plan)
        warn(study.notes())
    with progress(study.plan, quiet=as_json) as watcher:
        report = study.run(watcher=watcher, command=command, retry=retry)
    if analysis and report.stopped is None and (sweep.fits or sweep.figures):
        _tried(study.rows)  # first: what the rest asks for then comes of these, in one look
    found = study.status()
    if not as_json:
        said = certificate(found.statuses, found.planned)
        printing.print_end(report, found, said, typed, retry=retry)
        search_lines.print_search(study)
        click.echo(f"table:  {study.table.folder}/part-*.parquet")
    results = _analyse(study, report, as_json) if analysis else _NOTHING_READ
    if as_json:
        from lawsweep.launch.loop import describe_report

        answer = {
            **describe_report(report),
            **search_lines.counts_as_json(sweep, report, found),
            "table": str(study.table.folder),
            "statuses": dict(found.statuses),
            "missing": found.missing,
            **search_lines.thresholds_as_json(study),
            **results,
        }
        say(answer)
    return _exit_code(report, found.statuses)


def _exit_code(report: RunReport, statuses: Any) -> int:
    if report.stopped == "interrupted":
        return EXIT_INTERRUPTED
    if report.stopped == "same_failure":
        return EXIT_SAME_FAILURE
    return EXIT_FAILED_ROWS if any(statuses.get(s) for s in ("failed", "oom", "timeout")) else 0


def _analyse(study: Study, report: RunReport, as_json: bool) -> dict[str, Any]:
    """Fits and figures at the end of a run: a trouble there never hides that the rows are safe."""
    sweep = study.sweep
    if not (sweep.fits or sweep.figures) or report.stopped is not None:
        return _NOTHING_READ
    frame = _tried(study.frame)
    if frame is None or not (frame["status"] == "ok").any():
        return _NOTHING_READ
    fits = _tried(study.fit, frame) or []
    figures = _tried(_figures, study, frame) or []
    if not as_json:
        printing.print_fits(fits)
        for path in figures:
            click.echo(f"figure: {path}")
    return {"fits": [f.to_dict() for f in fits], "figures": [str(p) for p in figures]}


def _figures(study: Study, frame: Any) -> list[Any]:
    """Those that could be drawn, and a note of the others."""
    from lawsweep.core.errors import FigureError

    try:
        return list(study.plot(frame))
    except FigureError as error:
        click.echo(f"note: {error}", err=True)
        return error.drawn


def _tried(read: Callable[..., Any], *given: Any) -> Any:
    """What ``read`` answers; None, and a note, where the rows cannot be read as asked."""
    from lawsweep.core.errors import LawsweepError

    try:
        return read(*given)
    except LawsweepError as error:
        click.echo(f"note: the rows are safe, but they cannot be read as asked: {error}", err=True)
        return None


@click.command(short_help="What a run would do, and the time it would take.")
@sweep_arguments
@click.option("--on", help="Other hardware: cpus=64 or gpus=8:H100.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="How many points to list; 0: all.",
)
@json_option
def plan(sweep: str, overrides: tuple[str, ...], on: str | None, limit: int, as_json: bool) -> int:
    """List the points, what is done, what is new, and the expected time."""
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    view = Study(loaded).preview(on)
    counts = {s: view.count(s) for s in ("done", "failed", "changed", "new")}
    schedule, large = view.schedule, view.too_large()
    if as_json:
        n_seeds = len(view.plan.seeds)
        points = range(min(view.plan.n_points, limit or view.plan.n_points))
        say(
            {
                "planned": len(view.plan),
                "n_points": view.plan.n_points,
                "seeds": list(view.plan.seeds),
                **counts,
                "orphaned": list(view.orphaned),
                "work_s": schedule.work_s,
                "longest_s": schedule.longest_s,
                "n_slots": schedule.n_slots,
                "makespan_s": schedule.makespan_s,
                "bound_s": schedule.bound_s,
                "device_hours": schedule.device_hours,
                "n_measured": view.costs.n_measured,
                "n_too_large": len(large),
                "notes": [*loaded.notes, *view.plan.notes],
                "search": search_lines.search_as_json(view.search),
                "points": [
                    {
                        "params": view.plan.params_of(i * n_seeds),
                        "states": list(view.states[i * n_seeds : (i + 1) * n_seeds]),
                    }
                    for i in points
                ],
            }
        )
        return 0
    warn(view.plan.notes)
    if view.search is not None:
        search_lines.print_forecast(view.search)
    what = "planned" if view.search is None else "candidate runs"
    click.echo(
        f"{len(view.plan):,} {what} ({view.plan.n_points:,} points x {len(view.plan.seeds)} "
        f"seeds): {counts['done']:,} done, {counts['failed']:,} failed before, "
        + (f"{counts['changed']:,} changed (older version), " if counts["changed"] else "")
        + f"{counts['new']:,} new"
    )
    if view.orphaned:
        click.echo(
            f"{len(view.orphaned):,} orphaned: in the table and in the last plan, not in this one"
        )
    printing.print_schedule(view, schedule, large)
    printing.print_points(view, limit)
    return 0


@click.command()
@sweep_arguments
@click.option(
    "--watch", is_flag=True, help="Again every 2 s until all is done; with --json a line each."
)
@json_option
def status(sweep: str, overrides: tuple[str, ...], watch: bool, as_json: bool) -> int:
    """Done, running, failed, missing, and jobs: from the store."""
    from lawsweep.cli.verbs_jobs import job_as_json, print_jobs
    from lawsweep.remote.states import jobs as find_jobs
    from lawsweep.study.progress import certificate
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    study = Study(loaded)
    while True:
        found = study.status()
        # A watch reads the store alone; a single look asks the heads of unfinished jobs too.
        jobs = find_jobs(loaded.results_dir, loaded.folder_name, ask=not watch)
        others = study.variants()
        if as_json:
            (say_line if watch else say)(
                {
                    "planned": found.planned,
                    "statuses": dict(found.statuses),
                    "missing": found.missing,
                    "jobs": [job_as_json(j) for j in jobs],
                    "running": found.running,
                    "launches": list(found.launches),
                    "skipped_files": dict(found.skipped),
                    "search": found.search,
                    "folder": str(loaded.folder),
                    "others": [dataclasses.asdict(v) for v in others],
                }
            )
        else:
            warn(f"skipped {name}: {reason}" for name, reason in found.skipped.items())
            click.echo(certificate(found.statuses, found.planned))
            if found.search is not None:
                click.echo(f"search: {found.search}")
            for launch in found.launches:
                printing.print_sign_of_life(launch)
            print_jobs(jobs)
            printing.print_variants(sweep, loaded, others)
            if not found.launches:
                for gap in found.gaps(printing.typed(sweep, overrides)):
                    click.echo(f"  {gap}")
        if not watch or not found.missing:
            return 0
        time.sleep(2.0)
        study.refresh()


@click.command(short_help="What is installed; can Ray start; is the store writable.")
@click.argument("overrides", nargs=-1)
@click.option("--no-ray", is_flag=True, help="Do not try to start Ray (it takes some seconds).")
@json_option
def doctor(overrides: tuple[str, ...], no_ray: bool, as_json: bool) -> int:
    """What is installed, which devices, can Ray start, is the store writable."""
    from lawsweep.cli.doctor import examine

    checks = examine(results_dir(overrides), try_ray=not no_ray)
    if as_json:
        say([{"name": c.name, "ok": c.ok, "text": c.text} for c in checks])
    else:
        for check in checks:
            click.echo(f"{'ok ' if check.ok else 'BAD'}  {check.name:<12} {check.text}")
    return 0 if all(c.ok for c in checks) else max(c.exit_code for c in checks if not c.ok)
