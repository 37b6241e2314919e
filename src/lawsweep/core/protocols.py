"""The seams: what the loop of a launch asks of a sampler, of an executor and of a table."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

from lawsweep.core.experiment import Experiment
from lawsweep.core.options import check_options
from lawsweep.core.outcome import CurvePoint, Event, Outcome, Task
from lawsweep.core.schema import Field

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.grid.plan import Plan

MAX_FUSED = 64  # runs computed at once, unless executor.max_fused says otherwise
Arrays = Mapping[str, "np.ndarray"]


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """What every executor takes in its ``executor`` block; one with more of them adds fields."""

    fuse: Annotated[bool, Field("like runs at once, where the experiment has a form for it")] = True
    max_fused: Annotated[
        int | None, Field("so many at most; null: 64, on a GPU what its memory holds", ge=1)
    ] = None

    def __post_init__(self) -> None:
        check_options(self, "executor")


class Executor(ABC):
    """Runs tasks somewhere.  ``lawsweep.contracts`` has the tests that each of them passes.

    A package adds one by an entry point of the group ``lawsweep.executors`` to its class, which is
    made from its options: ``SomeExecutor(SomeExecutor.Options(...))``.  ``worker.execute.Batch``
    executes a task wherever that happens.
    """

    name: str  # as in ``executor=name``
    in_process: bool = False  # runs are executed inside ``poll``: none can be ended early
    Options: type[Any] = ExecutorOptions  # a frozen dataclass (``core.options``), here or beside it
    fuse: bool = False  # whether runs may be computed at once where the experiment has a form
    max_fused: int = 1
    fuse_by_memory: bool = False  # on a GPU whose memory is known that decides instead

    def __init__(self, options: Any = None):
        self.options = self.Options() if options is None else options
        self.fuse, most = self.options.fuse, self.options.max_fused
        self.max_fused = most or MAX_FUSED
        self.fuse_by_memory = self.fuse and most is None

    @abstractmethod
    def start(self, experiment: Experiment) -> None:
        """Get ready to run ``experiment``.  Raises ExecutorError with one clear sentence."""

    @property
    @abstractmethod
    def n_slots(self) -> int:
        """How many tasks can run at the same time, at present; at least 1."""

    @property
    def slot_memory_bytes(self) -> float:
        """Memory that a task may count on; infinite where that is not known."""
        return math.inf

    def card_memory_bytes(self, kind: int = 0) -> float | None:
        """Memory of a GPU that runs of a task may count on; of a kind of ``needs_of``.

        Infinite where that is not known, None where the task has no GPU.
        """
        return None

    def gpus_at(self, plan: Plan, runs: Iterable[int], card_bytes: float) -> np.ndarray:
        """GPUs that a task of each point's runs would hold, (n_points,), for ``lawsweep plan``.

        On cards of so much memory; points of none of the ``runs`` are not asked about.
        """
        import numpy as np

        return np.ones(plan.n_points)

    def cpus_here(self, n_cpus: int) -> int:
        """How many of this machine's CPUs its tasks would share: for ``lawsweep plan``."""
        return 1 if self.in_process else n_cpus

    def needs_of(self, plan: Plan, runs: Iterable[int]) -> np.ndarray | None:
        """For each point a number, (n_points,), which those share that may share a task.

        None where all may.  Asked before anything runs, of the ``runs`` of a plan that are to be
        done; raises a LawsweepError where one of them could never run.
        """
        return None

    def lanes(self) -> Mapping[int, int]:
        """By kind of ``needs_of``: tasks of different lanes run beside each other, whatever else
        runs (on GPUs, and on the CPUs that these leave).  Empty: all are in one.
        """
        return {}

    def slots_in(self, lane: int) -> int:
        """How many tasks of a lane can run at the same time, at present; at least 1."""
        return self.n_slots

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Take a task; it starts when a slot is free.

        One that is ``in_process`` raises InvalidValueError for a task with a deadline.  The others
        end a worker that was cut off at one, or whose GPU failed, and say so: ``Batch.spoiled``.
        """

    @abstractmethod
    def poll(self, timeout_s: float) -> list[Event]:
        """News, waiting at most about ``timeout_s`` for some (the serial one: for one run).

        ``poll(0)`` starts no work and returns what is there, perhaps with news that was told.
        An Event without outcomes says that a worker has begun.  Outcomes of a task come in the
        order of its runs, some perhaps again; after ``done`` or ``lost`` nothing is heard of it
        any more.
        """

    def attend(  # noqa: B027
        self, hand: Callable[[Event], None], called_off: Callable[[], bool]
    ) -> None:
        """Before the first task, of one that is ``in_process``; others need not heed it.

        Inside ``poll`` it may ``hand`` over each event as it comes, so that what has finished does
        not wait for the run that follows (and, from any thread, what the run under way tells); and
        of a KeyboardInterrupt that a run raised ask whether the launch was ``called_off``, or the
        run raised it itself.
        """

    @abstractmethod
    def kill(self, task_id: int) -> None:
        """Stop a task that is silent past its deadline; ``Loss.TIMEOUT`` follows."""

    def stop_run(self, task_id: int, run: int, why: str) -> None:  # noqa: B027
        """Have the next report of a run under way raise: ``core.during.under_way.stop_run`` does
        so where it runs.  One that cannot tell its workers lets it run to its end.
        """

    def describe(self) -> Mapping[str, Any]:
        """Facts for the provenance record.

        ``device`` and ``n_threads`` where they are the same for all runs: the cost model learns
        from rows that were computed alike.
        """
        return {"kind": self.name}

    def notes(self) -> tuple[str, ...]:
        """What a person should be told at the end: a GPU that was set aside, say."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Stop everything this executor started.  May be called twice."""


