"""The verb that runs rows again."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli import printing_replay
from lawsweep.cli.options import EXIT_NOT_REPRODUCED, json_option, load, results_dir, say

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@click.command(short_help="Run rows again and compare: did they reproduce?")
@click.argument("target", metavar="RUN_ID|SWEEP")
@click.argument("overrides", nargs=-1)
@click.option("--sample", type=click.IntRange(1), help="So many random ok rows of SWEEP instead.")
@click.option("--seed", default=0, show_default=True, help="Which random rows.")
@click.option(
    "--tolerance", type=float, help="Relative, on other machines; default: 1e-9, float32 1e-4."
)
@click.option("--device", help="Compute here; default: where the row was.")
@click.option("--experiment", help="module:function, where it is none of an installed package.")
@json_option
def replay(
    target: str,
    overrides: tuple[str, ...],
    sample: int | None,
    seed: int,
    tolerance: float | None,
    device: str | None,
    experiment: str | None,
    as_json: bool,
) -> int:
    """Run one row again, from the table alone, and compare every metric and array.

    Bit for bit where device, threads, processor and versions are the row's, else to a tolerance;
    what differs by more is tried with draws off in the last bit: rounding may explain it.
    With --sample 20 SWEEP: an audit of 20 random rows.  Exit codes: 0 reproduced, 5 not
    reproduced, 11 the row cannot be run again (it is of an older version of the experiment, say).
    """
    if sample is not None:
        return _audit(load(target, overrides), sample, seed, tolerance, device, as_json)
    from lawsweep.study.reading import show
    from lawsweep.tools.replay import replay_row

    place = results_dir(overrides)
    row = show(target, place)
    _restart_with(row["n_threads"])
    done = replay_row(row, place, tolerance=tolerance, device=device, experiment=experiment)
    if as_json:
        say(_answer(done))
    else:
        printing_replay.print_replay(done)
    return 0 if done.reproduced else EXIT_NOT_REPRODUCED


def _audit(
    sweep: Sweep, n: int, seed: int, tolerance: float | None, device: str | None, as_json: bool
) -> int:
    from lawsweep.study.study import Study
    from lawsweep.tools.audit import audit, sample_rows

    study = Study(sweep)
    rows, n_ok = sample_rows(study, n, seed)
    _restart_with(Counter(row["n_threads"] for row in rows).most_common(1)[0][0])

    def tell(done: Any) -> None:
        if not as_json and not done.reproduced:
            printing_replay.print_replay(done)

    found = audit(study, rows, tolerance=tolerance, device=device, watcher=tell)
    if as_json:
        replays = [_answer(r) for r in found.replays]
        say(
            {
                "n_ok": n_ok,
                "seed": seed,
                "n_exact": found.n_exact,
                "n_close": found.n_close,
                "n_chaotic": found.n_chaotic,
                "n_differ": found.n_differ,
                "replays": replays,
            }
        )
    else:
        printing_replay.print_audit(sweep.name, found, n_ok)
    return 0 if not found.n_differ else EXIT_NOT_REPRODUCED


def _answer(done: Any) -> dict[str, Any]:
    computed = {"reproduced": done.reproduced, "chaotic_from": done.chaotic_from}
    return {**dataclasses.asdict(done), **computed}


def _restart_with(threads: int | None) -> None:
    """Start this command afresh with the threads a row was computed with, if it has others.

    Linear algebra reads the number when it is loaded, and rounds otherwise with another.
    """
    from lawsweep.worker.execute import n_threads

    own = (click.get_current_context().obj or {}).get("may_restart")
    if not own or not threads or threads == n_threads():
        return
    sys.stdout.flush()
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
    # -P: with -m alone Python would import from the working folder first.
    words = [sys.executable, "-P", "-m", "lawsweep.cli.main", *sys.argv[1:]]
    os.execve(sys.executable, words, environment)
