"""The verbs of the command line: each composes a sweep, calls the API and prints."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli import printing
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.core.sweep import Sweep
    from lawsweep.runner.run_plan import RunReport

_ANSWER: list[str] = []
_NOTHING_READ: dict[str, Any] = {"fits": [], "figures": []}
EXIT_FAILED_ROWS, EXIT_SAME_FAILURE, EXIT_INTERRUPTED = 3, 4, 130


def _sweep_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.argument("overrides", nargs=-1)(function)
    return click.argument("sweep")(function)


def _json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: stdout has the answer alone; whatever else is printed goes to stderr."""

    @functools.wraps(function)
    def verb(**options: Any) -> Any:
        if not options["as_json"]:
            return function(**options)
        _ANSWER.clear()
        with contextlib.redirect_stdout(sys.stderr):
            code = function(**options)
        for text in _ANSWER:
            click.echo(text)
        return code

    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(verb)


def _load(name: str, overrides: tuple[str, ...]) -> Sweep:
    from lawsweep.cli.compose import load_sweep

    return load_sweep(name, *overrides)


def _say(value: Any) -> None:
    from lawsweep.api import to_json

    _ANSWER.append(to_json(value))


def _warn(lines: Any) -> None:
    for line in lines:
        click.echo(f"note: {line}", err=True)


@click.command()
@_sweep_arguments
@click.option("--no-analysis", is_flag=True, help="Do not fit and draw at the end.")
@_json_option
def run(sweep: str, overrides: tuple[str, ...], no_analysis: bool, as_json: bool) -> int:
    """Run what the table lacks, then fit and draw."""
    return _run(sweep, overrides, analysis=not no_analysis, as_json=as_json)