class Done(NamedTuple):
    """What the table knows of a run (a tuple: there may be a million of them)."""

    status: str
    attempt: int
    wall_s: float | None
    peak_memory_bytes: int | None = None
    device: str = "cpu"
    n_threads: int = 1
    device_name: str | None = None
    peak_device_bytes: int | None = None


class Table(Protocol):
    """All outcomes of one experiment, a grow-only set keyed by run id."""

    def check_writable(self) -> None:
        """Raise StoreError or IncompatibleTableError before anything runs."""

    def done(self, run_ids: Collection[str]) -> Mapping[str, Done]:
        """Latest successful attempt (else latest attempt) of each of these runs that has one."""

    def news(self, columns: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
        """Rows that other drivers have added since the last look, repeats included.

        Each has its run id, status, attempt and ``columns``.
        """

    def learn(self, experiment: Experiment) -> None:
        """Rows that follow may have these metrics too: of an experiment that learns them."""

    def append(
        self, rows: Sequence[Mapping[str, Any]], arrays: Sequence[Arrays | None] | None = None
    ) -> None:
        """Make rows durable, all or none.  Raises StoreError.

        ``arrays`` has the large arrays of each row, by name (float64); they are durable before
        the rows that acknowledge them.
        """

    def append_curves(self, points: Sequence[CurvePoint]) -> None:
        """Make points of curves durable.  Raises StoreError."""


class Sampler(Protocol):
    """Decides which planned runs are wanted next from what came back; runs are places in the plan.

    Its state is a function of the outcomes it was told of, whichever launch made them: one that is
    told what the table holds goes on where another ended.
    """

    reads: Sequence[str]  # metrics that an outcome must bring; none: that a run has ended is enough

    def ask(self) -> Sequence[int]:
        """Runs that came to be wanted since it was asked last (at first: all that are wanted)."""

    def tell(self, outcome: Outcome) -> None:
        """Take in a run that ended, here or in another launch.  A second time changes nothing."""

    def reach(self) -> Sequence[int]:
        """All runs that it may come to want, those that it wants now included."""

    @property
    def n_planned(self) -> int:
        """About how many runs will have been done in the end."""

    @property
    def n_done(self) -> int:
        """How many of them have ended."""

    @property
    def n_wanted(self) -> int:
        """How many are wanted now and have not ended."""

    @property
    def n_more(self) -> int:
        """A guess at how many more will come to be wanted."""


@dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """What a sink without options takes: nothing."""


class Sink:
    """Hears of a launch, in a thread of its own: override what is to be heard.

    A sink that raises, hangs or falls behind is told no more, and a note of the report says so; it
    never costs a row.  Any object with some of these methods is one, and so is a callable, which is
    told every outcome.  A package adds one to ``sinks: [...]`` by an entry point of the group
    ``lawsweep.sinks`` to its class, made from its options: ``SomeSink(SomeSink.Options(...))``.
    """

    Options: type[Any] = SinkOptions  # a frozen dataclass (``core.options``), here or beside it

    def __init__(self, options: Any = None):
        self.options = self.Options() if options is None else options

    def started(self, launch: Any) -> None:
        """The launch (``study.launch.Launch``) begins: it has ``id``, ``study``, ``status()``."""

    def progress(self, snapshot: Any) -> None:
        """Where it is (``launch.report.Snapshot``), a few times a second; the latest alone."""

    def outcome(self, outcome: Outcome) -> None:
        """A run ended: ``launch.study.plan`` has its params.  Large arrays are left out."""

    def ended(self, report: Any) -> None:
        """The launch ended (``launch.report.RunReport``)."""
