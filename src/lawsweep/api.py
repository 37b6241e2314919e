"""The verbs as functions: what the command line does, for notebooks and scripts.

import lawsweep
sweep = lawsweep.load_sweep("ntk_width", "seeds=2")
lawsweep.run(sweep, executor="serial")      # no Ray needed
frame = lawsweep.load(sweep)                # one row a planned run, as pandas
print(*lawsweep.fit(sweep), sep="\\n")
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import (
    InvalidValueError,
    LawsweepError,
    UnknownNameError,
    unknown_name,
)
from lawsweep.core.experiment import RESERVED
from lawsweep.core.identity import run_ids
from lawsweep.core.outcome import FAILURES
from lawsweep.core.plan import Plan
from lawsweep.core.protocols import Done
from lawsweep.core.sweep import Sweep
from lawsweep.runner.calibrate import core_flops_per_s
from lawsweep.runner.costs import CostModel
from lawsweep.runner.provenance import hardware, launch_record, new_launch_id
from lawsweep.runner.run_plan import Launch, RunReport, Snapshot, Watcher, describe_report, to_do
from lawsweep.runner.simulate import (
    GPU_FLOPS_PER_S,
    Machine,
    Schedule,
    read_machine,
    simulate,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from lawsweep.analysis.results import FitResult
    from lawsweep.store.parquet import ParquetTable

LIVE_S = 2.0  # how often a launch writes what it is at


@dataclass(frozen=True)
class Study:
    """A sweep with its plan and its table: what every verb works on."""

    sweep: Sweep
    plan: Plan
    table: ParquetTable

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the tidy frame."""
        experiment = self.plan.experiment
        fields = (s.name for s in (*experiment.params, *experiment.metrics))
        return tuple(dict.fromkeys((*fields, *self.plan.extra, *sorted(RESERVED))))


def study(sweep: Sweep) -> Study:
    """Plan a sweep and open its table.  Checks everything, writes nothing."""
    from lawsweep.analysis.specs import parse_figures, parse_fits
    from lawsweep.executors.make import make_executor
    from lawsweep.store.parquet import ParquetTable

    if not isinstance(sweep, Sweep):
        raise InvalidValueError(
            f"Expected a Sweep, got {sweep!r}; lawsweep.load_sweep(name) makes one."
        )
    make_executor(sweep.executor)
    commit_every_s(sweep)
    made = sweep.plan()
    opened = Study(sweep, made, ParquetTable(sweep.tables, made.experiment))
    parse_fits(list(sweep.fits), opened.columns)
    parse_figures(list(sweep.figures), opened.columns)
    return opened


def plan(sweep: Sweep) -> Plan:
    """All runs of a sweep, checked; nothing is written."""
    return study(sweep).plan


def run(
    sweep: Sweep,
    *,
    executor: str | Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    command: str = "",
    retry: bool = False,
) -> RunReport:
    """Run what the table lacks (``retry``: what it has as failed, oom or timeout).

    ``executor`` overrides the sweep's (``"serial"``, ``"ray_local"``, ``"ray_cluster"`` or a
    mapping with ``kind``).  ``watcher`` is called with a Snapshot a few times a second.  Returns
    a RunReport; raises a LawsweepError before anything is written when the input is bad.
    """
    from lawsweep.executors.make import make_executor
    from lawsweep.store.sweep_folder import SweepFolder

    opened = study(sweep)
    made, table = opened.plan, opened.table
    worker = make_executor(executor if executor is not None else sweep.executor)
    every_s = commit_every_s(sweep)
    table.check_writable()
    folder = SweepFolder(sweep.folder)
    known = table.done(made.run_ids)
    CostModel(made)  # a cost function that fails says so before anything is written
    if not to_do(made, known, retry=retry):
        folder.freeze(made, sweep.record())
        return RunReport(planned=len(made), done_before=len(known))
    launch_id = new_launch_id()
    folder.drop_dead(before=time.time() - 100 * LIVE_S)
    with contextlib.closing(worker):
        worker.start(made.experiment)
        folder.freeze(made, sweep.record(), launch_id)
        record = launch_record(launch_id, sweep, made, command, worker.describe())
        folder.write_launch(launch_id, record)
        watch = _Watch(folder, launch_id, record["hardware"]["host"], watcher)
        try:
            report = Launch(
                made,
                table,
                worker,
                launch_id=launch_id,
                on_failure=sweep.on_failure,
                retry=retry,
                done=known,
                watcher=watch,
                commit_every_s=every_s,
            ).run()
        finally:
            folder.end_beat(launch_id)
    record |= {"ended_at": datetime.now(UTC).isoformat(), "result": describe_report(report)}
    folder.write_launch(launch_id, record)
    return report


