"""Run one row again, from the table alone, and say whether it reproduced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lawsweep.core.circumstances import TOLERANCES
from lawsweep.core.code.source import OtherCode
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.experiment import Experiment
from lawsweep.core.identity import run_id as make_run_id
from lawsweep.core.outcome import Outcome, RunSpec
from lawsweep.core.registry import find_experiment, loaded_experiment
from lawsweep.experiments.choices import as_recorded
from lawsweep.study.reading.rows import show
from lawsweep.tools.elsewhere import IMPORTED, here, other_circumstances
from lawsweep.tools.sameness import (
    Amplified,
    Difference,
    compare_arrays,
    explained,
    more_nudged_outcomes,
    nudged_outcomes,
    relative_difference,
    same_value,
)
from lawsweep.worker.debugging import Look
from lawsweep.worker.execute import execute_run

# Measures of rounding error are rounding error: on another machine they are other numbers.
_EVIDENCE = re.compile(r"(\A|_)(residual|error|grad_norm|gradient_norm)(_|\Z)")


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of running a row again.

    ``exact``: compared bit for bit, since the circumstances are the row's or since nothing differs
    all the same.  Otherwise real numbers were compared to ``tolerance`` (relative),
    ``circumstances`` say why, and ``left_out`` names the metrics that only measure rounding.
    ``amplified`` are metrics that differ by more, and differ as much here when the run's draws are
    off in their last bit: chaotic, so not comparable (from a step on, if they tell steps).
    ``notes`` may explain a difference.
    """

    run_id: str
    experiment: str
    params: Mapping[str, Any]
    seed: int
    status_recorded: str
    status: str
    error: str | None
    exact: bool
    tolerance: float
    circumstances: tuple[str, ...]
    compared: tuple[str, ...]
    left_out: tuple[str, ...]
    differences: tuple[Difference, ...]
    amplified: tuple[Amplified, ...]
    notes: tuple[str, ...]
    wall_s_recorded: float | None
    wall_s: float | None

    @property
    def reproduced(self) -> bool:
        """Whether nothing differs that rounding does not explain."""
        return not self.differences

    @property
    def chaotic_from(self) -> int | None:
        """The first step that is not comparable, where a metric tells it."""
        return min((a.from_step for a in self.amplified if a.from_step is not None), default=None)


def replay(
    run_id: str,
    results_dir: str | Path = "results",
    *,
    tolerance: float | None = None,
    device: str | None = None,
    experiment: str | None = None,
    look: Look | None = None,
) -> Replay:
    """Run one row again in this process and compare metric by metric.

    ``run_id`` may be shortened to a unique beginning.  ``device`` and ``experiment``
    (``module:function``) replace what the row and its launch say.  The comparison is bit for bit
    where device, threads, processor and the versions of numpy, torch and scipy are the row's,
    else to ``tolerance`` relative (by default 1e-9, and 1e-4 where a param dtype is float32).  What
    differs by more is run again with draws that are off in the last bit: where that moves a value
    as much, it is ``amplified`` rounding, and no difference.  ``look`` is called with the exception
    of a run that fails, where it was raised.  Raises a LawsweepError for a row that cannot be run
    again.
    """
    row = show(run_id, results_dir)
    return replay_row(
        row, results_dir, tolerance=tolerance, device=device, experiment=experiment, look=look
    )


