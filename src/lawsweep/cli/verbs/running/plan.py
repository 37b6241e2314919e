"""``lawsweep plan``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.cli.plain_output import one_line
from lawsweep.cli.text import aligned, duration

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep
    from lawsweep.study.planning import PlanView


@dataclass
class Planned(Answer):
    """The points, the states of their runs, and the expected time; ``limit`` 0 lists all."""

    sweep: Sweep
    view: PlanView
    limit: int

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
        """Expected work and time, on what basis, and what does not fit in memory."""
        view, schedule, large = self.view, self.view.schedule, self.view.too_large()
        n = view.costs.n_measured
        basis = f"from {n:,} finished rows" if n else "a guess from flops"
        basis = basis if n or view.costs.has_prior else "unknown: the experiment states no cost"
        kind = "GPU" if view.device == "cuda" else "CPU"
        slots = f"{schedule.n_slots} {kind} slot{'' if schedule.n_slots == 1 else 's'}"
        yield (
            f"expected: {duration(schedule.work_s)} of work, longest run "
            f"{duration(schedule.longest_s)}; {duration(schedule.makespan_s)} on {slots} "
            f"(at least {duration(schedule.bound_s)}), {schedule.device_hours:.3g} device-hours; "
            f"{basis}"
        )
        if large:
            memory = view.costs.memory_bytes(large[0]) / 2**30
            yield (
                f"{len(large):,} runs need more memory than this machine's "
                f"{view.memory_bytes / 2**30:.3g} GiB (the first about {memory:.3g} GiB)"
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
        rows = [[*columns, "runs"]]
        for i in range(self._n_listed):
            states = self._states(i)
            told = " ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
            rows.append([*(one_line(columns[name][i]) for name in columns), told])
        yield from aligned(rows)
        if self._n_listed < plan.n_points:
            more = plan.n_points - self._n_listed
            yield f"... and {more:,} more points (--limit 0 lists all)"

    def to_dict(self) -> dict[str, Any]:
        """Counts, schedule, notes, and the listed points with the states of their runs."""
        view, plan, schedule = self.view, self.view.plan, self.view.schedule
        n_seeds = len(plan.seeds)
        return {
            "planned": len(plan),
            "n_points": plan.n_points,
            "seeds": list(plan.seeds),
            **self._counts,
            "orphaned": list(view.orphaned),
            "work_s": schedule.work_s,
            "longest_s": schedule.longest_s,
            "n_slots": schedule.n_slots,
            "makespan_s": schedule.makespan_s,
            "bound_s": schedule.bound_s,
            "device_hours": schedule.device_hours,
            "n_measured": view.costs.n_measured,
            "n_too_large": len(view.too_large()),
            "notes": [*self.sweep.notes, *plan.notes],
            "search": view.sampler.describe(),
            "points": [
                {"params": plan.params_of(i * n_seeds), "states": self._states(i)}
                for i in range(self._n_listed)
            ],
        }


@verb(20, short_help="What a run would do, and the time it would take.", only_prints=True)
@sweep_arguments
@click.option("--on", help="Other hardware: cpus=64 or gpus=8:H100.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="How many points to list; 0: all.",
)
def plan(sweep: str, overrides: tuple[str, ...], on: str | None, limit: int) -> Planned:
    """List the points, what is done, what is new, and the expected time."""
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    return Planned(loaded, Study(loaded).preview(on), limit)
