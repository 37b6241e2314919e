"""``lawsweep replay``."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli import answers
from lawsweep.cli.answers import EXIT_NOT_REPRODUCED, Answer, Note, verb
from lawsweep.cli.options import load, results_dir
from lawsweep.cli.text import at, duration

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep
    from lawsweep.tools.audit import Audit
    from lawsweep.tools.replay import Replay
    from lawsweep.tools.sameness import Amplified

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class Replayed(Answer):
    """One row run again."""

    found: Replay
    note: str = ""  # of this command, beside those of the replay

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """0 reproduced, 5 not."""
        return 0 if self.found.reproduced else EXIT_NOT_REPRODUCED

    def lines(self) -> Iterator[str]:
        """What was compared, how, and each value that differs."""
        done = self.found
        params = at(done.params)
        yield f"{done.experiment} {done.run_id}: {params} seed={done.seed}".replace("  ", " ")
        how = "bit for bit" if done.exact else f"to {done.tolerance:g} relative"
        is_ok = done.status_recorded == "ok"
        what = f"{len(done.compared)} values" if is_ok else done.status_recorded
        if done.reproduced:
            yield f"reproduced {how}: {what}{_times(done)}"
        else:
            yield f"NOT reproduced {how}: {len(done.differences)} differ{_times(done)}"
        for d in done.differences:
            by = "" if d.relative is None else f"  (relative difference {d.relative:.3g})"
            yield f"  {d.name}: {d.recorded!r} recorded, {d.now!r} now{by}"
        if done.error and not done.reproduced:
            yield f"  error now: {done.error}"
        if not done.exact:
            yield f"not bit for bit, because: {'; '.join(done.circumstances)}"
        if done.amplified:
            since = "" if done.chaotic_from is None else f" from step {done.chaotic_from}"
            yield f"chaotic{since}, not comparable: draws off in the last bit move as much here"
        for a in done.amplified:
            yield f"  {a.name}: {a.recorded!r} recorded, {a.now!r} now  ({_moved(a)})"
        if done.left_out:
            yield f"left out, as measures of rounding: {', '.join(done.left_out)}"
        yield from map(Note, done.notes)
        if self.note:
            yield Note(self.note)

    def to_dict(self) -> dict[str, Any]:
        """Every field of the replay, and its verdict."""
        found = self.found
        computed = {"reproduced": found.reproduced, "chaotic_from": found.chaotic_from}
        return {**dataclasses.asdict(found), **computed}


def _moved(amplified: Amplified) -> str:
    return "changed" if amplified.moved is None else f"moved by {amplified.moved:.1g}"


def _times(done: Replay) -> str:
    if done.wall_s is None or done.wall_s_recorded is None:
        return ""
    return f" ({duration(done.wall_s)}; {duration(done.wall_s_recorded)} when it was recorded)"


@dataclass
class Audited(Answer):
    """A random sample of a sweep's rows run again."""

    name: str
    found: Audit
    n_ok: int
    seed: int

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """0 where all reproduced, else 5."""
        return EXIT_NOT_REPRODUCED if self.found.n_differ else 0

    def lines(self) -> Iterator[str]:
        """How many rows of the sample reproduced, and how."""
        found = self.found
        tolerance = max(r.tolerance for r in found.replays)
        yield (
            f"{self.name}: {len(found.replays):,} of {self.n_ok:,} ok rows run again: "
            f"{found.n_exact:,} reproduced bit for bit, {found.n_close:,} to {tolerance:g} "
            f"relative, {found.n_differ:,} did not reproduce"
        )
        if found.n_chaotic:
            yield f"{found.n_chaotic:,} of these amplified rounding; the rest of them agrees"
        if why := {c for r in found.replays if not r.exact for c in r.circumstances}:
            yield f"not bit for bit, because: {'; '.join(sorted(why))}"

    def to_dict(self) -> dict[str, Any]:
        """Counts, and every replay."""
        found = self.found
        return {
            "n_ok": self.n_ok,
            "seed": self.seed,
            "n_exact": found.n_exact,
            "n_close": found.n_close,
            "n_chaotic": found.n_chaotic,
            "n_differ": found.n_differ,
            "replays": [Replayed(r).to_dict() for r in found.replays],
        }


