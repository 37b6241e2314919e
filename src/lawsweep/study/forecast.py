"""How long runs would take on hardware that is asked about, what limits it, how sure it is."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.core.cost import PRIOR_OVERHEAD_S
from lawsweep.core.errors import UnknownNameError
from lawsweep.core.protocols import Done, Executor
from lawsweep.grid.plan import Plan
from lawsweep.grid.stated_costs import stated_costs, stated_fused_bytes, stated_work
from lawsweep.launch.costs.calibrate import core_flops_per_s
from lawsweep.launch.costs.costs import MEMORY_MARGIN, CostModel
from lawsweep.launch.costs.rates import COUNTS_SD, PLAIN_SD, Device, card, core, named
from lawsweep.launch.costs.simulate import Machine
from lawsweep.launch.costs.work_left import Z_90
from lawsweep.worker.cards import CARD_MARGIN

HOST = ("draws",)  # work that no card does: workers of one card do it side by side
CONTEXT_BYTES = 6e8  # of a process on a card, before it holds anything
OVERHEAD = "overhead"
NEVER_S = 1e12  # on these slots a run is never done


@dataclass(frozen=True)
class Pool:
    """Slots of one kind, and what runs take there.

    ``device``: whose rates price them; None on a CPU whose flops do.  ``parts``: expected seconds
    of a run of each point by kind of work, (n_points,) each; empty where no work is stated.
    ``gpus``: what a task of each point holds of a card, (n_points,), where that is not the same for
    all; ``n_slots`` are cards then.
    """

    machine: Machine
    device: Device | None
    costs: CostModel
    n_slots: int
    parts: Mapping[str, np.ndarray]
    plain: bool
    gpus: np.ndarray | None = None
    n_seeds: int = 1

    @property
    def name(self) -> str:
        """``H100`` or ``CPU``."""
        return self.device.name if self.device is not None else "CPU"

    @property
    def is_known(self) -> bool:
        """Whether anything tells what runs take: rows, or a stated cost."""
        return self.costs.has_prior or self.costs.n_measured > 0

    def held_s(self, runs: Sequence[int]) -> np.ndarray:
        """Seconds for which each of some runs holds a slot, (n_runs,).

        Where runs hold shares of cards, seconds of a whole one; NEVER_S where it needs no GPU.
        """
        seconds = self.costs.seconds_of(runs)
        if self.gpus is None:
            return seconds
        shares = self.gpus[np.asarray(runs, dtype=np.int64) // self.n_seeds]
        return np.where(shares > 0, shares * seconds, NEVER_S)

    def sd(self, points: np.ndarray) -> float:
        """Standard deviation of the logarithm of the seconds of runs of these points in all."""
        if self.costs.n_measured:
            counts = np.bincount(points, minlength=len(self.costs.prior_s))
            return self.costs.error_of(counts)
        counted = PLAIN_SD if self.plain else COUNTS_SD
        if self.device is None:
            return counted
        shares = self.shares(points)
        doubts = [share * self.device.doubts.get(kind, 0.0) for kind, share in shares.items()]
        return math.hypot(counted, *doubts)

    def shares(self, points: np.ndarray) -> dict[str, float]:
        """Which share of the seconds of runs of these points each kind of work takes, as stated."""
        sums = {kind: float(s[points].sum()) for kind, s in self.parts.items()}
        total = sum(sums.values())
        return {k: s / total for k, s in sums.items() if s > 0} if total else {}

    def each_needs(self, points: np.ndarray) -> np.ndarray:
        """Memory that runs of these points hold on a card, their process included."""
        cards, name = self.costs.on_cards, None if self.device is None else self.device.name
        own = (k for k in cards.kinds if name is not None and named(k) == named(name))
        return CONTEXT_BYTES + cards.bytes_of(points, next(own, None))

    def needs_bytes(self, points: np.ndarray) -> float:
        """Of the largest of them."""
        return float(self.each_needs(points).max(initial=CONTEXT_BYTES))

    @property
    def room_bytes(self) -> float:
        """What there is on a card; infinite where that is not known."""
        known = None if self.device is None else self.device.memory_bytes
        return math.inf if known is None else known

    def n_workers(self, points: np.ndarray) -> int | None:
        """How many workers a card's memory has room for; None where its memory is not known."""
        if not math.isfinite(self.room_bytes):
            return None
        return int(self.room_bytes / self.needs_bytes(points))