def commit_every_s(sweep: Sweep) -> float:
    """``store.commit_every_s``: the longest that finished work stays unwritten."""
    options = dict(sweep.store)
    value = options.pop("commit_every_s", 2.0)
    options.pop("kind", None)
    if options:
        raise unknown_name("option", next(iter(options)), ("kind", "commit_every_s"), "store")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 3600:
        raise InvalidValueError(
            f"store.commit_every_s must be seconds from 0 to 3600, got {value!r}."
        )
    return float(value)


class _Watch:
    """Passes snapshots on, and leaves a sign of life in the store every few seconds."""

    def __init__(self, folder: Any, launch_id: str, host: str, watcher: Watcher | None):
        self._folder, self._launch_id, self._host = folder, launch_id, host
        self._watcher, self._last = watcher, float("-inf")

    def __call__(self, snapshot: Snapshot) -> None:
        if self._watcher is not None:
            self._watcher(snapshot)
        now = time.monotonic()
        if now - self._last >= LIVE_S:
            self._last = now
            state = {
                "launch_id": self._launch_id,
                "host": self._host,
                "at": time.time(),
                "running": snapshot.running,
                "finished": snapshot.finished,
                "rate": snapshot.rate,
                "eta_s": snapshot.eta_s,
            }
            with contextlib.suppress(LawsweepError):  # a missing sign of life ends no launch
                self._folder.beat(self._launch_id, state)


