"""The ``lawsweep`` command."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from lawsweep import __version__
from lawsweep.cli.options import warnings_as_notes
from lawsweep.cli.plain_output import plain_output
from lawsweep.cli.readers import Readers, lasting
from lawsweep.cli.shell.standing import in_project
from lawsweep.cli.verbs import homes, load_verb, sections
from lawsweep.core.errors import LawsweepError, StoreError, nearest
from lawsweep.core.plugins import place_of
from lawsweep.core.secrets import hide
from lawsweep.launch.interrupts import heeded

UNREAD = 141  # as a shell says it of a command that wrote to nobody

EXIT_CODES = """
\b
Exit codes:
  0    everything planned is in the table
  1    a bug in lawsweep (set LAWSWEEP_DEBUG=1 to see where)
  2    the command line is not understood
  3    the sweep ended, and some runs failed (they are rows)
  4    stopped early: the first runs all failed alike, or as many failed as may
  5    replay: a row did not reproduce
  6    verify: the table or archive has problems
  7    submit: the same runs are under way already
  10   unknown name: sweep, experiment, param, key, preset, run id
  11   a value of the wrong type or range, or params that a constraint forbids
  12   nothing to run: an empty axis, no seeds, a where that leaves nothing
  13   the results folder cannot be written or read
  14   the executor cannot start (Ray absent, not connectable)
  15   the table was written by another version
  130  interrupted; what had finished is in the table
  141  what it had to print could not all be written (| head, a full disk); a run goes on
       without, and ends with its own code
"""


class Verbs(click.Group):
    """A group whose verbs load when they are used, and whose unknown verbs name the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order a person meets them."""
        return [str(verb.name) for _, verbs in sections() for verb in verbs]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by section, each with its one line."""
        for title, verbs in sections():
            with formatter.section(title):
                formatter.write_dl([(str(v.name), v.get_short_help_str(80)) for v in verbs])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, from its file."""
        if cmd_name not in homes():
            close = nearest(cmd_name, homes())
            hint = f" Did you mean {close[0]!r}?" if close else ""
            verbs = ", ".join(self.list_commands(ctx))
            ctx.fail(f"There is no verb {cmd_name!r}.{hint} Verbs: {verbs}.")
        verb = load_verb(cmd_name)
        if verb.only_prints and ctx.obj is not None:
            ctx.obj["readers"].ends = True
        return verb


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, prog_name="lawsweep")
def cli() -> None:
    """Sweeps for deep-learning theory: plan a grid, run it on Ray, read it from Parquet.

    SWEEP is a name under sweeps/ or a path to a YAML file.  OVERRIDES are Hydra's:
    params.width=64,128 or 'params.width=range(10,50,10)' sweeps, params.width=64 pins,
    seeds=20, preset=paper, executor=serial, results_dir=elsewhere.
    """


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors become one sentence on stderr and an exit code."""
    with lasting() as readers:
        code = run_command(arguments, may_restart=arguments is None, readers=readers)
    sys.exit(code)


@plain_output()
def run_command(
    arguments: list[str] | None = None,
    *,
    may_restart: bool = False,
    readers: Readers | None = None,
) -> int:
    """Run the command and return its exit code.

    ``may_restart``: this process is the command's own, and a verb may start it afresh (``replay``
    does, with the threads a row was computed with).  ``readers``: see ``lasting``.
    """
    readers = readers or Readers()
    code = _answered(arguments, may_restart, readers)
    error = readers.lost.get(1)
    if error is None or isinstance(error, BrokenPipeError):
        return code
    print(f"lawsweep: what it had to print could not be written: {error}", file=sys.stderr)
    return code or UNREAD


def _answered(arguments: list[str] | None, may_restart: bool, readers: Readers) -> int:
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as error:
        print(
            f"lawsweep: the working folder cannot be used ({error.strerror}): it was removed, or "
            "may not be read. Change into one that exists.",
            file=sys.stderr,
        )
        return StoreError.exit_code
    try:
        with heeded(), warnings_as_notes(), in_project(arguments) as words:
            result: Any = cli.main(
                args=words,
                prog_name="lawsweep",
                standalone_mode=False,
                obj={"may_restart": may_restart, "readers": readers},
            )
        return result if isinstance(result, int) else 0
    except LawsweepError as error:
        print(f"lawsweep: {hide(str(error))}", file=sys.stderr)
        return error.exit_code
    except click.NoSuchOption as error:
        from lawsweep.config.habits import explain_option

        said = explain_option(error.option_name)
        error.show() if said is None else print(f"lawsweep: {said}", file=sys.stderr)
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        print("lawsweep: interrupted", file=sys.stderr)
        return 130
    except SystemExit:  # click's answer to a pipe that broke
        if not readers.lost:
            raise
        return UNREAD
    except Exception as error:  # noqa: BLE001  (the last line of defence: never a bare stack)
        if readers.ends and error in readers.lost.values():
            return UNREAD
        if os.environ.get("LAWSWEEP_DEBUG"):
            print(hide(traceback.format_exc()), file=sys.stderr)
        print(f"lawsweep: {hide(_unforeseen(error))}", file=sys.stderr)
        return 1


def _unforeseen(error: BaseException) -> str:
    """One sentence: a bug of ours, or where what somebody added went wrong."""
    said = f"{type(error).__name__}: {error}"
    place = place_of(error)
    if place is None:
        return f"a bug: {said}. Set LAWSWEEP_DEBUG=1 to see where, and please report it."
    first = error.__context__  # what went wrong first, where tidying up did as well
    if first is not None and not error.__suppress_context__ and place_of(first):
        said, place = f"{type(first).__name__}: {first}", place_of(first)
    return f"{said} ({place}). Mend it; set LAWSWEEP_DEBUG=1 to see the calls that led there."


if __name__ == "__main__":
    main()