@dataclass(frozen=True)
class Expected:
    """Seconds to the end with a 90 % interval, and what they go to."""

    low_s: float
    high_s: float
    shares: Mapping[str, float]

    @functools.cached_property
    def limit(self) -> str | None:
        """The kind of work that takes most."""
        return max(self.shares, key=self.shares.__getitem__, default=None)


def expected(pools: Sequence[Pool], points: np.ndarray, makespan_s: float) -> Expected:
    """The interval around a makespan of runs of these points."""
    slots = np.array([p.n_slots for p in pools], dtype=float)
    sds = [p.sd(points) for p in pools]
    sd = float(slots @ sds / slots.sum())
    half = math.exp(min(Z_90 * sd, 50.0))
    shares: dict[str, float] = {}
    for pool, n in zip(pools, (slots / slots.sum()).tolist(), strict=True):
        for kind, share in pool.shares(points).items():
            shares[kind] = shares.get(kind, 0.0) + n * share
    ranked = dict(sorted(shares.items(), key=lambda pair: -pair[1]))
    return Expected(makespan_s / half, makespan_s * half, ranked)


def make_pool(
    plan: Plan,
    machine: Machine,
    known: Mapping[str, Done],
    per_task: float | np.ndarray,
    n_threads: int | None,
    n_fused: int,
    given: Mapping[str, Device],
) -> Pool:
    """Slots of a machine, ``per_task`` of its CPUs or GPUs each; ``given``: measured rates.

    GPUs may be given by point, (n_points,); 0 where a run needs none.  ``n_fused`` runs are sent to
    a device together: their operations are sent once.
    """
    each = np.broadcast_to(np.asarray(per_task, dtype=np.float64), (plan.n_points,))
    is_mixed = bool(plan.n_points) and bool((each != each[0]).any())
    gpu = machine.kind == "gpus"
    own = next((d for d in given.values() if named(d.name) == "cpu"), None)
    device = card(machine.model or "", given) if gpu else own
    work = stated_work(plan)
    flops, _ = stated_costs(plan)
    plain = not work
    if device is None and not (flops > 0).any() and work:
        device = core(core_flops_per_s())  # no flops in all are stated
    if device is None:
        rate = core_flops_per_s() if plan.experiment.cost else 1.0
        costs, parts = CostModel(plan, rate), {}
    else:
        parts = _parts(plan, device, work or {"matmul_float64": flops}, n_fused)
        share = np.maximum(1.0, np.round(1.0 / np.where(each > 0, each, 1.0))) if gpu else 1.0
        # Workers of one card wait for each other there, and not where they draw.
        seconds = sum((s if k in HOST else share * s for k, s in parts.items()),
                      start=np.zeros(plan.n_points))  # fmt: skip
        costs = CostModel(plan, seconds=seconds)
        if (seconds > 0).any():
            parts = {**parts, OVERHEAD: np.full(plan.n_points, PRIOR_OVERHEAD_S)}
    elsewhere: Collection[str] = ()
    if gpu:
        known, elsewhere = _as_on(plan, device, work, known, n_fused, given)
    costs.learn_table(plan, known, machine.device, n_threads, elsewhere)
    if is_mixed:
        return Pool(machine, device, costs, machine.n, parts, plain, each, len(plan.seeds))
    one = float(each[0]) if len(each) else 1.0
    return Pool(machine, device, costs, max(1, int(machine.n / (one or 1.0))), parts, plain)