@dataclass(frozen=True)
class Status:
    """How far a sweep is: counts by status, and launches that are alive."""

    planned: int
    statuses: Mapping[str, int]
    launches: tuple[Mapping[str, Any], ...]
    skipped: Mapping[str, str]
    infeasible: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Planned runs without a row."""
        return self.planned - sum(self.statuses.values())

    @property
    def running(self) -> int:
        """Runs in flight in launches that are alive."""
        return sum(int(x.get("running", 0)) for x in self.launches)

    def gaps(self, sweep: str) -> list[str]:
        """What is not ``ok``, each with the command that closes the gap; ``sweep`` as one types it.

        An infeasible point is an answer: its reasons are listed instead.
        """
        lines = [f"{n:,} infeasible: {reason}" for reason, n in self.infeasible.items()]
        failed = sum(self.statuses.get(s, 0) for s in FAILURES)
        if failed:
            lines.append(f"{failed:,} failed, oom or timeout: lawsweep rerun {sweep} --failed")
        if self.missing:
            lines.append(f"{self.missing:,} missing: lawsweep run {sweep}")
        return lines


def status(sweep: Sweep) -> Status:
    """Done, running, failed, missing: from the store alone."""
    from lawsweep.store.sweep_folder import SweepFolder

    opened = study(sweep)
    known = opened.table.done(opened.plan.run_ids)
    live = SweepFolder(sweep.folder).live(since=time.time() - 10 * LIVE_S)
    return Status(
        planned=len(opened.plan),
        statuses=Counter(d.status for d in known.values()),
        launches=tuple(live),
        skipped=dict(opened.table.skipped),
        infeasible=opened.table.reasons(known, "infeasible"),
    )


@dataclass(frozen=True)
class PlanView:
    """What ``lawsweep plan`` shows: the state of every run, and the expected work.

    ``states`` has one entry a planned run: ``done``, ``new``, ``failed`` (before) or ``changed``
    (new, but the table has it under an older version of the experiment).  ``orphaned`` are runs
    of the sweep's last frozen plan that have rows and are no longer planned.
    """

    plan: Plan
    states: tuple[str, ...]
    orphaned: tuple[str, ...]
    todo: tuple[int, ...]
    costs: CostModel
    device: str
    n_slots: int
    memory_bytes: int

    def count(self, state: str) -> int:
        """How many planned runs are in a state."""
        return self.states.count(state)

    @functools.cached_property
    def seconds(self) -> np.ndarray:
        """Expected seconds of each run to do, shape (n_todo,)."""
        return self.costs.seconds_of(self.todo)

    @functools.cached_property
    def schedule(self) -> Schedule:
        """The simulated schedule on ``n_slots``."""
        return simulate(self.seconds, self.n_slots)

    def too_large(self) -> list[int]:
        """Runs to do whose expected memory exceeds ``memory_bytes``."""
        large = self.costs.memory_bytes_of(self.todo) > self.memory_bytes
        return [run for run, is_large in zip(self.todo, large.tolist(), strict=True) if is_large]


def view_plan(sweep: Sweep, on: str | None = None) -> PlanView:
    """The plan against the table, with expected seconds learnt from finished rows.

    ``on`` asks about other hardware: ``cpus=64`` or ``gpus=8:H100``.
    """
    from lawsweep.store.sweep_folder import SweepFolder

    opened = study(sweep)
    made = opened.plan
    known = opened.table.done()
    facts = hardware()
    machine = read_machine(on) if on else Machine("cpus", facts["n_cpus"])
    rate = GPU_FLOPS_PER_S[machine.model] if machine.model else core_flops_per_s()
    costs = CostModel(made, rate)
    threads = max(1, int(sweep.executor.get("cpus_per_task") or 1))
    costs.learn_table(made, known, machine.device, threads)
    todo = tuple(to_do(made, known))
    frozen = SweepFolder(sweep.folder).frozen_run_ids()
    planned = set(made.run_ids)
    per_task = float(sweep.executor.get(f"{machine.kind}_per_task") or 1)
    return PlanView(
        plan=made,
        states=_states(made, known, todo),
        orphaned=tuple(r for r in frozen if r in known and r not in planned),
        todo=todo,
        costs=costs,
        device=machine.device,
        n_slots=max(1, int(machine.n / per_task)),
        memory_bytes=facts["memory_bytes"],
    )


def _states(made: Plan, known: Mapping[str, Done], todo: Sequence[int]) -> tuple[str, ...]:
    states = [
        "new" if r not in known else "failed" if known[r].status in FAILURES else "done"
        for r in made.run_ids
    ]
    version = made.experiment.version
    if todo and len(known) > len(made) - len(todo):
        for older in range(version - 1, 0, -1):
            then = dataclasses.replace(made.experiment, version=older)
            ids = run_ids(then, made.params, made.n_points, made.seeds)
            for i in todo:
                if ids[i] in known:
                    states[i] = "changed"
    return tuple(states)


def load_arrow(sweep: Sweep) -> pa.Table:
    """The tidy table: one row a planned run in plan order; ``status`` is ``missing`` where none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lawsweep.store.sweep_folder import plan_table

    opened = study(sweep)
    rows = opened.table.read(opened.plan.run_ids)
    where = {r: i for i, r in enumerate(rows["run_id"].to_pylist())}
    found = rows.take(pa.array([where.get(r) for r in opened.plan.run_ids], type=pa.int64()))
    tidy = plan_table(opened.plan)
    fields = {f.name: f for f in rows.schema}
    columns = {n: tidy[n] for n in tidy.column_names}
    for name in fields:
        if name not in columns:
            columns[name] = found[name]
    columns["status"] = pc.fill_null(columns["status"], "missing")
    schema = pa.schema(
        [fields.get(n, pa.field(n, c.type)).with_type(c.type) for n, c in columns.items()],
        metadata=rows.schema.metadata,
    )
    return pa.Table.from_arrays(list(columns.values()), schema=schema)


