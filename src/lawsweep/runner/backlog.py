"""The backlog: what is still to run, longest first, cut into batches as slots fall free."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np

from lawsweep.core.outcome import RunSpec
from lawsweep.core.plan import Plan
from lawsweep.runner.costs import CostModel

TARGET_S = 1.0  # a batch shorter than this is mostly overhead, a longer one holds back news
MAX_BATCH = 500
FIRST_BATCH = 4  # while nothing is known of the cost


class Backlog:
    """Runs to do, by expected seconds; ``take`` cuts the next batch."""

    def __init__(
        self, plan: Plan, costs: CostModel, todo: Iterable[int], attempts: Mapping[int, int]
    ):
        self.plan, self.costs, self.attempts = plan, costs, dict(attempts)
        runs = np.fromiter(todo, dtype=np.int64)
        prior = costs.prior_s[runs // len(plan.seeds)]
        # Longest first, so that no long run starts last; plan order among equals.
        self._runs = deque(runs[np.argsort(-prior, kind="stable")].tolist())
        self._prior_left = float(prior.sum())
        self._alone: deque[RunSpec] = deque()

    def __len__(self) -> int:
        return len(self._runs) + len(self._alone)

    def put_back(self, runs: Iterable[RunSpec], *, alone: bool = False) -> None:
        """Return runs whose worker was lost.  ``alone``: each in a batch of its own, next."""
        for run in runs:
            if alone:
                self._alone.append(run)
            else:
                self.attempts[run.index] = run.attempt
                self._runs.appendleft(run.index)
                self._prior_left += float(self.costs.prior_s[run.index // len(self.plan.seeds)])

    def seconds_left(self) -> float:
        """Expected seconds of everything not yet handed out, on one slot."""
        if not self._runs:
            return self.costs.total_s(r.index for r in self._alone)
        # One ratio for all: exact would cost a pass over a million runs at each tick.
        middle = self._runs[len(self._runs) // 2]
        prior = float(self.costs.prior_s[middle // len(self.plan.seeds)])
        return self._prior_left * self.costs.seconds(middle) / prior

    def take(self, n_slots: int) -> tuple[RunSpec, ...]:
        """The next batch: about TARGET_S of work, less where that would leave slots idle."""
        if self._alone:
            return (self._alone.popleft(),)
        known = self.costs.n_measured > 0
        most = MAX_BATCH if known else FIRST_BATCH
        # The last batches are cut finer, so that all slots end at about the same time.
        most = min(most, max(1, len(self._runs) // (2 * max(1, n_slots))))
        batch: list[RunSpec] = []
        seconds = 0.0
        while self._runs and len(batch) < most:
            cost = self.costs.seconds(self._runs[0])
            if batch and seconds + cost > TARGET_S:
                break
            seconds += cost
            batch.append(self._spec(self._runs.popleft()))
        return tuple(batch)

    def _spec(self, run: int) -> RunSpec:
        self._prior_left -= float(self.costs.prior_s[run // len(self.plan.seeds)])
        plan = self.plan
        return RunSpec(
            index=run,
            run_id=plan.run_ids[run],
            params=plan.params_of(run),
            seed=plan.seed_of(run),
            attempt=self.attempts.get(run, 1),
        )
