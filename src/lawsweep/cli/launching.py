"""A launch from the command line, for ``run`` and ``rerun``: its progress, and what it answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli import text
from lawsweep.cli.answers import (
    EXIT_FAILED_ROWS,
    EXIT_INTERRUPTED,
    EXIT_SAME_FAILURE,
    Answer,
    Note,
)
from lawsweep.cli.options import confirmed, is_told, load, warn
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import FAILURES

if TYPE_CHECKING:
    from lawsweep.launch.report import RunReport
    from lawsweep.study.amending.chosen import Asked
    from lawsweep.study.amending.forcing import Again
    from lawsweep.study.progress import Status
    from lawsweep.study.study import Study

_NOTHING_READ: dict[str, Any] = {"fits": [], "figures": []}


@dataclass
class Launched(Answer):
    """How a launch ended, how complete the sweep is, and what its rows say.

    Fits and figures are made when they are asked for: what was run has been said by then.
    """

    study: Study
    report: RunReport
    status: Status
    typed: str
    retry: bool
    analysis: bool
    again: Again | None = None

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """3 where rows failed, 4 where failures stopped it, 130 interrupted."""
        if self.report.stopped == "interrupted":
            return EXIT_INTERRUPTED
        if self.report.stopped in ("same_failure", "failures"):
            return EXIT_SAME_FAILURE
        return EXIT_FAILED_ROWS if any(self.status.statuses.get(s) for s in FAILURES) else 0

    def lines(self) -> Iterator[str]:
        """What ran, what is missing and how to close each gap, fits and figures."""
        from lawsweep.study.progress import certificate
        from lawsweep.study.reading.findings import found_lines

        report = self.report
        yield self._what_ran()
        if report.by_others:
            yield f"{report.by_others:,} were done by other launches meanwhile"
        yield certificate(self.status.statuses, self.status.planned)
        for gap in self.status.gaps(self.typed):
            yield f"  {gap}"
        yield from (Note(note) for note in report.notes if not is_told(note))
        for line in found_lines(self.study):
            yield f"search: {line}"
        yield f"table:  {self.study.table.folder}/part-*.parquet"
        for found in self._results["fits"]:
            yield f"fit:    {found.summary()}"
        for path in self._results["figures"]:
            yield f"figure: {path}"

    def _what_ran(self) -> str:
        ran = sum(self.report.statuses.values())
        if self.report.stopped is not None:
            return f"stopped: {self.report.message}"
        if ran == 0 and self.again is not None:
            return "nothing to run again"
        if ran == 0 and self.retry:
            return "nothing to run again: no row has failed"
        if ran == 0:
            return "nothing to run: every planned run is in the table already"
        rate = ran / max(self.report.wall_s, 1e-9)
        return f"ran {ran:,} in {text.duration(self.report.wall_s)} ({rate:.3g} runs/s)"

    def to_dict(self) -> dict[str, Any]:
        """The report, counts, table, thresholds of a search, fits and figures."""
        from lawsweep.launch.report import describe_report

        found = {
            **describe_report(self.report),
            **counts(self.study, self.report, self.status),
            "table": str(self.study.table.folder),
            "statuses": dict(self.status.statuses),
            "missing": self.status.missing,
            **({} if self.again is None else {"again": self.again.to_dict()}),
        }
        if self.study.cells:
            from lawsweep.study.reading.findings import findings_table

            found["thresholds"] = findings_table(self.study).to_pylist()
        if not self.study.chosen.whole:
            from lawsweep.study.reading.findings import decided

            book = decided(self.study)
            found |= {} if book is None else {"decisions": book}
        fits, figures = self._results["fits"], self._results["figures"]
        return {
            **found,
            "fits": [f.to_dict() for f in fits],
            "figures": [str(path) for path in figures],
        }

    @functools.cached_property
    def _results(self) -> Mapping[str, Any]:
        """Fits and figures: a trouble there never hides that the rows are safe."""
        sweep = self.study.sweep
        asked = self.analysis and self.report.stopped is None and (sweep.fits or sweep.figures)
        frame = _tried(self.study.frame) if asked else None
        if frame is None or not (frame["status"] == "ok").any():
            return _NOTHING_READ
        fits = _tried(self.study.fit, frame) or []
        return {"fits": fits, "figures": _tried(_figures, self.study, frame) or []}


def counts(study: Study, report: RunReport, found: Status) -> dict[str, int]:
    """The counts of a launch of a search, as ``status`` has them; of another sweep the report's.

    The report also counts runs that the search was expected to ask for, and did not.
    """
    if study.chosen.whole:
        return {}
    ran = sum(report.statuses.values())
    return {"planned": found.planned, "done_before": found.planned - found.missing - ran}


def launch(
    name: str,
    overrides: tuple[str, ...],
    *,
    analysis: bool,
    as_json: bool,
    retry: bool = False,
    again: Asked | None = None,
    yes: bool = False,
    accept: bool = False,
    recompute: bool = False,
) -> Launched:
    """Run what the table of a sweep lacks, telling how far it is.

    ``again``: rows that are made again in place of that, once a person agrees (``yes``: has); it
    ends with the code 1 where not.  ``accept`` and ``recompute``: what to do about rows of other
    code first.
    """
    from lawsweep.cli.progress import progress
    from lawsweep.study.amending.forcing import look as look_again
    from lawsweep.study.study import Study

    sweep, typed = load(name, overrides), text.typed(name, overrides)
    # The command to print again, in years: as typed, without this machine's paths.
    verb = "run" if again is None and not retry else "rerun"
    command = f"lawsweep {verb} {typed}{' --failed' if retry else ''}"
    command += " --accept" * accept + " --recompute" * recompute
    study, found = Study(sweep), None
    if not as_json:
        click.echo(_beginning(study))
        warn(study.notes())
    settle(study, accept=accept, recompute=recompute, err=as_json)
    run = functools.partial(study.run, retry=retry, recompute=recompute)
    if again is not None:
        command += f" {again.typed}"
        found = look_again(study, again)
        for line in _told_again(found):
            click.echo(line, err=as_json)
        if found.rows.places and not confirmed("Run them again?", yes=yes, needed=False):
            click.echo("nothing was run", err=True)
            raise click.exceptions.Exit(1)
        run = functools.partial(
            study.rerun, again.where, run_ids=again.run_ids, status=again.statuses
        )
    with progress(study.plan, quiet=as_json) as sinks:
        report = run(sinks=sinks, command=command)
    if analysis and report.stopped is None and (sweep.fits or sweep.figures):
        _tried(study.rows)  # first: what the rest asks for then comes of these, in one look
    return Launched(study, report, study.status(), typed, retry, analysis, found)


def _told_again(found: Again) -> Iterator[str]:
    """What is made again and what it took, before it is."""
    if found.n_made is not None:
        yield f"going on: {found.n_made:,} of them were made again before"
    if not found.rows.places:
        if found.n_made is None:
            yield f"no row {found.rows.asked}"
        return
    yield (
        f"again: {found.rows.counts}, which took {text.duration(found.rows.wall_s)}; their older "
        "attempts stay in the table"
    )


def _beginning(study: Study) -> str:
    """What a launch is about to run; of a search, what it chooses from."""
    plan, headline = study.plan, study.chosen.headline()
    what = (
        f"{len(plan):,} runs ({plan.n_points:,} points x {len(plan.seeds)} seeds) of "
        f"{plan.experiment.name}"
    )
    if headline is not None:
        what = f"{headline} among {what}"
    return f"{study.sweep.name}: {what}"


def settle(study: Study, *, accept: bool, recompute: bool, err: bool = False) -> None:
    """What is to become of rows of other code: said, and what is accepted is.

    Raises InvalidValueError where both are asked for.
    """
    if accept and recompute:
        raise InvalidValueError(
            "accept and recompute are two answers to one question: what is to become of rows of "
            "other code. Give one of them."
        )
    if accept:
        click.echo(f"{study.accept()}", err=err)
    if recompute:
        for line in _of_other_code(study):
            click.echo(line, err=err)


def _of_other_code(study: Study) -> Iterator[str]:
    """What is run again since the code has changed, and the time it is expected to take."""
    from lawsweep.study.code.recomputing import again

    found = again(study)
    yield from found.lines()
    if not found.places:
        return
    view = study.preview(recompute=True)
    if not view.is_known:
        yield f"expected: {view.basis}"
        return
    work, time = text.duration(view.schedule.work_s), text.duration(view.schedule.makespan_s)
    slots = f"{view.n_slots:,} slot{'' if view.n_slots == 1 else 's'}"
    yield f"expected: {work} of work, {time} on {slots}; {view.basis}"


def _figures(study: Study, frame: Any) -> list[Any]:
    """Those that could be drawn, and a note of the others."""
    from lawsweep.core.errors import FigureError

    try:
        return list(study.plot(frame))
    except FigureError as error:
        warn([error])
        return error.drawn


def _tried(read: Callable[..., Any], *given: Any) -> Any:
    """What ``read`` answers; None, and a note, where the rows cannot be read as asked."""
    from lawsweep.core.errors import LawsweepError

    try:
        return read(*given)
    except LawsweepError as error:
        warn([f"the rows are safe, but they cannot be read as asked: {error}"])
        return None
