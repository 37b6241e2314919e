"""A sampler as another package has it: it knows no more than our docs say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from lawsweep import Field
from lawsweep.core.options import check_options
from lawsweep.sampling.sampler import Chooser


@dataclass(frozen=True)
class EnoughOptions:
    """``n`` seeds of each point are to succeed."""

    n: Annotated[int, Field("seeds", ge=1)] = 3

    def __post_init__(self):
        check_options(self, "search")


class Enough(Chooser):
    """The first ``n`` seeds of each point, and one more for each that failed."""

    Options = EnoughOptions

    def first(self):
        n_seeds = len(self.plan.seeds)
        n = min(self.options.n, n_seeds)
        self._n_asked = Counter(dict.fromkeys(range(self.plan.n_points), n))
        return [point * n_seeds + k for point in range(self.plan.n_points) for k in range(n)]

    def then(self, outcome):
        n_seeds = len(self.plan.seeds)
        point = outcome.index // n_seeds
        if outcome.status == "ok" or self._n_asked[point] == n_seeds:
            return []
        self._n_asked[point] += 1
        return [point * n_seeds + self._n_asked[point] - 1]


class Astray(Chooser):
    """Without options, and its first run is none of the plan's."""

    def first(self):
        return [10**6]


@dataclass(frozen=True)
class PlainOptions:
    """Options that do not check themselves."""

    n: int = 3


class Plain(Enough):
    """``Enough`` with them."""

    Options = PlainOptions