@verb(10, short_help="Run rows again and compare: did they reproduce?")
@click.argument("target", metavar="RUN_ID|SWEEP")
@click.argument("overrides", nargs=-1)
@click.option("--sample", type=click.IntRange(1), help="So many random ok rows of SWEEP instead.")
@click.option("--seed", default=0, show_default=True, help="Which random rows.")
@click.option(
    "--tolerance", type=float, help="Relative, on other machines; default: 1e-9, float32 1e-4."
)
@click.option("--device", help="Compute here; default: where the row was.")
@click.option("--experiment", help="module:function, where it is none of an installed package.")
@click.option("--pdb", is_flag=True, help="A debugger where the run fails, in its own code.")
def replay(
    target: str,
    overrides: tuple[str, ...],
    sample: int | None,
    seed: int,
    tolerance: float | None,
    device: str | None,
    experiment: str | None,
    pdb: bool,
    as_json: bool,
) -> Answer:
    """Run one row again, from the table alone, and compare every metric and array.

    Bit for bit where device, threads, processor and versions are the row's, else to a tolerance;
    what differs by more is tried with draws off in the last bit: rounding may explain it.
    With --sample 20 SWEEP: an audit of 20 random rows.  With --pdb: Python's debugger where the
    run fails; q leaves it.  Exit codes: 0 reproduced, 5 not reproduced, 11 the row cannot be run
    again (it is of an older version of the experiment, say).
    """
    if pdb:
        _check_debugging(sample, as_json)
    if sample is not None:
        return _audit(load(target, overrides), sample, seed, tolerance, device, as_json)
    from lawsweep.study.reading.rows import show
    from lawsweep.tools.replay import replay_row

    place = results_dir(overrides)
    row = show(target, place)
    _restart_with(row["n_threads"])
    look = _Looking() if pdb else None
    found = replay_row(
        row, place, tolerance=tolerance, device=device, experiment=experiment, look=look
    )
    return Replayed(found, look.note(found) if look is not None else "")


def _check_debugging(sample: int | None, as_json: bool) -> None:
    from lawsweep.core.errors import InvalidValueError

    if sample is not None or as_json:
        raise InvalidValueError(
            f"--pdb looks at one run, with a person; got {'--json' if as_json else '--sample'} "
            "beside it. Give a run id alone: lawsweep replay RUN_ID --pdb."
        )
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidValueError(
            "--pdb needs a terminal to ask in, and stdin is none. Run it in a terminal; lawsweep "
            "show RUN_ID prints the traceback."
        )


class _Looking:
    """Opens a debugger where a run fails, and knows whether it did."""

    def __init__(self) -> None:
        self._is_asked = self._has_looked = False

    def __call__(self, failure: BaseException) -> None:
        from lawsweep.worker.debugging import look_at

        self._is_asked = True
        self._has_looked = look_at(failure)

    def note(self, found: Replay) -> str:
        """Why no debugger was opened; empty where one was."""
        if self._has_looked:
            return ""
        if self._is_asked:
            return f"no debugger: no code of {found.experiment} was running when it failed"
        return "no debugger: the run did not fail this time"


def _audit(
    sweep: Sweep, n: int, seed: int, tolerance: float | None, device: str | None, as_json: bool
) -> Audited:
    from lawsweep.study.study import Study
    from lawsweep.tools.audit import audit, sample_rows

    study = Study(sweep)
    rows, n_ok = sample_rows(study, n, seed)
    _restart_with(Counter(row["n_threads"] for row in rows).most_common(1)[0][0])

    def tell(done: Replay) -> None:
        if not as_json and not done.reproduced:
            answers.show(Replayed(done))

    found = audit(study, rows, tolerance=tolerance, device=device, watcher=tell)
    return Audited(sweep.name, found, n_ok, seed)


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