def replay_row(
    row: Mapping[str, Any],
    results_dir: str | Path,
    *,
    tolerance: float | None = None,
    device: str | None = None,
    experiment: str | Experiment | None = None,
    look: Look | None = None,
) -> Replay:
    """``replay`` of a row that ``show`` has read."""
    if tolerance is not None and not 0 <= tolerance < 1:
        raise InvalidValueError(f"tolerance must be from 0 to 1, got {tolerance!r}.")
    launch = row.get("launch")
    found = experiment_of(row, experiment)
    row = found.in_words_of_today(row)
    params = _params_of(found, row)
    dtype = str(params.get("dtype")) if params.get("dtype") in TOLERANCES else "float64"
    tolerance = TOLERANCES[dtype] if tolerance is None else tolerance
    used = device or ("cpu" if row["device"] in (None, IMPORTED) else row["device"])
    spec = RunSpec(0, row["run_id"], params, row["seed"])

    def run() -> Outcome:
        with as_recorded(row, used):
            return execute_run(found, spec, used, look=look)

    outcome = run()
    why = other_circumstances(row, found, outcome, used)
    recorded, now = _arrays(row, found, outcome, results_dir)
    names = _comparable(found, row)
    left_out: tuple[str, ...] = ()
    notes = _notes(row, launch, found)
    if notes or launch is None:
        names = _without_newer(names, row, outcome, notes)
    amplified: list[Amplified] = []
    # To the last bit first: rows often agree so where nothing promises it.
    differences = _compare(row, outcome, names, None) + compare_arrays(recorded, now, None)
    exact = not why or not differences
    if not exact:
        left_out = tuple(n for n in names if n in _evidence(found))
        names = tuple(n for n in names if n not in left_out)
        differences = _compare(row, outcome, names, tolerance)
        differences += compare_arrays(recorded, now, tolerance)
        if differences and outcome.status == row["status"] == "ok":
            again, *others = nudged_outcomes(run, dtype)
            if _differ(outcome, again, found):
                notes.append(f"{found.name} gives other values each time it runs")
            else:
                apart = differences
                differences, amplified = explained(apart, outcome, others, found, tolerance)
                if differences and amplified:
                    others += more_nudged_outcomes(run, dtype)
                    differences, amplified = explained(apart, outcome, others, found, tolerance)
    moved = {a.name for a in amplified}
    return Replay(
        run_id=row["run_id"],
        experiment=found.name,
        params=params,
        seed=row["seed"],
        status_recorded=row["status"],
        status=outcome.status,
        error=outcome.error,
        exact=exact,
        tolerance=tolerance,
        circumstances=tuple(why),
        compared=tuple(n for n in (*names, *sorted({*recorded, *now})) if n not in moved),
        left_out=left_out,
        differences=tuple(differences),
        amplified=tuple(amplified),
        notes=tuple(notes),
        wall_s_recorded=row["wall_s"],
        wall_s=outcome.wall_s,
    )


def experiment_of(row: Mapping[str, Any], given: str | Experiment | None = None) -> Experiment:
    """The experiment of a row as today's code has it, in the row's version.

    One that is installed, that this process has imported, or that ``given`` names.

    Raises UnknownNameError when it cannot be found, InvalidValueError when it is another one.
    """
    launch = row.get("launch") or {}
    asked = (launch.get("config") or {}).get("experiment")
    own = asked if isinstance(asked, str) and ":" in asked else None
    name = given or (loaded_experiment(own) if own else None) or row["experiment"]
    try:
        found = name if isinstance(name, Experiment) else find_experiment(name)
    except UnknownNameError as error:
        # What a record in the store names is not imported: the store may be anybody's.
        says = f" (its launch says {own})" if own else ""
        raise UnknownNameError(
            f"{error} Run {row['run_id'][:12]} needs it: go to the folder it is in, and name it "
            f"with --experiment module:function{says}."
        ) from None
    if found.name != row["experiment"]:
        raise InvalidValueError(
            f"Run {row['run_id'][:12]} is of the experiment {row['experiment']!r}, and {name!r} is "
            f"called {found.name!r}. Name the right one with --experiment."
        )
    if found.version != row["version"]:
        git = launch.get("git") or {}
        commit = git.get("commit") or "not recorded"
        changes = ", with changes that were not committed" if git.get("dirty") else ""
        raise InvalidValueError(
            f"Run {row['run_id'][:12]} is of version {row['version']} of {found.name}, and the "
            f"code here is version {found.version}, which answers another question. Replay it "
            f"with the code of its launch (git commit: {commit}{changes})."
        )
    return found


