"""A run on its way: what is asked of an executor, and what comes back."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

Status = Literal["ok", "failed", "oom", "timeout", "infeasible", "stopped"]
STATUSES: tuple[Status, ...] = ("ok", "failed", "oom", "timeout", "infeasible", "stopped")
# What `rerun --failed` tries again; an infeasible point is an answer, not a failure, and so is a
# run that was stopped since others did better (`stop_runs`).
FAILURES: tuple[Status, ...] = ("failed", "oom", "timeout")


def alike(error: str) -> str:
    """The first line of an error without its numbers, by which runs are said to fail alike.

    "n=12 is bad at 0x7f..." is one failure, not many.
    """
    return re.sub(r"0x[0-9a-f]+|\d+", "#", "".join(error.splitlines()[:1]))


# RunSpec and Outcome are named tuples, since every run is sent one and sends one back: a frozen
# dataclass with slots is pickled by Python code, field by field, and takes four times as long.
class Place(NamedTuple):
    """Where the runs of a launch keep files: the URL of the results, and the experiment's name.

    ``code`` is the digest of the code that they run.  ``keep``: checkpoints of runs that went well
    stay.
    """

    results: str
    experiment: str
    code: str
    keep: bool = False


class RunSpec(NamedTuple):
    """One run to execute; ``index`` is its place in the plan, ``params`` are checked values."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nothing asks for
    run_id: str
    params: Mapping[str, Any]
    seed: int
    attempt: int = 1
    place: Place | None = None  # where it may keep checkpoints


@dataclass(frozen=True, slots=True)
class Task:
    """A batch of runs for one worker.

    ``groups`` are the lengths of the pieces that ``runs`` falls into, in order: a piece of more
    than one is executed by the experiment's fused form.  Without it every run is alone.

    ``whole_node`` asks that nothing else runs beside it (an executor that has but one slot has
    nothing to do), and ``memory_share`` is what ``worker.memory.memory_share`` tells its runs.
    ``avoid`` are the cards (``Mishap.card``) that failed one of them: another is better, where
    there is one.
    """

    id: int
    runs: tuple[RunSpec, ...]
    timeout_s: float | None = None
    memory_bytes: float = 0.0  # what a worker is expected to hold at most; 0: not known
    groups: tuple[int, ...] = ()
    whole_node: bool = False
    memory_share: float = 1.0
    avoid: tuple[str, ...] = ()


class Mishap(NamedTuple):
    """What befell a run on its GPU that need not be its own doing, as far as can be told.

    ``card``: the GPU failed, and the process with it.  ``neighbour``: others held memory that the
    run could count on.  ``card`` names the GPU, with its host; ``detail`` is what is known.
    """

    kind: Literal["card", "neighbour"]
    card: str
    detail: str


class Told(NamedTuple):
    """What a run reported of its curve and has not told before (``core.during.curve``).

    ``points`` are (step, metrics), in order; ``latest`` is the last it reported, which
    is none of the points yet: it is one if nothing follows.
    ``started_at``, with run and attempt, names the row that the curve belongs to.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nothing asks for
    attempt: int
    started_at: float
    points: tuple[Point, ...] = ()
    latest: Point | None = None


Point = tuple[int, Mapping[str, float]]


class CurvePoint(NamedTuple):
    """One row of the table of curves; the first three columns are those of the run's row."""

    run_id: str
    attempt: int
    started_at: datetime
    step: int
    metrics: Mapping[str, float]


class Outcome(NamedTuple):
    """A run with its metrics, or with its failure.

    ``arrays`` are the large arrays of its metrics, float64, None where there are none.
    ``n_fused`` runs were computed at once (its ``wall_s`` is its share of theirs);
    ``fused_error`` says why a fused form failed before this run was done alone.
    ``blas`` and ``instruction_set`` are what it was computed with (``worker.computing``),
    ``machine`` where (``worker.hardware.machine``; the first outcome of a batch brings it, and one
    of a table of sizes that is new).  ``calibration`` names the tables of sizes, made of rates that
    were measured, which decided how it was computed.
    ``mishap`` is there where it failed by what need not be its own doing.
    ``device_name`` is the model of the GPU it was computed on, and ``peak_device_bytes`` what the
    run held there at most; None on a CPU.  ``unseeded_draws`` names the global random generators
    that it drew from without seeding them.
    ``curve`` is what it reported on its way and did not tell before.  ``resumed`` says whether it
    went on from a checkpoint, and ``saved`` that there is one which a run that went well needs no
    more.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nothing asks for
    status: Status
    metrics: Mapping[str, Any] | None = None
    error: str | None = None
    traceback: str | None = None
    wall_s: float | None = None
    peak_memory_bytes: int | None = None
    attempt: int = 1
    device: str = "cpu"
    host: str = ""
    n_threads: int = 1
    started_at: float = 0.0
    arrays: Mapping[str, np.ndarray] | None = None
    n_fused: int = 1
    fused_error: str | None = None
    blas: str | None = None
    instruction_set: str | None = None
    machine: Mapping[str, Any] | None = None
    mishap: Mishap | None = None
    device_name: str | None = None
    peak_device_bytes: int | None = None
    calibration: str | None = None
    unseeded_draws: str | None = None
    curve: Told | None = None
    resumed: str | None = None
    saved: bool = False


class Loss(enum.Enum):
    """Why a worker is gone.  The launch decides by it what becomes of runs without an answer."""

    CRASHED = "crashed"  # its process died: a run of it may be to blame
    OUT_OF_MEMORY = "oom"
    NODE = "node"  # all of its node is gone: no run's fault
    TIMEOUT = "timeout"  # it did not stop at its deadline, and was killed for it
    SILENT = "ended without an answer"
    UNABLE = "the worker could not run the batch"
    RETIRED = "retired"  # ended after a run's deadline cut it off; the rest it never began
    RETIRED_GROUP = "retired: timeout"  # likewise, and the deadline was that of a fused group
    CARD = "GPU lost"  # ended since its GPU failed a run, which answered; the rest it never began
    CARD_GROUP = "GPU lost: group"  # likewise, and it was a fused group, which has no answer


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is gone, with what is known of it; ``str`` is what a row says.

    ``card`` is the GPU that failed it, where one did.
    """

    why: Loss
    detail: str = ""
    card: str = ""

    def __str__(self) -> str:
        return f"{self.why.value}: {self.detail}" if self.detail else self.why.value


@dataclass(frozen=True, slots=True)
class Event:
    """News of a task: outcomes that arrived, that it ended, or that its worker was lost.

    ``told`` is what a run that is under way reported: no executor has to pass it on before its
    outcome, which brings what was not told.
    """

    task_id: int
    outcomes: tuple[Outcome, ...] = ()
    done: bool = False
    lost: Lost | None = None
    told: Told | None = None
