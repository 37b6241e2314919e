"""``lawsweep status``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.cli.plain_output import one_line
from lawsweep.cli.text import at, room, typed
from lawsweep.cli.watching import telling

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep
    from lawsweep.remote.states import Job
    from lawsweep.study.progress import Reported, Status
    from lawsweep.study.questions import Variant
    from lawsweep.study.study import Study

MOST_REPORTS = 5  # runs under way whose latest report is shown
EVERY_S = 2.0  # between two looks of a watch


@dataclass
class HowFar(Answer):
    """How far a sweep is, its jobs, and its folders under other overrides."""

    sweep: Sweep
    words: tuple[str, ...]  # the sweep and its overrides, as typed
    status: Status
    jobs: list[Job]
    others: list[Variant]
    found: list[str]  # by the sampler, a line a setting
    decisions: list[dict[str, Any]] | None  # of ``until``
    of_code: list[str]  # rows by other code, or without a metric that came since

    def lines(self) -> Iterator[str]:
        """Counts, launches and jobs; what closes each gap, where nothing is under way."""
        from lawsweep.study.progress import certificate

        found = self.status
        yield from (Note(f"skipped {name}: {why}") for name, why in found.skipped.items())
        yield from map(Note, self.of_code)
        yield certificate(found.statuses, found.planned)
        if found.search is not None:
            yield f"search: {found.search}"
        yield from (f"  {line}" for line in self.found)
        for launch in found.launches:
            yield from _sign_of_life(launch)
        yield from _reports(found.reported)
        yield from _jobs(self.jobs)
        for other in self.others:
            again = typed(self.words[0], other.overrides)
            again += f" {self.sweep.elsewhere}" if self.sweep.elsewhere else ""
            where = f"{self.sweep.results}/sweeps/{other.folder}"
            yield f"also: {again} ({other.n_planned:,} planned, {where})"
        if not found.launches:
            for gap in found.gaps(typed(self.words[0], self.words[1:])):
                yield f"  {gap}"

    def headline(self) -> str:
        """Counts, and how far each launch is."""
        from lawsweep.cli.progress import line
        from lawsweep.study.progress import certificate

        counts = certificate(self.status.statuses, self.status.planned)
        running = (f"running on {x.get('host') or '?'}: {line(x)}" for x in self.status.launches)
        return one_line("; ".join((counts, *running)))

    def state(self) -> object:
        """Counts, and which launches live."""
        found = self.status
        return dict(found.statuses), found.planned, [x.get("launch_id") for x in found.launches]

    def to_dict(self) -> dict[str, Any]:
        """Counts, jobs, launches that live, and where it all is."""
        found = self.status
        return {
            "planned": found.planned,
            "statuses": dict(found.statuses),
            "missing": found.missing,
            "jobs": [dataclasses.asdict(job) for job in self.jobs],
            "running": found.running,
            "launches": list(found.launches),
            "failures": [dataclasses.asdict(group) for group in found.failures],
            "reported": [dataclasses.asdict(one) for one in found.reported],
            "skipped_files": dict(found.skipped),
            "notes": self.of_code,
            "search": found.search,
            **({} if self.decisions is None else {"decisions": self.decisions}),
            **({"again": {"n_left": sum(n for n, _ in found.again)}} if found.again else {}),
            "folder": str(self.sweep.folder),
            "others": [dataclasses.asdict(v) for v in self.others],
        }


def _sign_of_life(launch: Mapping[str, Any]) -> Iterator[str]:
    """A launch that runs: how far it is, and the runs that are longest under way."""
    from lawsweep.cli.progress import line, slow_line

    where, since = launch.get("host") or "?", launch.get("started_at")
    name = f"launch {launch.get('launch_id') or '?'}" + (f", since {since}" if since else "")
    yield one_line(f"running on {where}: {line(launch)} ({name})")
    if (slow := slow_line(launch)) is not None:
        yield f"  {slow}"


def _reports(found: Sequence[Reported]) -> Iterator[str]:
    """Where runs under way are: a line each, as wide as the terminal."""
    width = room()
    for one in found[:MOST_REPORTS]:
        named = at({**one.params, "seed": one.seed})
        values = ", ".join(f"{n} {v:.4g}" for n, v in one.metrics.items())
        line = one_line(f"  {named}: step {one.step:,}, {values}")
        yield line if width is None or len(line) <= width else f"{line[: width - 3]}..."
    if (more := len(found) - MOST_REPORTS) > 0:
        yield f"  and {more:,} more that report (--json has them)"


def _jobs(found: list[Job]) -> Iterator[str]:
    """A line a job; of those that have ended, the latest alone."""
    ended = [j for j in found if j.ended]
    for job in found:
        if not job.ended or job is ended[-1]:
            what = f": {job.text}" if job.text else ""
            yield f"job {job.id}: {job.state} (sent {job.submitted_at} by {job.by}){what}"


@verb(30, only_prints=True)
@sweep_arguments
@click.option(
    "--watch",
    is_flag=True,
    help="Again every 2 s, until all is done or the launch has ended; with --json a line each.",
)
def status(sweep: str, overrides: tuple[str, ...], watch: bool, as_json: bool) -> HowFar | int:
    """Done, running, failed, missing, and jobs: from the store."""
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    study, words = Study(loaded), (sweep, *overrides)
    if not watch:
        return _look(study, words, ask=True)
    seen_launch = False
    with telling(EVERY_S, as_json) as tell:
        while True:
            # A watch reads the store alone; a single look asks the heads of unfinished jobs too.
            answer = _look(study, words, ask=False)
            running = bool(answer.status.launches)
            seen_launch |= running
            # Nothing may be missing while rows are made again, or before a search asks for more.
            last = not running and (seen_launch or not answer.status.missing)
            tell(answer, last)
            if last:
                break
            time.sleep(EVERY_S)
            study.refresh()
    return 0


def _look(study: Study, words: tuple[str, ...], *, ask: bool) -> HowFar:
    from lawsweep.remote.states import jobs
    from lawsweep.study.code.lacking import code_notes
    from lawsweep.study.reading.findings import decided, found_lines

    sweep = study.sweep
    known = jobs(sweep.results_dir, sweep.folder_name, ask=ask)
    lines, book = found_lines(study), decided(study)
    found, notes = lines[1:] if book else [], list(code_notes(study))
    return HowFar(sweep, words, study.status(), known, study.variants(), found, book, notes)
