"""What a launch would do: the state of every run, and the time it would take here or there."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lawsweep.core.outcome import FAILURES
from lawsweep.core.protocols import Done
from lawsweep.grid.older import told_of_older
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep
from lawsweep.launch.costs.calibrate import core_flops_per_s
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.costs.simulate import (
    GPU_FLOPS_PER_S,
    Machine,
    Schedule,
    read_machine,
    simulate,
    simulate_rounds,
)
from lawsweep.sampling.sampler import BaseSampler
from lawsweep.study.code import other_rows
from lawsweep.study.opening import Opened
from lawsweep.study.questions import open_own_folder
from lawsweep.worker.hardware import hardware

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class PlanView:
    """What ``lawsweep plan`` shows: the state of every run, and the expected work.

    ``states`` has one entry a planned run: ``done``, ``new``, ``failed`` (before) or ``changed``
    (new, but the table has it under an older version of the experiment).  ``orphaned`` are runs
    of the sweep's last frozen plan that have rows and are no longer planned.  Of a search
    the states are those of all candidates, and ``todo`` is a guess at the runs it will ask for.
    """

    plan: Plan
    states: tuple[str, ...]
    orphaned: tuple[str, ...]
    todo: tuple[int, ...]
    costs: CostModel
    device: str
    n_slots: int
    memory_bytes: int
    sampler: BaseSampler

    def __repr__(self) -> str:
        states = ", ".join(f"{n:,} {state}" for state, n in Counter(self.states).items())
        return f"PlanView({len(self.plan):,} runs of {self.plan.experiment.name}: {states})"

    def count(self, state: str) -> int:
        """How many planned runs are in a state."""
        return self.states.count(state)

    @functools.cached_property
    def seconds(self) -> np.ndarray:
        """Expected seconds of each run to do, shape (n_todo,)."""
        return self.costs.seconds_of(self.todo)

    @functools.cached_property
    def schedule(self) -> Schedule:
        """The simulated schedule on ``n_slots``; of a search, with its rounds one by one."""
        rounds = self.sampler.rounds()
        if rounds is None:
            return simulate(self.seconds, self.n_slots)
        runs = [run for cell in rounds for round_ in cell for run in round_]
        seconds = iter(self.costs.seconds_of(runs).tolist())
        return simulate_rounds([[[next(seconds) for _ in r] for r in c] for c in rounds],
                               self.n_slots)  # fmt: skip

    def too_large(self) -> list[int]:
        """Runs to do whose expected memory exceeds ``memory_bytes``."""
        large = self.costs.memory_bytes_of(self.todo) > self.memory_bytes
        return [run for run, is_large in zip(self.todo, large.tolist(), strict=True) if is_large]


def preview(opened: Opened, on: str | None = None) -> PlanView:
    """See ``Study.preview``."""
    from lawsweep.executors.make import make_executor
    from lawsweep.store.sweeps.skipping import tell_skipped

    sweep, made, known, sampler = opened.sweep, opened.plan, opened.done, opened.sampler
    tell_skipped(opened.table.folder, opened.table.skipped)
    facts = hardware()
    here = make_executor(sweep.executor).cpus_here(facts["n_cpus"])
    machine = read_machine(on) if on else Machine("cpus", here)
    rate = GPU_FLOPS_PER_S[machine.model] if machine.model else core_flops_per_s()
    costs = CostModel(made, rate)
    by_point = _by_point(sweep)
    threads = None if "cpus_per_task" in by_point else max(1, int(_per_task(sweep, "cpus")))
    costs.learn_table(made, known, machine.device, threads)
    todo = tuple(sampler.outlook())
    per_task = _per_task(sweep, machine.kind)
    older = opened.older(todo)
    notes = tuple(opened.table.differences()) + tuple(told_of_older(sweep, made, older))
    notes += (str(other),) if (other := other_rows(opened)) is not None else ()
    notes += tuple(_one_slot_each(option) for option in by_point if option.startswith(machine.kind))
    n_slots = max(1, int(machine.n / per_task))
    notes += _in_rounds(sampler, n_slots)
    return PlanView(
        plan=dataclasses.replace(made, notes=(*made.notes, *notes)) if notes else made,
        states=_states(made, known, older),
        orphaned=_orphaned(opened),
        todo=todo,
        costs=costs,
        device=machine.device,
        n_slots=n_slots,
        memory_bytes=facts["memory_bytes"],
        sampler=sampler,
    )


def _orphaned(opened: Opened) -> tuple[str, ...]:
    """Runs of the plan that was frozen last that have rows and are no longer planned."""
    frozen = open_own_folder(opened.sweep, opened.plan).frozen_run_ids()
    planned = set(opened.plan.run_ids)
    gone = [r for r in frozen if r not in planned]
    there = opened.table.done(gone) if gone else {}
    return tuple(r for r in gone if r in there)


def _states(
    made: Plan, known: Mapping[str, Done], older: Mapping[int, Sequence[int]]
) -> tuple[str, ...]:
    states = [
        "new" if r not in known else "failed" if known[r].status in FAILURES else "done"
        for r in made.run_ids
    ]
    for places in older.values():
        for i in places:
            states[i] = "changed"
    return tuple(states)


def _by_point(sweep: Sweep) -> list[str]:
    """The options of the executor that are expressions over the params."""
    options = ("cpus_per_task", "gpus_per_task")
    return [o for o in options if isinstance(g := sweep.executor.get(o), str) and g != "auto"]


def _one_slot_each(option: str) -> str:
    kind = option.removesuffix("s_per_task").upper()
    return (
        f"executor.{option} is an expression; the times here take 1 {kind} for every run, so a "
        "launch whose runs need more takes longer than they say"
    )


def _in_rounds(sampler: BaseSampler, n_slots: int) -> tuple[str, ...]:
    """Where a search cannot make use of all slots."""
    rounds = sampler.rounds() or []
    at_once = sum(max(len(runs) for runs in cell) for cell in rounds)
    if not rounds or at_once >= n_slots:
        return ()
    return (
        f"a search asks for its runs round by round: at most {at_once:,} at once, fewer than the "
        f"{n_slots:,} slots",
    )


def _per_task(sweep: Sweep, kind: str) -> float:
    """CPUs or GPUs a task is given; 1 where an expression says it point by point."""
    given = sweep.executor.get(f"{kind}_per_task") or 1
    return 1.0 if isinstance(given, str) else float(given)
