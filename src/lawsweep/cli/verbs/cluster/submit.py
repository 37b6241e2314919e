"""``lawsweep submit``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, show, verb
from lawsweep.cli.jobs import follow_to_its_end
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep
    from lawsweep.remote.submitting import Submitted


@dataclass
class Sent(Answer):
    """The job that was sent, if there was anything to run; its exit code, where it was followed."""

    found: Submitted
    exit_code: int = 0

    def lines(self) -> Iterator[str]:
        """The job, its command, what went along, and how to follow it."""
        sent = self.found
        yield from map(Note, sent.notes)
        if sent.job is None:
            done = "every planned run is in the table already"
            done = done if sent.search is None else f"the search has ended ({sent.search})"
            yield f"nothing to run: {done} (--again sends it)"
            return
        what = f"{sent.n_missing:,} of {sent.n_planned:,} runs"
        yield f"job {sent.job}: {sent.search or what}, to {sent.address}"
        yield f"command: {sent.command}"
        if (going := sent.shipment) is not None:
            shown = ", ".join(going.left_out[:8]) + (", ..." if going.left_out[8:] else "")
            yield (
                f"shipped: {len(going.files):,} files, {going.n_bytes / 1024:.3g} KiB of "
                f"{going.folder}" + (f"; left out: {shown}" if going.left_out else "")
            )
        yield f"results: {sent.results_dir}"
        yield f"follow:  lawsweep attach {sent.called}  (or logs, status, cancel)"

    def to_dict(self) -> dict[str, Any]:
        """The job, counts, and what went along."""
        sent, going = self.found, self.found.shipment
        shipped = going and {
            "files": len(going.files),
            "bytes": going.n_bytes,
            "left_out": list(going.left_out),
        }
        return {
            "job": sent.job,
            "address": sent.address,
            "command": sent.command,
            "results_dir": sent.results_dir,
            "planned": sent.n_planned,
            "missing": sent.n_missing,
            "search": sent.search,
            "shipped": shipped,
            "notes": list(sent.notes),
        }


@verb(10, short_help="Send the sweep to a cluster as a Ray job; this machine may go.")
@sweep_arguments
@click.option(
    "--address",
    metavar="URL",
    help="The head's job server, http://HEAD:8265.  Default: RAY_API_SERVER_ADDRESS, or a "
    "RAY_ADDRESS that begins with http://; without these it must be given, for nothing is sent to "
    "a head that was not named.",
)
@click.option("--follow", is_flag=True, help="Show its log until it ends.")
@click.option("--no-ship", is_flag=True, help="The cluster sees this folder: send no copy.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave files out of the copy.")
@click.option("--again", is_flag=True, help="Even if the same runs are done, or under way.")
def submit(
    sweep: str,
    overrides: tuple[str, ...],
    address: str | None,
    follow: bool,
    no_ship: bool,
    exclude: tuple[str, ...],
    again: bool,
    as_json: bool,
) -> Sent | int:
    """Run the sweep on a cluster, from its head: `lawsweep run SWEEP executor=ray_cluster` there.

    It is planned and checked here first.  A copy of the working folder goes along, without hidden
    files, virtual environments, results (of any name) and links to folders.  Results go where both
    see them.
    """
    from lawsweep.remote.states import find_job
    from lawsweep.remote.submitting import submit as send

    loaded, target = _for_the_cluster(sweep, overrides), _target(sweep)
    sent = send(loaded, target, address=address, ship=not no_ship, exclude=exclude, again=again)
    answer = Sent(sent)
    if not follow or sent.job is None:
        return answer
    if not as_json:
        show(answer)
    found = find_job(sent.results_dir, loaded.folder_name, sent.job)
    answer.exit_code = follow_to_its_end(found, sent.results_dir)
    return answer if as_json else answer.exit_code


def _for_the_cluster(name: str, overrides: tuple[str, ...]) -> Sweep:
    """The sweep as the driver will compose it: on the cluster it finds itself in."""
    for text in overrides:
        key, _, value = text.partition("=")
        if key.lstrip("+") in ("executor", "executor.kind") and value != "ray_cluster":
            raise InvalidValueError(
                f"A job's driver joins the cluster it runs on: leave {text!r} out, or use lawsweep "
                "run to compute on this machine."
            )
    loaded = load(name, overrides)
    if loaded.executor.get("kind") == "ray_cluster":
        return loaded
    return load(name, (*overrides, "executor=ray_cluster"))


def _target(name: str) -> str:
    """The sweep as the driver names it, from the root of the working folder."""
    if not name.endswith((".yaml", ".yml")) and "/" not in name:
        return name
    path = Path(os.path.abspath(name))  # noqa: PTH100  (a link stays under its name)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else str(path)
