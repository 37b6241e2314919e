"""The verbs that send a sweep to a cluster as a Ray job, and follow, read or stop it there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.options import (
    EXIT_INTERRUPTED,
    json_option,
    load,
    results_dir,
    say,
    sweep_arguments,
    warn,
)
from lawsweep.core.errors import InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep
    from lawsweep.remote.states import Job
    from lawsweep.remote.submitting import Submitted

address_option = click.option(
    "--address",
    metavar="URL",
    help="The head's job server, http://HEAD:8265.  Default: RAY_API_SERVER_ADDRESS, or a "
    "RAY_ADDRESS that begins with http://; without these it must be given, for nothing is sent to "
    "a head that was not named.",
)


def job_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--job`` and ``--address`` of a job that was sent."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        which = f"Which one, or the beginning of its id; default: {default}."
        where = "Its head, where it is reached otherwise from here."
        function = click.option("--job", metavar="ID", help=which)(function)
        return click.option("--address", metavar="URL", help=where)(function)

    return add


@click.command(short_help="Send the sweep to a cluster as a Ray job; this machine may go.")
@sweep_arguments
@address_option
@click.option("--follow", is_flag=True, help="Show its log until it ends.")
@click.option("--no-ship", is_flag=True, help="The cluster sees this folder: send no copy.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave files out of the copy.")
@click.option("--again", is_flag=True, help="Even if the same runs are done, or under way.")
@json_option
def submit(
    sweep: str,
    overrides: tuple[str, ...],
    address: str | None,
    follow: bool,
    no_ship: bool,
    exclude: tuple[str, ...],
    again: bool,
    as_json: bool,
) -> int:
    """Run the sweep on a cluster, from its head: `lawsweep run SWEEP executor=ray_cluster` there.

    It is planned and checked here first.  A copy of the working folder goes along, without hidden
    files, virtual environments, results (of any name) and links to folders.  Results go where both
    see them.
    """
    from lawsweep.remote.states import find_job
    from lawsweep.remote.submitting import submit as send

    loaded, target = _for_the_cluster(sweep, overrides), _target(sweep)
    sent = send(loaded, target, address=address, ship=not no_ship, exclude=exclude, again=again)
    if as_json:
        say(_as_json(sent))
    else:
        _print_sent(sent)
    if follow and sent.job is not None:
        found = find_job(sent.results_dir, loaded.folder_name, sent.job)
        return _follow(found, sent.results_dir)
    return 0


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


def _as_json(sent: Submitted) -> dict[str, Any]:
    going = sent.shipment
    return {
        "job": sent.job,
        "address": sent.address,
        "command": sent.command,
        "results_dir": sent.results_dir,
        "planned": sent.n_planned,
        "missing": sent.n_missing,
        "search": sent.search,
        "shipped": None
        if going is None
        else {"files": len(going.files), "bytes": going.n_bytes, "left_out": list(going.left_out)},
        "notes": list(sent.notes),
    }


def _print_sent(sent: Submitted) -> None:
    warn(sent.notes)
    if sent.job is None:
        done = "every planned run is in the table already"
        done = done if sent.search is None else f"the search has ended ({sent.search})"
        click.echo(f"nothing to run: {done} (--again sends it)")
        return
    what = f"{sent.n_missing:,} of {sent.n_planned:,} runs"
    click.echo(f"job {sent.job}: {sent.search or what}, to {sent.address}")
    click.echo(f"command: {sent.command}")
    if sent.shipment is not None:
        left = sent.shipment.left_out
        shown = ", ".join(left[:8]) + (", ..." if left[8:] else "")
        click.echo(
            f"shipped: {len(sent.shipment.files):,} files, {sent.shipment.n_bytes / 1024:.3g} KiB "
            f"of {sent.shipment.folder}" + (f"; left out: {shown}" if left else "")
        )
    click.echo(f"results: {sent.results_dir}")
    click.echo(f"follow:  lawsweep attach {sent.called}  (or logs, status, cancel)")


@click.command()
@sweep_arguments
@job_options("the latest")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends, with its exit code.")
def logs(
    sweep: str, overrides: tuple[str, ...], job: str | None, address: str | None, follow: bool
) -> int:
    """What a job of the sweep has printed."""
    from lawsweep.remote.follow import job_log
    from lawsweep.remote.states import find_job

    results, name = _place(sweep, overrides)
    found = find_job(results, name, job, address=address)
    if follow:
        return _follow(found, results)
    click.echo(job_log(found), nl=False)
    return 0


@click.command()
@sweep_arguments
@job_options("the one that has not ended, needed where several have not")
@json_option
def cancel(
    sweep: str, overrides: tuple[str, ...], job: str | None, address: str | None, as_json: bool
) -> int:
    """Stop a job of the sweep; what had finished is in the table."""
    from lawsweep.remote.end import cancel as end_job
    from lawsweep.remote.end import job_to_cancel

    results, name = _place(sweep, overrides)
    before = job_to_cancel(results, name, job, address=address)
    found = before if before.ended else end_job(results, name, before.id, address=address)
    if as_json:
        say(job_as_json(found))
    elif found.state == "STOPPED" and not before.ended:
        click.echo(f"job {found.id}: STOPPED; what had finished is in the table")
    else:
        click.echo(f"job {found.id} had ended already: {found.state}")
    return 0


@click.command(short_help="Follow a job: its log, how far it is, and at its end its exit code.")
@sweep_arguments
@job_options("the latest")
def attach(sweep: str, overrides: tuple[str, ...], job: str | None, address: str | None) -> int:
    """Follow a job until it ends; Ctrl-C detaches, and the job goes on."""
    from lawsweep.remote.states import find_job

    results, name = _place(sweep, overrides)
    return _follow(find_job(results, name, job, address=address), results)


def _place(text: str, overrides: tuple[str, ...]) -> tuple[str, str]:
    """Where the results of a sweep are, and its name: also where its file is not."""
    is_path = text.endswith((".yaml", ".yml")) or "/" in text
    name = Path(text).stem if is_path else text
    where = tuple(o for o in overrides if o.partition("=")[0] == "results_dir")
    try:
        loaded = load(text, overrides)
        if len(where) < len(overrides):
            loaded.plan()  # which checks the names and values that load takes as they come
    except UnknownNameError:
        if len(where) < len(overrides):
            raise  # it is this sweep that its overrides are about
        return results_dir(where), name
    return loaded.results_dir, loaded.folder_name


def _follow(job: Job, results: str) -> int:
    """Show a job's log, and on a terminal how far it is; its exit code at the end."""
    from lawsweep.cli.following import follow

    try:
        return follow(job, results)
    except KeyboardInterrupt:
        click.echo(
            f"\ndetached: the job {job.id} goes on (lawsweep attach or cancel, with the same "
            "words, finds it again)",
            err=True,
        )
        return EXIT_INTERRUPTED


def job_as_json(job: Job) -> dict[str, Any]:
    """A job as plain values."""
    import dataclasses

    return dataclasses.asdict(job)


def print_jobs(found: list[Job]) -> None:
    """A line a job; of those that have ended, the latest alone."""
    ended = [j for j in found if j.ended]
    for job in found:
        if not job.ended or job is ended[-1]:
            what = f": {job.text}" if job.text else ""
            click.echo(f"job {job.id}: {job.state} (sent {job.submitted_at} by {job.by}){what}")
