"""What the page is made from: plain values that whoever writes it has gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.analysis.laws.results import FitResult


@dataclass(frozen=True)
class Drawing:
    """A figure: its chart (None: it has no interactive form), a picture, its other files."""

    name: str
    chart: Mapping[str, Any] | None
    picture: bytes | None  # PNG
    files: tuple[str, ...] = ()  # beside the page, relative to it
    caption: str = ""


@dataclass(frozen=True)
class Failures:
    """Rows that failed alike: how, why, how many, and the first of them."""

    status: str
    reason: str
    n_rows: int
    run_id: str


@dataclass(frozen=True)
class Cost:
    """What the rows of one kind of device took, in seconds of a run."""

    device: str
    n_rows: int
    total_s: float
    mean_s: float
    longest_s: float


@dataclass(frozen=True)
class Facts:
    """All that a page says of a sweep.

    ``columns`` are (name, unit, meaning); ``launches`` are provenance records, latest first;
    ``gaps`` are what is not ``ok`` with the command that closes it, and ``following`` what to run
    next: (why, command).  ``notes`` is what else a reader must know of the rows.
    """

    name: str
    typed: str  # the sweep as one types it
    certificate: str
    planned: int
    statuses: Mapping[str, int]
    running: int
    experiment: str
    notes: Sequence[str]
    gaps: Sequence[str]
    following: Sequence[tuple[str, str]]
    found: Sequence[str]  # by the sampler
    fits: Sequence[FitResult]
    no_fits: str | None  # why there are none
    figures: Sequence[Drawing]
    not_drawn: Sequence[str]
    failures: Sequence[Failures]
    costs: Sequence[Cost]
    rest_s: float | None  # predicted for what is missing
    columns: Sequence[tuple[str, str, str]]
    launches: Sequence[Mapping[str, Any]]
    results: str = ""  # override that names the results folder where it is not the usual one
    decisions: Sequence[Mapping[str, Any]] = ()  # of ``until``, in order
    tables: Mapping[str, str] = field(default_factory=dict)  # of the fits, by format
