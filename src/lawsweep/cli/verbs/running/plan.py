"""``lawsweep plan``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.cli.plain_output import one_line
from lawsweep.cli.text import aligned, at, duration, room

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.grid.sweep import Sweep
    from lawsweep.study.code.recomputing import Again
    from lawsweep.study.forecast import Expected
    from lawsweep.study.planning import PlanView


FEW = 4  # values of a param that are listed
SOON_S = 600.0  # what takes longer is not worth a word about the start


@dataclass
class Planned(Answer):
    """The points, the states of their runs, and the expected time; ``limit`` 0 lists all."""

    sweep: Sweep
    view: PlanView
    limit: int
    again: Again | None = None  # of ``--recompute``

    def lines(self) -> Iterator[str]:
        """Counts, expected time, and a table of points."""
        view, plan = self.view, self.view.plan
        yield from map(Note, plan.notes)
        forecast = view.sampler.forecast()
        if forecast is not None:
            yield forecast
        n = self._counts
        yield (
            f"{len(plan):,} {'planned' if view.sampler.whole else 'candidate runs'} "
            f"({plan.n_points:,} points x {len(plan.seeds)} seeds): {n['done']:,} done, "
            f"{n['failed']:,} failed before, "
            + (f"{n['changed']:,} changed (older version), " if n["changed"] else "")
            + f"{n['new']:,} new"
        )
        if self.again is not None:
            yield from self.again.lines()
        if view.refusal is not None:
            yield f"run would refuse: {view.refusal}"
        if view.orphaned:
            yield (
                f"{len(view.orphaned):,} orphaned: in the table and in the last plan, not in this "
                "one"
            )
        yield from self._schedule()
        yield from self._points()

    @property
    def _counts(self) -> dict[str, int]:
        return {s: self.view.count(s) for s in ("done", "failed", "changed", "new")}

    def _schedule(self) -> Iterator[str]:
        """Expected work and time, on what basis, what limits it, and what does not fit."""
        view, large = self.view, self.view.too_large()
        if view.is_known:
            schedule, time = view.schedule, view.expected
            yield (
                f"expected: {duration(schedule.work_s)} of work, longest run "
                f"{duration(schedule.longest_s)}; {duration(schedule.makespan_s)}{_between(time)} "
                f"on {self._slots} (at least {duration(schedule.bound_s)}), "
                f"{schedule.device_hours:.3g} device-hours; {view.basis}"
            )
            if view.device == "cuda" and 0 < schedule.makespan_s < SOON_S:
                yield "beside that, workers take some ten seconds to start and open their GPU"
            if time.shares and schedule.work_s:
                named = [f"{k} {s:.0%}" for k, s in time.shares.items() if s >= 0.01]
                yield f"limited by {time.limit}: {', '.join(named)}"
        else:
            yield f"expected: {view.basis}; on {self._slots}"
        yield from self._memory()
        if large:
            memory, where = view.costs.memory_bytes(large[0]), "this machine's"
            room = view.memory_bytes
            if cards := [p for p in view.pools if p.machine.kind == "gpus"]:
                pool = max(cards, key=lambda p: p.room_bytes)
                memory, room, where = view.card_bytes(large[0]), pool.room_bytes, f"{pool.name}'s"
            yield (
                f"{len(large):,} runs need more memory than {where} {room / 2**30:.3g} GiB (the "
                f"first about {memory / 2**30:.3g} GiB)"
            )

    @property
    def _slots(self) -> str:
        """``4 CPU slots``, ``4 A100 and 4 H100 slots``."""
        pools, n = self.view.pools, self.view.n_slots
        named = " and ".join(f"{p.n_slots} {p.name}" for p in pools)
        return f"{named} slot{'' if n == 1 else 's'}"

    def _memory(self) -> Iterator[str]:
        """How many workers a card's memory has room for."""
        view = self.view
        for pool in view.pools:
            n = pool.n_workers(view.points) if view.todo else None
            if n:
                held, room = pool.needs_bytes(view.points) / 2**30, pool.room_bytes / 2**30
                yield (
                    f"memory: a run holds up to {held:.3g} of the {room:.3g} GiB of a {pool.name}: "
                    f"room for {n:,} worker{'' if n == 1 else 's'} a card"
                )

    @property
    def _n_listed(self) -> int:
        return min(self.view.plan.n_points, self.limit or self.view.plan.n_points)

    def _states(self, point: int) -> list[str]:
        n_seeds = len(self.view.plan.seeds)
        return list(self.view.states[point * n_seeds : (point + 1) * n_seeds])

    def _points(self) -> Iterator[str]:
        plan = self.view.plan
        columns = {**plan.extra, **plan.params}
        varying = {name: values for name, column in columns.items() if (values := _values(column))}
        if varying:
            over = "; ".join(f"{name} {values}" for name, values in varying.items())
            yield f"varies: {over}"
        if fixed := {n: c[0] for n, c in columns.items() if n not in varying and plan.n_points}:
            yield f"everywhere: {at(fixed)}"
        rows = [[*varying, "runs"]]
        for i in range(self._n_listed):
            states = self._states(i)
            told = " ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
            rows.append([*(one_line(columns[name][i]) for name in varying), told])
        yield from aligned(rows, room())
        if self._n_listed < plan.n_points:
            more = plan.n_points - self._n_listed
            yield f"... and {more:,} more points (--limit 0 lists all)"

    def to_dict(self) -> dict[str, Any]:
        """Counts, schedule, notes, and the listed points with the states of their runs."""
        view, plan = self.view, self.view.plan
        n_seeds = len(plan.seeds)
        return {
            "planned": len(plan),
            "n_points": plan.n_points,
            "seeds": list(plan.seeds),
            **self._counts,
            "orphaned": list(view.orphaned),
            **self._times(),
            "n_measured": view.costs.n_measured,
            "n_too_large": len(view.too_large()),
            "refusal": view.refusal,
            "notes": [*self.sweep.notes, *plan.notes],
            "search": view.sampler.describe(),
            **({} if self.again is None else {"again": len(self.again.places)}),
            "points": [
                {"params": plan.params_of(i * n_seeds), "states": self._states(i)}
                for i in range(self._n_listed)
            ],
        }

    def _times(self) -> dict[str, Any]:
        """Null where nothing tells what the runs take."""
        view = self.view
        known, schedule, time = view.is_known, view.schedule, view.expected
        times = {
            "work_s": schedule.work_s,
            "longest_s": schedule.longest_s,
            "makespan_s": schedule.makespan_s,
            "makespan_low_s": time.low_s,
            "makespan_high_s": time.high_s,
            "bound_s": schedule.bound_s,
            "device_hours": schedule.device_hours,
        }
        return {
            **(times if known else dict.fromkeys(times)),
            "n_slots": view.n_slots,
            "basis": view.basis,
            "shares": dict(time.shares),
            "slots": [
                {"kind": p.machine.kind, "name": p.name, "n": p.n_slots,
                 "workers_by_memory": p.n_workers(view.points) if view.todo else None}
                for p in view.pools
            ],
        }  # fmt: skip