def _params_of(experiment: Experiment, row: Mapping[str, Any]) -> dict[str, Any]:
    """The params as they were checked when the row was planned; they must give its run id."""
    values = {
        s.name: s.cast(row[s.name])
        for s in experiment.params
        if s.name in row and not (row[s.name] is None and not s.optional)
    }
    experiment.bind(values)
    expected = make_run_id(experiment, values, row["seed"])
    if expected != row["run_id"]:
        raise InvalidValueError(
            f"The params and seed of run {row['run_id']} give the run id {expected}: the row was "
            "altered, or a default of the experiment was changed under the same version. "
            "lawsweep verify looks for such rows."
        )
    if row["status"] == "stopped":
        raise InvalidValueError(
            f"Run {row['run_id'][:12]} was stopped early, and has no answer to reproduce "
            f"({row['error']}). Compute it to its end with lawsweep rerun SWEEP --status stopped "
            "stop_runs=null."
        )
    if row["status"] in ("timeout", "oom") or str(row["error"]).startswith("worker lost"):
        raise InvalidValueError(
            f"Run {row['run_id'][:12]} has no answer to reproduce ({row['status']}: "
            f"{row['error']}). Try it again with lawsweep rerun SWEEP --failed."
        )
    return values


def _comparable(experiment: Experiment, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Metrics to compare.

    A required metric that is missing in an ok row is newer than the row, and any in an imported
    row was not imported: there is nothing to compare.
    """
    imported = row["device"] == IMPORTED
    return tuple(
        s.name
        for s in experiment.metrics
        if s.name in row and (row[s.name] is not None or (s.optional and not imported))
    )


def _without_newer(
    names: tuple[str, ...], row: Mapping[str, Any], outcome: Outcome, notes: list[str]
) -> tuple[str, ...]:
    """``names`` but for the metrics that a change of the code may have added since."""
    metrics = outcome.metrics or {}
    newer = [n for n in names if row[n] is None and metrics.get(n) is not None]
    if newer:
        notes.append(f"null in the row, perhaps newer than it, so not compared: {', '.join(newer)}")
    return tuple(n for n in names if n not in newer)


def _evidence(experiment: Experiment) -> set[str]:
    return {s.name for s in experiment.metrics if s.kind == "float" and _EVIDENCE.search(s.name)}


def _arrays(
    row: Mapping[str, Any], experiment: Experiment, outcome: Outcome, results_dir: str | Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays the row came with, and those of now."""
    from lawsweep.store.table.tables import arrays_of_row

    if not (experiment.arrays and outcome.status == row["status"] == "ok"):
        return {}, {}
    recorded = arrays_of_row(results_dir, experiment.name, row)
    now = dict(outcome.arrays or {})
    if row["device"] == IMPORTED:  # whoever computed it left no arrays, or not with us
        now = {n: a for n, a in now.items() if n in recorded}
    return recorded, now


def _compare(
    row: Mapping[str, Any], outcome: Outcome, names: tuple[str, ...], tolerance: float | None
) -> list[Difference]:
    if outcome.status != row["status"]:
        return [Difference(name="status", recorded=row["status"], now=outcome.status)]
    if outcome.status != "ok":
        same = outcome.error == row["error"]
        found = Difference(name="error", recorded=row["error"], now=outcome.error)
        return [] if same else [found]
    metrics = outcome.metrics or {}
    pairs = ((n, row[n], metrics.get(n)) for n in names)
    return [
        Difference(name=n, recorded=a, now=b, relative=relative_difference(a, b))
        for n, a, b in pairs
        if not same_value(a, b, tolerance)
    ]


def _differ(a: Outcome, b: Outcome, experiment: Experiment) -> bool:
    """Whether two outcomes of one run differ in any bit."""
    first, second = a.metrics or {}, b.metrics or {}
    metrics = all(same_value(first.get(s.name), second.get(s.name)) for s in experiment.metrics)
    return not metrics or bool(compare_arrays(a.arrays or {}, b.arrays or {}, None))


def _notes(row: Mapping[str, Any], launch: Any, experiment: Experiment) -> list[str]:
    """What else has changed since: the likely reasons of a difference."""
    if not launch:
        return []
    now_here, notes = here(experiment), []
    code = launch.get("code")
    if changed := OtherCode(experiment).changed(code if isinstance(code, Mapping) else {}):
        notes.append(
            f"the code of {experiment.name} has changed since ({', '.join(changed)}), and its "
            f"version ({experiment.version}) has not"
        )
    commits = [(g or {}).get("commit") for g in (launch.get("git"), now_here["git"])]
    if commits[0] != commits[1]:
        notes.append(f"git commit {commits[0]} then, {commits[1]} now")
    return notes
