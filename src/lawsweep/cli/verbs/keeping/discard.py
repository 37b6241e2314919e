"""``lawsweep discard``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.options import chosen_rows, confirmed, load, sweep_arguments
from lawsweep.cli.text import duration, size, typed

if TYPE_CHECKING:
    from lawsweep.study.amending.discarding import Discarded


@dataclass
class Gone(Answer):
    """What was taken out, or would be, and the command that makes it anew."""

    found: Discarded
    anew: str

    def lines(self) -> Iterator[str]:
        """What became of it; what is lost has been said."""
        n = self.found.held.n_runs
        if self.found.removed:
            yield f"discarded {n:,} runs; made anew by: {self.anew}"
        elif n:
            yield "nothing was discarded"

    def to_dict(self) -> dict[str, Any]:
        """Counts, what is lost, and whether it is gone."""
        return self.found.to_dict()


def lost(found: Discarded) -> Iterator[str]:
    """What is lost, said before anything is."""
    held = found.held
    if not found.rows.places:
        yield f"nothing to discard: no row {found.rows.asked}"
        return
    n_more = held.n_rows - held.n_runs
    attempts = f" and {n_more:,} earlier attempt{'' if n_more == 1 else 's'}" if n_more else ""
    yield f"lost: {found.rows.counts}{attempts}, {duration(held.wall_s)} of work"
    if held.n_values:
        yield f"lost: {held.n_values:,} arrays, {size(held.array_bytes)}"
    if held.n_points:
        yield f"lost: {held.n_points:,} points of curves"
    if held.n_artefacts:
        yield f"lost: {held.n_artefacts:,} files that runs left, {size(held.artefact_bytes)}"
    if found.shared:
        yield f"other sweeps have them too: {', '.join(found.shared)}"
    yield from (Note(f"{name} cannot be read, and stays") for name in held.skipped)


@verb(55, short_help="Take rows out of the table: their runs count as not run.")
@sweep_arguments
@chosen_rows
@click.option("--dry-run", is_flag=True, help="Say what would be lost, and change nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def discard(
    sweep: str,
    overrides: tuple[str, ...],
    where: tuple[str, ...],
    status: tuple[str, ...],
    run_ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> Gone:
    """Take rows out of the table, with all their attempts and arrays: --where 'width > 64'.

    What is lost is said first. Refused while a launch of the experiment is under way; after a kill
    the same command takes the rest.
    """
    from lawsweep.study.amending.chosen import asked
    from lawsweep.study.amending.discarding import look, refuse_launches, remove
    from lawsweep.study.progress import started_by
    from lawsweep.study.study import Study

    study = Study(load(sweep, overrides))
    found = look(study, asked(where, run_ids, status))
    for line in lost(found):
        click.echo(line, err=as_json or isinstance(line, Note))
    if found.rows.places and not dry_run:
        refuse_launches(study)  # before anybody is asked
        n = len(found.rows.places)
        if confirmed(f"Discard {n:,} row{'' if n == 1 else 's'}?", yes=yes, needed=True):
            found = remove(study, found)
    return Gone(found, started_by(study) or f"lawsweep run {typed(sweep, overrides)}")
