"""What samplers have in common: what verbs ask of them, and the books of what was asked and told.

A sampler is one class, a ``Chooser``, and its line in ``samplers.SAMPLERS``.  It says which runs
it starts with and which ones an outcome adds; all else has an answer already.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import Outcome
from lawsweep.core.protocols import Sampler
from lawsweep.grid.plan import Plan

Known = Mapping[int, tuple[Any, Mapping[str, Any] | None]]  # place in the plan: status and metrics


@dataclass(frozen=True)
class Column:
    """One column of what a sampler found; ``values`` are of one type, None where there is none."""

    values: Sequence[Any]
    kind: type[int] | type[float] | type[str]
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Findings:
    """What a sampler found, one row a setting: a table for fits, figures and exports.

    ``runs`` has for each row a run whose params (``settings``, those that tell rows apart) it
    shows, but for those of ``hidden``, which differ within it.
    """

    settings: Sequence[str]
    runs: Sequence[int]
    hidden: Sequence[Collection[str]]
    columns: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True)
class NoOptions:
    """There is nothing to choose."""


class BaseSampler(Sampler, ABC):
    """What a verb asks of a sampler besides what the loop of a launch does."""

    Options: ClassVar[type[Any]] = NoOptions  # a frozen dataclass: the keys of ``search``
    whole: ClassVar[bool] = False  # wants every run of the plan, so that all of them are its rows
    # Whether fits and figures are of the runs that it asked for alone, so that their intervals are
    # those that it stopped by.
    only_asked: ClassVar[bool] = False
    reads: Sequence[str]  # what ``metrics`` says

    def __init__(
        self,
        plan: Plan,
        options: Any,
        known: Known | None = None,
        again: Iterable[int] | None = None,
    ):
        """``known`` are rows that are there already.

        ``again`` are runs without an answer, failed ones, that are to be tried once more.
        """
        self.plan, self.options = plan, options
        self.reads = self.metrics(plan, options)

    @classmethod
    def metrics(cls, plan: Plan, options: Any) -> Sequence[str]:
        """Metrics that it decides by; none where it is enough that a run has ended."""
        return ()

    @classmethod
    def check(cls, plan: Plan, options: Any) -> None:
        """Raise a LawsweepError where it does not fit the plan; no row is read."""

    @classmethod
    def inapplicable(cls, plan: Plan, options: Any, names: Collection[str]) -> str | None:
        """Why it has nothing to choose in a plan that overrides changed; None where it has.

        ``names`` are those that its options may use, the overrides aside: what is misspelt there
        too is for ``check`` to refuse.
        """
        return None

    @classmethod
    def notes(cls, plan: Plan, options: Any) -> Iterator[str]:
        """What a person should be told of the options before anything runs."""
        return iter(())

    @classmethod
    def columns(cls, plan: Plan, options: Any) -> tuple[str, ...]:
        """Names of the columns of ``findings``."""
        return ()

    @classmethod
    def headline(cls, options: Any) -> str | None:
        """What it looks for, in a few words; None where that is all runs of the plan."""
        return f"{cls.__name__} sampling"

    @abstractmethod
    def wanted(self) -> list[int]:
        """Runs wanted now that have no row, in plan order."""

    @abstractmethod
    def asked(self) -> Sequence[int]:
        """Runs asked for so far, in plan order."""

    @property
    def n_more(self) -> int:
        """A guess at how many runs will be asked for beyond those that are."""
        return 0

    def outlook(self) -> list[int]:
        """Runs that are wanted and, as a guess, those that will be."""
        return self.wanted()

    def rounds(self) -> list[list[list[int]]] | None:
        """``outlook`` as chains of rounds, each after the one before; None where none waits."""
        return None

    def summary(self) -> str | None:
        """Where it stands, on a line; None where counts of rows say it all."""
        return None

    def lines(self, limit: int = 20) -> list[str]:
        """What it found so far, a line a setting, the first few of many."""
        return []

    def forecast(self) -> str | None:
        """How many runs it has asked for, may need, and asks for at most."""
        return None

    def describe(self) -> dict[str, Any] | None:
        """The same as plain values."""
        return None

    def findings(self) -> Findings | None:
        """What it found, as a table; None where the rows say it all."""
        return None

    def decisions(self) -> Findings | None:
        """What it decided and why, a row a decision (no settings); None where it keeps no book."""
        return None


class Chooser(BaseSampler):
    """A sampler by its two questions: what is wanted ``first``, and ``then``.

    ``known`` are rows that are there already.  ``again`` are runs without an answer that are run
    whether they are asked for or not: failed ones, tried once more.
    """

    def __init__(
        self,
        plan: Plan,
        options: Any,
        known: Known | None = None,
        again: Iterable[int] | None = None,
    ):
        super().__init__(plan, options, known, again)
        self._told = dict(known or {})
        self._asked: set[int] = set()
        # Tried again and not asked for; one that comes to be asked for is like any other then.
        self._beside = set(again or ())
        self._pending = set(self._beside)
        self._fresh = list(self._beside)
        self._want(self.first())

    @abstractmethod
    def first(self) -> Iterable[int]:
        """Runs that are wanted before anything is known."""

    def then(self, outcome: Outcome) -> Iterable[int]:
        """Runs that come to be wanted by the outcome of one that was asked for.

        Of all outcomes told together it must be a function that knows no order.
        """
        del outcome
        return ()

    def ask(self) -> list[int]:
        """Runs that came to be wanted since it was asked last, in plan order."""
        if not self._fresh:  # most outcomes ask for nothing
            return []
        found = sorted(self._pending.intersection(self._fresh))
        self._fresh = []
        return found

    def tell(self, outcome: Outcome) -> None:
        """Take in a run that ended; one that was told before changes nothing."""
        run = outcome.index
        if run in self._told:
            return
        metrics = outcome.metrics or {}
        self._told[run] = (outcome.status, {n: metrics.get(n) for n in self.reads})
        self._pending.discard(run)
        if run in self._asked:
            self._want(self.then(outcome))

    def _want(self, runs: Iterable[int]) -> None:
        """Ask for ``runs``, and for what those of them that have a row make it want."""
        coming = deque(runs)
        while coming:
            run = coming.popleft()
            if run in self._asked:
                continue
            if not 0 <= run < len(self.plan):
                raise InvalidValueError(
                    f"Sampler {type(self).__name__} must ask for runs from 0 to "
                    f"{len(self.plan) - 1}, got {run!r}. Mend it."
                )
            self._asked.add(run)
            self._beside.discard(run)
            told = self._told.get(run)
            if told is not None:
                coming.extend(self.then(Outcome(run, *told)))
            elif run not in self._pending:
                self._pending.add(run)
                self._fresh.append(run)

    def wanted(self) -> list[int]:
        """Runs wanted now that have no row, in plan order."""
        return sorted(self._pending)

    def asked(self) -> list[int]:
        """Runs asked for so far, in plan order."""
        return sorted(self._asked)

    def reach(self) -> range:
        """Every run of the plan: it may come to want any of them."""
        return range(len(self.plan))

    @property
    def n_asked(self) -> int:
        """How many runs it has asked for."""
        return len(self._asked)

    @property
    def n_expected(self) -> int:
        """About how many it will have asked for in the end."""
        return self.n_asked + self.n_more

    @property
    def n_most(self) -> int:
        """How many it asks for at most."""
        return len(self.plan)

    @property
    def n_planned(self) -> int:
        """About how many runs will have been done in the end."""
        return self.n_expected + len(self._beside)

    @property
    def n_done(self) -> int:
        """Runs asked for, or tried again, that have a row."""
        return self.n_asked + len(self._beside) - len(self._pending)

    @property
    def n_wanted(self) -> int:
        """How many runs ``wanted`` gives."""
        return len(self._pending)

    def summary(self) -> str | None:
        """Where it stands, on a line."""
        return f"{self.n_asked:,} runs asked for"

    def describe(self) -> dict[str, Any]:
        """Where it stands, as plain values."""
        counts = {"n_asked": self.n_asked, "n_expected": self.n_expected}
        return {**counts, "n_most": self.n_most}

    def forecast(self) -> str:
        """How many runs it has asked for, may need, and asks for at most."""
        left = self.n_wanted
        return (
            f"{self.headline(self.options)}: {self.summary()}; about {left + self.n_more:,} more "
            f"expected, at most {self.n_most - self.n_asked + left:,}"
        )