def load(sweep: Sweep) -> pd.DataFrame:
    """The tidy table as pandas (Arrow-backed: a missing value is ``<NA>``, NaN stays NaN)."""
    import pandas as pd

    frame: pd.DataFrame = load_arrow(sweep).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def fit(sweep: Sweep, frame: pd.DataFrame | None = None) -> list[FitResult]:
    """The sweep's fits, one result a group.  Rows that did not converge are left out, counted."""
    from lawsweep.analysis.fits import fit as fit_one
    from lawsweep.analysis.specs import parse_fits

    frame = load(sweep) if frame is None else frame
    specs = parse_fits(list(sweep.fits), list(frame.columns))
    results = []
    for spec in specs:
        found = fit_one(frame, spec)
        if not found:
            raise InvalidValueError(
                f"The fit {spec.name} has no rows: its where ({spec.where}) leaves none. Loosen it."
            )
        results.extend(found)
    return results


def plot(sweep: Sweep, frame: pd.DataFrame | None = None) -> list[Path]:
    """Draw the sweep's figures, PNG and PDF, into its ``figures`` folder; returns the paths."""
    from lawsweep.analysis.figures import draw
    from lawsweep.analysis.specs import parse_figures

    frame = load(sweep) if frame is None else frame
    specs = parse_figures(list(sweep.figures), list(frame.columns))
    caption = certificate(Counter(frame["status"].to_list()), len(frame))
    return [
        path
        for spec in specs
        for path in draw(frame, spec, sweep.folder / "figures" / spec.name, caption)
    ]


def certificate(statuses: Mapping[str, int], planned: int) -> str:
    """``870 planned: 866 ok, 2 infeasible, 1 oom, 1 missing``."""
    from lawsweep.analysis.completeness import completeness

    return completeness(statuses, planned)


def export(sweep: Sweep, path: str | Path) -> int:
    """Write the tidy table to ``path`` (``.parquet``, ``.csv`` or ``.json``); returns the rows."""
    from lawsweep.store.export import write_table

    table = load_arrow(sweep)
    write_table(table, Path(path))
    return int(table.num_rows)


def show(run_id: str, results_dir: str | Path = "results") -> dict[str, Any]:
    """One row, whole, with its launch; ``run_id`` may be shortened to a unique beginning."""
    from lawsweep.store.lookup import find_rows
    from lawsweep.store.sweep_folder import find_launch

    text = run_id.strip().lower()
    if len(text) < 4 or not all(c in "0123456789abcdef" for c in text):
        raise InvalidValueError(
            f"A run id is at least 4 hexadecimal digits, got {run_id!r}. "
            "lawsweep export lists them."
        )
    rows = list(find_rows(Path(results_dir) / "tables", text))
    if not rows:
        raise UnknownNameError(
            f"No row in {results_dir} has a run id that begins with {run_id!r}. "
            "lawsweep export lists them; results_dir=... looks elsewhere."
        )
    if len(rows) > 1:
        some = ", ".join(r["run_id"] for r in rows[:3])
        raise InvalidValueError(
            f"{len(rows)} runs begin with {run_id!r} ({some}, ...). Give more digits."
        )
    launch = find_launch(Path(results_dir), rows[0]["launch_id"])
    return {**rows[0], "launch": launch}


def to_json(value: Any) -> str:
    """JSON for scripts: NaN and infinities become null, as JSON has none."""
    return json.dumps(_finite(value), indent=1, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def iterate_notes(opened: Study) -> Iterator[str]:
    """What a person should be told about a plan and its table."""
    yield from opened.plan.notes
    for name, reason in opened.table.skipped.items():
        yield f"skipped {opened.table.folder / name}: {reason}"
