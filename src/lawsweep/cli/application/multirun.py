"""A Hydra application's multirun in the terminal: ``python app.py -m hydra/sweeper=lawsweep``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli import text
from lawsweep.cli.answers import EXIT_FAILED_ROWS, EXIT_INTERRUPTED, EXIT_SAME_FAILURE
from lawsweep.cli.options import warn, warnings_as_notes
from lawsweep.core.errors import LawsweepError
from lawsweep.core.outcome import FAILURES
from lawsweep.core.secrets import hide

if TYPE_CHECKING:
    from lawsweep.config.application.multirun import Multirun
    from lawsweep.launch.report import RunReport

SHOWN = 3  # kinds of failures that are told


def run_application(
    options: Mapping[str, Any],
    arguments: Sequence[str],
    context: Any,
    function: Callable[..., Any],
    config: Any,
) -> list[RunReport]:
    """Run the jobs of a multirun that the study's table lacks, and say how it ended.

    Ends the program with the exit code of ``lawsweep run`` where that is not 0.
    """
    from lawsweep.config.application.multirun import prepare

    try:
        with warnings_as_notes():
            multirun = prepare(options, arguments, context, function, config)
            multirun.begin()
            reports, failures = _launch(multirun)
            fits = _fits(multirun)
    except LawsweepError as error:
        print(f"lawsweep: {hide(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    multirun.end()
    for line in _lines(multirun, reports, failures, fits):
        click.echo(line)
    if code := _exit_code(reports, failures):
        multirun.tell_end()
        sys.exit(code)
    return reports


def _launch(multirun: Multirun) -> tuple[list[RunReport], Counter[str]]:
    """The reports of the launches, and how often rows that failed say what."""
    from lawsweep.cli.launching import settle
    from lawsweep.cli.progress import progress
    from lawsweep.config.application.record import keep
    from lawsweep.study.questions import open_own_folder
    from lawsweep.study.study import Study

    asked, reports, failures = multirun.asked, [], Counter[str]()
    options = multirun.options
    again = f" ({asked.n_jobs - len(asked.specs):,} of {asked.n_jobs:,} jobs are repeated)"
    click.echo(
        f"{multirun.name}: {len(asked.specs):,} runs"
        f"{again if len(asked.specs) < asked.n_jobs else ''}"
    )
    for sweep in multirun.sweeps:
        study = Study(sweep)
        open_own_folder(sweep, study.plan)  # raises where it is another application's
        keep(sweep, {d: multirun.points[d] for d in _digests(sweep)}, multirun.command)
        warn(study.notes())
        settle(study, accept=options.accept, recompute=options.recompute)
        with progress(study.plan, quiet=False) as sinks:
            report = study.run(
                sinks=sinks,
                command=multirun.command,
                retry=options.retry,
                recompute=options.recompute,
            )
        reports.append(report)
        rows = study.known.table.read(study.plan.run_ids, ["status", "error"]).to_pylist()
        failures.update(
            str(r["error"] or r["status"]).splitlines()[0] for r in rows if r["status"] in FAILURES
        )
        if report.stopped is not None:
            break
    return reports, failures


def _fits(multirun: Multirun) -> list[str]:
    """The fits that ``hydra.sweeper.fits`` asks for, of all that the study has by now."""
    from lawsweep.config.compose import load_kept
    from lawsweep.study.study import Study

    if not multirun.options.fits:
        return []
    try:
        where = multirun.sweeps[0].results_dir.replace("'", "\\'")
        kept = load_kept(multirun.name, [f"results_dir='{where}'"])
        return [f"fit:    {f.summary()}" for f in Study(kept).fit()] if kept is not None else []
    except LawsweepError as error:
        warn([f"the rows are safe, but they cannot be fitted as asked: {error}"])
        return []


def _digests(sweep: Any) -> list[str]:
    return [str(point["config"]) for point in sweep.axes["points"]]


def _lines(
    multirun: Multirun,
    reports: Sequence[RunReport],
    failures: Counter[str],
    fits: Sequence[str],
) -> Iterator[str]:
    ran = sum(sum(r.statuses.values()) for r in reports)
    done = sum(r.done_before for r in reports)
    seconds = sum(r.wall_s for r in reports)
    stopped = next((r for r in reports if r.stopped is not None), None)
    if stopped is not None:
        yield f"stopped: {stopped.message}"
    if ran:
        before = f"; {done:,} were in the table" if done else ""
        rate = ran / max(seconds, 1e-9)
        yield f"ran {ran:,} in {text.duration(seconds)} ({rate:.3g} jobs/s){before}"
    elif stopped is None:
        yield "nothing to run: every job is in the table already"
    for report in reports:
        warn(report.notes)
    for reason, n in failures.most_common(SHOWN):
        yield f"failed: {n:,} x {reason}"
    if failures:
        yield "        the same command with hydra.sweeper.retry=true runs them again"
    yield from map(str, fits)
    where = "" if multirun.results == "results" else f" results_dir={multirun.results}"
    yield f"study:  lawsweep status {multirun.name}{where}  (and fit, report, show, sql, export)"


def _exit_code(reports: Sequence[RunReport], failures: Counter[str]) -> int:
    stopped = {r.stopped for r in reports}
    if "interrupted" in stopped:
        return EXIT_INTERRUPTED
    if "same_failure" in stopped:
        return EXIT_SAME_FAILURE
    return EXIT_FAILED_ROWS if failures else 0
