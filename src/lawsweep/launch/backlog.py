"""The backlog: what is still to run, longest first, cut into batches as slots fall free."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.core.outcome import RunSpec
from lawsweep.grid.plan import Plan
from lawsweep.launch.columns import params_of
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.costs.work_left import Left, WorkLeft
from lawsweep.launch.fusing import Most, kin_of
from lawsweep.launch.order import LONG_S, all_over, longest_first

TARGET_S = LONG_S  # a batch shorter than this is mostly overhead, a longer one holds back news
# A group of fused runs may take longer, as a long run does: it is cheaper whole than in pieces.
# This is also what a lost worker costs, and how long its runs keep their news.
GROUP_S = 5.0
FINEST_S = 0.1  # at the end no group is cut into pieces shorter than this: nobody waits so little
MAX_BATCH = 500
FIRST_BATCH = 4  # while nothing is known of the cost
# While nothing was measured, so many batches are of the shortest runs: rows within seconds, also
# where the guess of seconds is ten times too low, and a scale for the groups of long ones.  A few:
# short runs even out the ends of all slots.
FIRST_LOOKS = 3
SHORT = 0.25  # of the longest run's seconds: where the shortest take more there is no point
NEWS_S = 0.25  # a worker tells of short runs about so often
LOOK_SHARE, LOOK_FROM = 0.1, 20  # of runs of which nothing is known (see _look_around)
# Runs that wait for a node of their own go last: nodes are emptied for them, and slots idle.  But
# where no run got by without, so many have their turn at once: a sweep that fits nowhere must not
# be gone through to its end before that is seen.
ALONE_AT = 8
N_PIECES = 256  # that the runs are shuffled in where several launches share them


@dataclass(frozen=True)
class Cut:
    """A batch: its runs, and the lengths of the groups they are to be fused in (none: alone).

    ``whole_node``: nothing else is to run beside it.
    """

    runs: tuple[RunSpec, ...]
    groups: tuple[int, ...] = ()
    whole_node: bool = False


class Backlog:
    """Runs to do, by expected seconds; ``take`` cuts the next batch.

    Where ``most`` says that runs are fused like ones stay together.  ``kinds`` has a number for
    each point, (n_points,): a batch has runs of one kind (they need the same CPUs and GPUs).
    """

    def __init__(
        self,
        plan: Plan,
        costs: CostModel,
        todo: Iterable[int],
        attempts: Mapping[int, int],
        most: Most | int = 1,
        kinds: np.ndarray | None = None,
    ):
        self.plan, self.costs, self.attempts = plan, costs, dict(attempts)
        self.most = most if isinstance(most, Most) else Most(costs, given=most)
        self.target_s = TARGET_S
        runs = np.fromiter(todo, dtype=np.int64)
        self._fuses = self.most.fuses
        self._kin = kin_of(plan) if self._fuses else np.arange(plan.n_points)
        self._kinds = kinds
        # An array and a place in it: of a million runs, 8 bytes each.
        self._order, self._at = self._longest_first(runs), 0
        self._is_open, self._look_until, self._sort_at = False, 0.0, math.inf
        self._look_around()
        self._again: deque[Cut] = deque()
        self._alone: deque[RunSpec] = deque()
        self._were_apart: set[int] = set()
        self._emptying, self._some_fit, self._looks = False, False, 0
        self.left = Left(plan, costs, runs)

    def _longest_first(self, runs: np.ndarray) -> np.ndarray:
        points = runs // len(self.plan.seeds)
        seconds = self.costs.seconds_of_points()[points]
        if not self.costs.has_prior:
            # Equal to a tenth: what a fit makes of like runs is not alike to the last digit.
            seconds = np.exp(np.round(10.0 * np.log(np.maximum(seconds, 1e-12))) / 10.0)
        kin = self._kin[points] if self._fuses else None
        kinds = None if self._kinds is None else self._kinds[points]
        return np.asarray(runs[longest_first(seconds, kin, kinds)])

    def _look_around(self) -> None:
        """Where nothing is known of what runs take, a tenth of them first from all over the plan.

        What they took says how long the others will, and which go first (``_sort_anew``).
        """
        n, known = len(self._order), self.costs.n_measured
        if self.costs.has_prior or known >= LOOK_SHARE * n or n < LOOK_FROM:
            return
        kin = self._kin[self._order // len(self.plan.seeds)] if self._fuses else None
        first = all_over(n, LOOK_SHARE, kin)
        rest = np.ones(n, dtype=bool)
        rest[first] = False
        self._order = np.concatenate([self._order[first], self._order[rest]])
        self._is_open = True
        self._look_until = self._sort_at = known + len(first)

    @property
    def _is_looking(self) -> bool:
        """Whether what is known of the runs is not enough to tell the long from the short."""
        return self._is_open and self.costs.n_measured < self._look_until

    def _sort_anew(self) -> None:
        """Longest first, by what is known by now; not where the order is of another's making."""
        if self._is_open and self.costs.n_measured >= self._sort_at:
            self._order, self._at = self._longest_first(self._order[self._at :]), 0
            self._sort_at = 2.0 * self.costs.n_measured

    def __bool__(self) -> bool:
        return bool(self._n_fresh or self._again or self._alone)

    def __len__(self) -> int:
        return self._n_fresh + sum(len(cut.runs) for cut in self._again) + len(self._alone)

    @property
    def _n_fresh(self) -> int:
        """Runs that were never handed out."""
        return len(self._order) - self._at

    def runs(self) -> list[int]:
        """The runs that wait, as they will be taken."""
        again = [r.index for cut in self._again for r in cut.runs]
        return [*again, *self._order[self._at :].tolist(), *(r.index for r in self._alone)]

    def add(self, runs: Sequence[int]) -> None:
        """Runs that came to be wanted meanwhile; they wait behind the others."""
        if not len(runs):  # most outcomes of a search ask for nothing
            return
        more = np.asarray(runs, dtype=np.int64)
        self._order, self._at = np.concatenate([self._order[self._at :], more]), 0
        self._is_open = False
        self.left.add(more)

    def shuffle(self, seed: int) -> None:
        """Take the runs in an order of one's own, so that launches of one plan get apart.

        In pieces, so that most that are fused or share a batch stay together.  A mere other
        beginning would not do: who comes to its end goes on where the other one is, in step.
        """
        pieces = np.array_split(self._order[self._at :], N_PIECES)
        order = np.random.default_rng(seed).permutation(N_PIECES)
        self._order, self._at = np.concatenate([pieces[i] for i in order]), 0
        self._is_open = False

    def drop(self, runs: Collection[int]) -> int:
        """Take out runs that somebody else has done; how many of them waited here."""
        left = self._order[self._at :]
        gone = np.isin(left, np.fromiter(runs, dtype=np.int64, count=len(runs)))
        dropped = left[gone].tolist()
        self._order, self._at = left[~gone], 0
        waiting = [*(r for cut in self._again for r in cut.runs), *self._alone]
        dropped += [r.index for r in waiting if r.index in runs]
        self._again = deque(c for c in (_without(cut, runs) for cut in self._again) if c.runs)
        self._alone = deque(r for r in self._alone if r.index not in runs)
        for run in dropped:
            self.finished(run)
        return len(dropped)

    def finished(self, run: int) -> None:
        """Take a finished run out of the work that is left."""
        self._some_fit = self._some_fit or run not in self._were_apart
        self.left.finished(run)

    def put_back(self, runs: Sequence[RunSpec], groups: Sequence[int] = ()) -> None:
        """Return runs whose worker was lost, as one batch that goes out next.

        Alone even where they were fused, unless ``groups`` are given: the fused form may be what
        cost the worker (all of a group's memory at once), and runs alone answer one by one, which
        leaves fewer to suspect when the next worker is lost.
        """
        self._again.append(Cut(tuple(runs), tuple(groups)))

    def put_apart(self, run: RunSpec) -> None:
        """Return a run that ran out of memory: it is to have a node to itself."""
        self._alone.append(run)
        self._were_apart.add(run.index)

    def work_left(self) -> WorkLeft:
        """Seconds of all unfinished work: a few operations whatever the number of runs."""
        return self.left.work()

    def take(
        self, n_slots: int, slot_memory_bytes: float = math.inf, full: Collection[int] = ()
    ) -> Cut | None:
        """The next batch: about ``target_s`` of work, less where that would leave slots idle.

        Of no kind in ``full``; None where that leaves none.
        """
        if self.turn_of_alone():
            return Cut((self._alone.popleft(),), whole_node=True)
        if self._again:
            return self._again.popleft()
        self._sort_anew()
        if full and not self._bring_forward(full):
            return None
        slots = max(1, n_slots)
        if not full and self._looks_first():
            return self._first_look(slot_memory_bytes)
        if self.most.fuses:
            return self._cut_groups(slots, slot_memory_bytes)
        most = MAX_BATCH if self.costs.n_measured else FIRST_BATCH
        most = most if not self._is_looking or self.costs.n_measured >= FIRST_BATCH else 1
        # The last batches are cut finer, so that all slots end at about the same time.
        most = min(most, max(1, self._n_fresh // (2 * slots)))
        # A worker tells of short runs now and then: one that is long would keep their news, which
        # is all that is known, so what may be long goes alone.
        price = self.costs.seconds_at_most if self._is_looking else self.costs.seconds
        target_s = NEWS_S if self._is_looking else self.target_s
        n, seconds = 0, 0.0
        while n < min(self._n_fresh, most):
            seconds += price(self._ahead(n))
            if n and (seconds > target_s or self._kind(n) != self._kind(0)):
                break
            n += 1
        return Cut(self._next(n))

    def _bring_forward(self, full: Collection[int]) -> bool:
        """Put the first runs that are of no kind in ``full`` at the head; whether there are any."""
        if self._kinds is None or not self._n_fresh:
            return False
        left = self._order[self._at :]
        free = ~np.isin(self._kinds[left // len(self.plan.seeds)], list(full))
        if not free.any():
            return False
        begin = int(free.argmax())
        rest = free[begin : begin + MAX_BATCH]
        end = begin + (len(rest) if rest.all() else int(rest.argmin()))
        self._order = np.concatenate([left[begin:end], left[:begin], left[end:]])
        self._at = 0
        return True

    def _looks_first(self) -> bool:
        """Whether the next batch is of the shortest runs (see FIRST_LOOKS)."""
        costs, few = self.costs, self._n_fresh <= 2 * FIRST_LOOKS * FIRST_BATCH
        if costs.n_measured or not costs.has_prior or self._looks >= FIRST_LOOKS or few:
            return False
        return costs.seconds(int(self._order[-1])) <= SHORT * costs.seconds(self._ahead(0))

    def _first_look(self, slot_memory_bytes: float) -> Cut:
        """A few runs from the end, which are alike."""
        self._looks += 1
        last, n_seeds, n = int(self._order[-1]), len(self.plan.seeds), 1
        kind = self._kind_of(last)
        most = self.most.of(last, kind, slot_memory_bytes) if self.most.fuses else 1
        while n + 1 <= min(FIRST_BATCH, most):
            other = int(self._order[-1 - n])
            kin = self._kin[other // n_seeds] == self._kin[last // n_seeds]
            if self._kind_of(other) != kind or not kin:
                break
            n += 1
        runs, self._order = self._order[-n:].tolist(), self._order[:-n]
        return Cut(self._specs(runs), (n,) if n > 1 else ())

    def turn_of_alone(self) -> bool:
        """Whether runs that are to have a node to themselves go next (see ALONE_AT)."""
        many = len(self._alone) >= ALONE_AT and not self._some_fit
        self._emptying = bool(self._alone) and (self._emptying or many)
        return self._emptying or bool(self._alone and not (self._n_fresh or self._again))

    def _kind(self, n: int) -> int:
        """What the run that stands ``n`` places behind the next one is to share a batch with."""
        return self._kind_of(self._ahead(n))

    def _kind_of(self, run: int) -> int:
        return 0 if self._kinds is None else int(self._kinds[run // len(self.plan.seeds)])

    def _ahead(self, n: int) -> int:
        """The run that stands ``n`` places behind the next one."""
        return int(self._order[self._at + n])

    def _cut_groups(self, slots: int, slot_memory_bytes: float) -> Cut:
        """A batch of whole groups, or one group, or a piece of one that is too long."""
        kind = self._kind(0) if self._n_fresh else 0
        # A GPU takes about as long for half a group: there each slot has its whole share at once.
        on_card = self._n_fresh > 0 and self.most.on_card(kind)
        pieces = slots if on_card else 2 * slots
        share_s = max(FINEST_S, self.work_left().expected_s / pieces)
        known = self.costs.n_measured or (on_card and self.costs.has_prior)
        most = MAX_BATCH if known else FIRST_BATCH
        runs: list[RunSpec] = []
        groups: list[int] = []
        seconds = 0.0
        while self._n_fresh and self._kind(0) == kind:
            n, cost = self._kindred(slot_memory_bytes), self.costs.seconds(self._ahead(0))
            # What is not known well yet may take longer, and gives no row before all of it is done.
            late = self.costs.seconds_at_most(self._ahead(0))
            enough_s = min(self.target_s, share_s)
            if groups and (len(runs) + n > most or seconds + n * cost > enough_s):
                break
            in_time = min(GROUP_S / max(late, 1e-9), share_s / max(cost, 1e-9))
            fits = min(n, n if on_card and known else most, max(1, int(in_time)))
            if fits < n:
                fits = -(-n // -(-n // fits))  # in pieces of about one length: 10 as 4, 3, 3
            runs += self._next(fits)
            groups.append(fits)
            seconds += fits * cost
        self.most.largest = max(self.most.largest, *groups, 1)
        return Cut(tuple(runs), tuple(groups))

    def _kindred(self, slot_memory_bytes: float) -> int:
        """How many runs at the head may be computed at once."""
        most = min(self._n_fresh, self.most.of(self._ahead(0), self._kind(0), slot_memory_bytes))
        points = self._order[self._at : self._at + int(most)] // len(self.plan.seeds)
        alike = self._kin[points] == self._kin[points[0]]
        if self._kinds is not None:
            alike &= self._kinds[points] == self._kinds[points[0]]
        return len(alike) if alike.all() else int(alike.argmin())

    def _next(self, n: int) -> tuple[RunSpec, ...]:
        """The next ``n`` runs, taken out of the backlog."""
        runs = self._order[self._at : self._at + n].tolist()
        self._at += n
        return self._specs(runs)

    def _specs(self, runs: list[int]) -> tuple[RunSpec, ...]:
        plan = self.plan
        return tuple(
            RunSpec(run, plan.run_ids[run], params, plan.seed_of(run), self.attempts.get(run, 1))
            for run, params in zip(runs, params_of(plan, runs), strict=True)
        )


def _without(cut: Cut, runs: Collection[int]) -> Cut:
    """What is left of its groups goes alone."""
    kept = tuple(r for r in cut.runs if r.index not in runs)
    return cut if len(kept) == len(cut.runs) else Cut(kept)