def card_bytes_of(machine: Machine, given: Mapping[str, Device]) -> float:
    """What a card of a machine holds; infinite where that is not known, or it has none."""
    if machine.kind != "gpus":
        return math.inf
    return card(machine.model or "", given).memory_bytes or math.inf


def fused_at_once(
    plan: Plan, executor: Executor, machine: Machine, gpus: np.ndarray, card_bytes: float
) -> int:
    """How many runs a launch would send together there: of the point of which fewest fit, of those
    that have a GPU.
    """
    if plan.experiment.fused is None or not executor.fuse:
        return 1
    most, (each, _) = executor.max_fused, stated_fused_bytes(plan)
    there = np.broadcast_to(gpus > 0, (plan.n_points,))
    gpus, each = np.broadcast_to(gpus, there.shape)[there], each[there]
    known = machine.kind == "gpus" and math.isfinite(card_bytes) and bool((each > 0).all())
    if known and executor.fuse_by_memory and len(each):
        room = np.minimum(gpus, 1.0) * card_bytes - CONTEXT_BYTES
        most = max(1, int((room / (CARD_MARGIN * MEMORY_MARGIN * each)).min()))
    return min(most, len(plan.seeds))


def _parts(
    plan: Plan, device: Device, work: Mapping[str, np.ndarray], n_fused: int
) -> dict[str, np.ndarray]:
    seconds = device.seconds(work)
    if "launch" in seconds:
        seconds["launch"] = seconds["launch"] / n_fused
    return seconds


def _as_on(
    plan: Plan,
    device: Device | None,
    work: Mapping[str, np.ndarray],
    known: Mapping[str, Done],
    n_fused: int,
    given: Mapping[str, Device],
) -> tuple[Mapping[str, Done], Collection[str]]:
    """Rows of other cards, with the seconds they would have taken on this one by both's rates; and
    which they are.
    """
    names = {r.device_name for r in known.values()} - {None}
    factors: dict[str | None, np.ndarray] = {}
    for name in names:
        if device is None or name is None or named(name) == named(device.name):
            continue
        try:
            other = card(name, given)
        except UnknownNameError:
            factors[name] = np.full(plan.n_points, np.nan)
            continue
        here, there = (sum(_parts(plan, d, work, n_fused).values()) for d in (device, other))
        ratio = (here + PRIOR_OVERHEAD_S) / (there + PRIOR_OVERHEAD_S)
        factors[name] = np.broadcast_to(ratio, (plan.n_points,))
    if not factors:
        return known, ()
    scaled, n_seeds, others = dict(known), len(plan.seeds), set()
    for run, run_id in enumerate(plan.run_ids):
        row = known.get(run_id)
        if row is not None and row.device_name in factors and row.wall_s is not None:
            others.add(run_id)
            factor = float(factors[row.device_name][run // n_seeds])
            # What cannot be compared says nothing.
            scaled[run_id] = row._replace(wall_s=row.wall_s * factor if factor == factor else None)
    return scaled, others


def describe(pools: Sequence[Pool], given: Mapping[str, Device]) -> str:
    """On what basis: rows, measured rates, stated ones, or flops."""
    n = max(p.costs.n_measured for p in pools)
    if n:
        return f"from {n:,} finished rows"
    if not all(p.is_known for p in pools):
        return "unknown: the experiment states no cost, and no row of such a device tells"
    cards = [p for p in pools if p.device is not None]
    if not cards:
        return "a guess from flops"
    stated = [p.name for p in cards if p.device is not None and not p.device.measured]
    if not stated:
        return f"from measured rates of {', '.join(p.name for p in cards)}"
    plain = "; work by kind is not stated, so all flops are taken for products"
    plain = plain if any(p.plain for p in cards) else ""
    return (
        f"from stated rates of {', '.join(stated)} (peak and usual share; --rates FILE: measured "
        f"ones){plain}"
    )