@click.command()
@_sweep_arguments
@click.option("--failed", is_flag=True, required=True, help="Rows that failed, oom or timeout.")
@click.option("--no-analysis", is_flag=True, help="Do not fit and draw at the end.")
@_json_option
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
    from lawsweep import api
    from lawsweep.cli.progress import progress

    def stop(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt  # SLURM and Kubernetes end a job with SIGTERM first

    signal.signal(signal.SIGTERM, stop)
    sweep, typed = _load(name, overrides), printing.typed(name, overrides)
    # The command to print again, in years: as typed, without this machine's paths.
    command = f"lawsweep {'rerun' if retry else 'run'} {typed}{' --failed' if retry else ''}"
    opened = api.study(sweep)
    if not as_json:
        n_points, n_seeds = opened.plan.n_points, len(opened.plan.seeds)
        click.echo(
            f"{sweep.name}: {len(opened.plan):,} runs ({n_points:,} points x {n_seeds} seeds) of "
            f"{opened.plan.experiment.name}"
        )
        _warn(api.iterate_notes(opened))
    with progress(opened.plan, quiet=as_json) as watcher:
        report = api.run(sweep, watcher=watcher, command=command, retry=retry)
    found = api.status(sweep)
    if not as_json:
        certificate = api.certificate(found.statuses, found.planned)
        printing.print_end(report, found, certificate, typed, retry=retry)
        click.echo(f"table:  {opened.table.folder}/part-*.parquet")
    results = _analyse(sweep, report, as_json) if analysis else _NOTHING_READ
    if as_json:
        from lawsweep.runner.run_plan import describe_report

        answer = {
            **describe_report(report),
            "table": str(opened.table.folder),
            "statuses": dict(found.statuses),
            "missing": found.missing,
            **results,
        }
        _say(answer)
    return _exit_code(report, found.statuses)


def _exit_code(report: RunReport, statuses: Any) -> int:
    if report.stopped == "interrupted":
        return EXIT_INTERRUPTED
    if report.stopped == "same_failure":
        return EXIT_SAME_FAILURE
    return EXIT_FAILED_ROWS if any(statuses.get(s) for s in ("failed", "oom", "timeout")) else 0


def _analyse(sweep: Sweep, report: RunReport, as_json: bool) -> dict[str, Any]:
    """Fits and figures at the end of a run: a trouble there never hides that the rows are safe."""
    from lawsweep import api
    from lawsweep.core.errors import LawsweepError

    if not (sweep.fits or sweep.figures) or report.stopped is not None:
        return _NOTHING_READ
    try:
        frame = api.load(sweep)
        if not (frame["status"] == "ok").any():
            return _NOTHING_READ
        fits, figures = api.fit(sweep, frame), api.plot(sweep, frame)
    except LawsweepError as error:
        click.echo(f"note: the rows are safe, but they cannot be read as asked: {error}", err=True)
        return _NOTHING_READ
    if not as_json:
        printing.print_fits(fits)
        for path in figures:
            click.echo(f"figure: {path}")
    return {"fits": [f.to_dict() for f in fits], "figures": [str(p) for p in figures]}


@click.command()
@_sweep_arguments
@click.option("--on", help="Other hardware: cpus=64 or gpus=8:H100.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="How many points to list; 0: all.",
)
@_json_option
def plan(sweep: str, overrides: tuple[str, ...], on: str | None, limit: int, as_json: bool) -> int:
    """List the points, what is done, what is new, and the expected time."""
    from lawsweep import api

    view = api.view_plan(_load(sweep, overrides), on)
    counts = {s: view.count(s) for s in ("done", "failed", "changed", "new")}
    schedule, large = view.schedule, view.too_large()
    if as_json:
        n_seeds = len(view.plan.seeds)
        points = range(min(view.plan.n_points, limit or view.plan.n_points))
        _say(
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
                "notes": list(view.plan.notes),
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
    _warn(view.plan.notes)
    click.echo(
        f"{len(view.plan):,} planned ({view.plan.n_points:,} points x {len(view.plan.seeds)} "
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
@_sweep_arguments
@click.option("--watch", is_flag=True, help="Again every 2 seconds, until everything is done.")
@_json_option
def status(sweep: str, overrides: tuple[str, ...], watch: bool, as_json: bool) -> int:
    """Done, running, failed, missing: from the store alone."""
    from lawsweep import api

    loaded = _load(sweep, overrides)
    while True:
        found = api.status(loaded)
        if as_json:
            _say(
                {
                    "planned": found.planned,
                    "statuses": dict(found.statuses),
                    "missing": found.missing,
                    "running": found.running,
                    "launches": list(found.launches),
                    "skipped_files": dict(found.skipped),
                }
            )
        else:
            _warn(f"skipped {name}: {reason}" for name, reason in found.skipped.items())
            click.echo(api.certificate(found.statuses, found.planned))
            for launch in found.launches:
                eta = launch.get("eta_s")
                left = f", ETA {printing.duration(eta)}" if eta is not None else ""
                click.echo(
                    f"running: {launch['running']} runs at {launch['rate']:.3g}/s on "
                    f"{launch['host']}{left} (launch {launch['launch_id']})"
                )
            if not found.launches:
                for gap in found.gaps(printing.typed(sweep, overrides)):
                    click.echo(f"  {gap}")
        if not watch or not found.missing:
            return 0
        time.sleep(2.0)


@click.command()
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
@_json_option
def show(run_id: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """One row, whole: params, metrics, failure, and the launch that made it."""
    from lawsweep import api

    row = api.show(run_id, _results_dir(overrides))
    launch = row.pop("launch")
    if as_json:
        _say({**row, "launch": launch})
        return 0
    for name, value in row.items():
        if value is not None:
            text = str(value)
            click.echo(f"{name:>20}  " + text.replace("\n", "\n" + " " * 22))
    if launch is None:
        click.echo(f"{'launch':>20}  its record is not in this results folder")
        return 0
    for name in ("sweep", "command", "overrides", "git", "packages", "hardware", "executor"):
        click.echo(f"{'launch.' + name:>20}  {launch.get(name)}")
    return 0


def _results_dir(overrides: tuple[str, ...]) -> str:
    import os

    from lawsweep.cli.overrides import parse_override
    from lawsweep.core.errors import unknown_name

    found = os.environ.get("LAWSWEEP_RESULTS_DIR") or "results"
    for text in overrides:
        override = parse_override(text)
        if override.path != ("results_dir",):
            raise unknown_name("key", ".".join(override.path), ["results_dir"], f"{text!r}")
        found = str(override.value or "results")
    return found


@click.command()
@_sweep_arguments
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File: .parquet, .csv or .json."
)
@_json_option
def export(sweep: str, overrides: tuple[str, ...], output: Path | None, as_json: bool) -> int:
    """Write the sweep's tidy table, one row a planned run: Parquet, CSV or JSON lines."""
    from lawsweep import api

    loaded = _load(sweep, overrides)
    path = output or loaded.folder / f"{loaded.name}.parquet"
    n_rows = api.export(loaded, path)
    found = api.status(loaded)
    if as_json:
        _say(
            {
                "path": str(path),
                "n_rows": n_rows,
                "statuses": dict(found.statuses),
                "missing": found.missing,
            }
        )
    else:
        click.echo(f"{path}: {n_rows:,} rows ({api.certificate(found.statuses, found.planned)})")
        for gap in found.gaps(printing.typed(sweep, overrides)):
            click.echo(f"  {gap}")
    return 0


@click.command()
@_sweep_arguments
@_json_option
def fit(sweep: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Fit the laws the sweep names: exponents with intervals."""
    from lawsweep import api

    loaded = _load(sweep, overrides)
    if not loaded.fits:
        raise InvalidValueError(f"Sweep {loaded.name} names no fits; add some under fits.")
    fits = api.fit(loaded)
    if as_json:
        _say([f.to_dict() for f in fits])
    else:
        printing.print_fits(fits)
    return 0


@click.command()
@_sweep_arguments
@_json_option
def plot(sweep: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Draw the sweep's figures: PNG and PDF."""
    from lawsweep import api

    loaded = _load(sweep, overrides)
    if not loaded.figures:
        raise InvalidValueError(f"Sweep {loaded.name} names no figures; add some under figures.")
    paths = api.plot(loaded)
    if as_json:
        _say([str(p) for p in paths])
    else:
        for path in paths:
            click.echo(f"figure: {path}")
    return 0


@click.command()
@_sweep_arguments
@_json_option
def report(sweep: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """One HTML page: completeness, fits, figures, provenance."""
    from lawsweep import api

    path = api.report(_load(sweep, overrides), printing.typed(sweep, overrides))
    if as_json:
        _say({"path": str(path)})
    else:
        click.echo(f"report: {path}")
    return 0


@click.command()
@click.argument("overrides", nargs=-1)
@click.option("--no-ray", is_flag=True, help="Do not try to start Ray (it takes some seconds).")
@_json_option
def doctor(overrides: tuple[str, ...], no_ray: bool, as_json: bool) -> int:
    """What is installed, which devices, can Ray start, is the store writable."""
    from lawsweep.cli.doctor import examine

    checks = examine(_results_dir(overrides), try_ray=not no_ray)
    if as_json:
        _say([{"name": c.name, "ok": c.ok, "text": c.text} for c in checks])
    else:
        for check in checks:
            click.echo(f"{'ok ' if check.ok else 'BAD'}  {check.name:<12} {check.text}")
    return 0 if all(c.ok for c in checks) else max(c.exit_code for c in checks if not c.ok)