def _values(column: np.ndarray) -> str:
    """``10, 20`` or ``2000 to 32000 (5 values)``; empty where all are the same."""
    is_number = column.dtype.kind in "iuf"
    given = sorted(set(column.tolist())) if is_number else dict.fromkeys(map(one_line, column))
    found = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in given]
    if len(found) < 2:
        return ""
    if len(found) <= FEW:
        return ", ".join(found)
    n = f"({len(found):,} values)"
    return f"{found[0]} to {found[-1]} {n}" if is_number else f"{', '.join(found[:FEW])}, ... {n}"


def _between(time: Expected) -> str:
    low, high = duration(time.low_s), duration(time.high_s)
    return f" ({low} to {high})" if low != high else ""


@verb(20, short_help="What a run would do, and the time it would take.", only_prints=True)
@sweep_arguments
@click.option("--on", help="Other hardware: cpus=64, gpus=8:H100, or several with commas.")
@click.option("--rates", help="Measured rates of it: what benchmarks/gpu.py wrote.")
@click.option("--recompute", is_flag=True, help="Of a run that makes rows of other code again.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="How many points to list; 0: all.",
)
def plan(
    sweep: str,
    overrides: tuple[str, ...],
    on: str | None,
    rates: str | None,
    recompute: bool,
    limit: int,
) -> Planned:
    """List the points, what is done, what is new, and the expected time."""
    from lawsweep.study.study import Study

    study = Study(load(sweep, overrides))
    again = None
    if recompute:
        from lawsweep.study.code.recomputing import again as to_do

        again = to_do(study)
    return Planned(study.sweep, study.preview(on, rates, recompute=recompute), limit, again)
