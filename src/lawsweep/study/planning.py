"""What a launch would do: the state of every run, and the time it would take here or there."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lawsweep.core.errors import IncompatibleTableError
from lawsweep.core.outcome import FAILURES
from lawsweep.core.protocols import Done
from lawsweep.grid.older import told_of_older
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.costs.rates import Device, read_rates
from lawsweep.launch.costs.simulate import (
    Machine,
    Schedule,
    read_machines,
    simulate_kinds,
    simulate_rounds,
    simulate_shared,
)
from lawsweep.sampling.sampler import BaseSampler
from lawsweep.study.code.lacking import code_notes
from lawsweep.study.code.recomputing import again_and_missing
from lawsweep.study.forecast import (
    Expected,
    Pool,
    card_bytes_of,
    describe,
    expected,
    fused_at_once,
    make_pool,
)
from lawsweep.study.opening import Opened
from lawsweep.study.questions import open_own_folder
from lawsweep.worker.hardware import hardware

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.core.protocols import Executor


@dataclass(frozen=True)
class PlanView:
    """What ``lawsweep plan`` shows: the state of every run, and the expected work.

    ``states`` has one entry a planned run: ``done``, ``new``, ``failed`` (before) or ``changed``
    (new, but the table has it under an older version of the experiment).  ``orphaned`` are runs
    of the sweep's last frozen plan that have rows and are no longer planned.  Of a search
    the states are those of all candidates, and ``todo`` is a guess at the runs it will ask for.
    ``pools``: the slots, by kind, with what runs take there.  ``refusal``: why ``run`` would not
    begin, None where it would.
    """

    plan: Plan
    states: tuple[str, ...]
    orphaned: tuple[str, ...]
    todo: tuple[int, ...]
    pools: tuple[Pool, ...]
    memory_bytes: float
    sampler: BaseSampler
    refusal: str | None = None
    rates: Mapping[str, Device] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        states = ", ".join(f"{n:,} {state}" for state, n in Counter(self.states).items())
        return f"PlanView({len(self.plan):,} runs of {self.plan.experiment.name}: {states})"

    def count(self, state: str) -> int:
        """How many planned runs are in a state."""
        return self.states.count(state)

    @property
    def costs(self) -> CostModel:
        """What runs take on the first kind of slots."""
        return self.pools[0].costs

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``: of the first kind of slots."""
        return self.pools[0].machine.device

    @property
    def n_slots(self) -> int:
        """Slots of all kinds."""
        return sum(p.n_slots for p in self.pools)

    @functools.cached_property
    def seconds(self) -> np.ndarray:
        """Expected seconds of each run to do, on the first kind of slots, shape (n_todo,)."""
        return self.costs.seconds_of(self.todo)

    @property
    def is_known(self) -> bool:
        """Whether anything tells what the runs take."""
        return all(p.is_known for p in self.pools)

    @property
    def basis(self) -> str:
        """What the times are made of."""
        return describe(self.pools, self.rates)

    @functools.cached_property
    def expected(self) -> Expected:
        """The interval around ``schedule``, and what the time goes to."""
        return expected(self.pools, self.points, self.schedule.makespan_s)

    def card_bytes(self, run: int) -> float:
        """What a run holds on a card, its process included."""
        import numpy as np

        return self.pools[0].needs_bytes(np.array([run // len(self.plan.seeds)]))

    @functools.cached_property
    def points(self) -> np.ndarray:
        """The point of each run to do, (n_todo,)."""
        import numpy as np

        return np.asarray(self.todo, dtype=np.int64) // len(self.plan.seeds)

    @functools.cached_property
    def schedule(self) -> Schedule:
        """The simulated schedule on ``n_slots``; of a search, with its rounds one by one."""
        rounds = self.sampler.rounds()
        slots = [p.n_slots for p in self.pools]
        if rounds is None:
            only = self.pools[0]
            if len(self.pools) == 1 and only.gpus is not None:
                each = only.costs.seconds_of(self.todo)
                return simulate_shared(each, only.gpus[self.points], only.n_slots)
            return simulate_kinds([p.held_s(self.todo) for p in self.pools], slots)
        runs = [run for cell in rounds for round_ in cell for run in round_]
        # Slots of several kinds, as so many of a mean one.
        rates = [n / p.held_s(runs) for n, p in zip(slots, self.pools, strict=True)]
        seconds = iter([self.n_slots / float(sum(each)) for each in zip(*rates, strict=True)])
        return simulate_rounds([[[next(seconds) for _ in r] for r in c] for c in rounds],
                               self.n_slots)  # fmt: skip

    def too_large(self) -> list[int]:
        """Runs to do whose expected memory exceeds that of a slot's machine, or of every card."""
        cards = [p for p in self.pools if p.machine.kind == "gpus"]
        large = self.costs.memory_bytes_of(self.todo) > self.memory_bytes
        if cards:
            points = self.points
            room = max(p.room_bytes for p in cards)
            large = cards[0].each_needs(points) > room if len(points) else large
        return [run for run, is_large in zip(self.todo, large.tolist(), strict=True) if is_large]


def preview(
    opened: Opened, on: str | None = None, rates: str | None = None, *, recompute: bool = False
) -> PlanView:
    """See ``Study.preview``."""
    from lawsweep.executors.make import make_executor
    from lawsweep.store.sweeps.skipping import tell_skipped

    sweep, made, known, sampler = opened.sweep, opened.plan, opened.done, opened.sampler
    again = again_and_missing(opened) if recompute else None
    if again is not None:
        sampler = opened.known.open_sampler(again=again)
    tell_skipped(opened.table.folder, opened.table.skipped)
    facts = hardware()
    executor = make_executor(sweep.executor)
    here = executor.cpus_here(facts["n_cpus"])
    machines = read_machines(on) if on is not None else (Machine("cpus", here),)
    given = read_rates(rates) if rates else {}
    by_point = _by_point(sweep)
    threads = None if "cpus_per_task" in by_point else max(1, int(_per_task(sweep, "cpus")))
    todo = tuple(sampler.outlook())
    if by_point:  # a slip in them is refused, whatever machines are asked about
        executor.gpus_at(made, todo, float("inf"))
    pools = tuple(_pool(opened, executor, m, todo, threads, given) for m in machines)
    todo, without = _on_these(made, pools, todo)
    older = opened.older(todo)
    notes = tuple(opened.table.differences()) + tuple(told_of_older(sweep, made, older))
    notes += tuple(code_notes(opened))
    notes += without
    if "cpus_per_task" in by_point and any(m.kind == "cpus" for m in machines):
        notes += (_ONE_CPU_EACH,)
    notes += _in_rounds(sampler, sum(p.n_slots for p in pools))
    return PlanView(
        plan=dataclasses.replace(made, notes=(*made.notes, *notes)) if notes else made,
        states=_states(made, known, older),
        orphaned=_orphaned(opened),
        todo=todo,
        pools=pools,
        memory_bytes=facts["memory_bytes"],
        sampler=sampler,
        refusal=_refusal(opened),
        rates=given,
    )


def _refusal(opened: Opened) -> str | None:
    """What ``run`` would say in place of running: the table is not this experiment's to write."""
    try:
        opened.table.check_rows()
    except IncompatibleTableError as error:
        return str(error)
    return None


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


_ONE_CPU_EACH = (
    "executor.cpus_per_task is an expression; the times here take 1 CPU for every run, so a "
    "launch whose runs need more takes longer than they say"
)


def _pool(
    opened: Opened,
    executor: Executor,
    machine: Machine,
    todo: Sequence[int],
    threads: int | None,
    given: Mapping[str, Device],
) -> Pool:
    """The slots of a machine as a launch would have them there."""
    import numpy as np

    plan, per_task = opened.plan, np.array(_per_task(opened.sweep, machine.kind))
    room = card_bytes_of(machine, given)
    if machine.kind == "gpus":
        per_task = executor.gpus_at(plan, todo, room)
    n_fused = fused_at_once(plan, executor, machine, per_task, room)
    return make_pool(plan, machine, opened.done, per_task, threads, n_fused, given)


def _on_these(
    plan: Plan, pools: Sequence[Pool], todo: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The runs that the slots are for; and a note where GPUs alone are asked about, and some runs
    of the launch would have none.
    """
    gpus = next((p.gpus for p in pools if p.gpus is not None), None)
    if gpus is None or any(p.machine.kind == "cpus" for p in pools):
        return todo, ()
    found = tuple(run for run in todo if gpus[run // len(plan.seeds)] > 0)
    n = len(todo) - len(found)
    if not n:
        return todo, ()
    return found, (
        f"{n:,} runs have no GPU by executor.gpus_per_task and are not in these times; give "
        "--on cpus=... too",
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
