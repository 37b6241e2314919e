"""Which of a sweep's rows a person means: by conditions, by run ids, by statuses."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError, UnknownNameError, unknown_name
from lawsweep.core.outcome import STATUSES

if TYPE_CHECKING:
    import pandas as pd

    from lawsweep.study.opening import Opened


@dataclass(frozen=True)
class Asked:
    """What rows are to have: every one of ``where``, one of ``statuses``, one of ``run_ids``.

    Conditions are over the columns of the tidy frame, and mean what they mean in a fit's ``where``.
    Raises InvalidValueError where nothing is asked for: all rows are never meant by silence.
    """

    where: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.where or self.run_ids or self.statuses):
            raise InvalidValueError(
                "No rows are named. Say which rows: --where 'width > 64', --status failed or "
                "--run-id d3c2baa0 (in Python where=, status=, run_ids=); rerun also takes "
                "--failed."
            )
        for status in self.statuses:
            if status not in STATUSES:
                raise unknown_name("status", status, STATUSES)

    @property
    def typed(self) -> str:
        """As options of a verb."""
        words = [("--where", self.where), ("--status", self.statuses), ("--run-id", self.run_ids)]
        return shlex.join(word for option, given in words for text in given
                          for word in (option, text))  # fmt: skip

    def __str__(self) -> str:
        told = [f"where {text}" for text in self.where]
        told += [f"status {' or '.join(self.statuses)}"] if self.statuses else []
        told += [f"run id {' or '.join(self.run_ids)}"] if self.run_ids else []
        return ", ".join(told)


def asked(
    where: str | Sequence[str] | None = None,
    run_ids: str | Sequence[str] | None = None,
    status: str | Sequence[str] | None = None,
) -> Asked:
    """What a caller says, each as one text or several."""
    return Asked(_several(where), _several(run_ids), _several(status))


def _several(given: str | Sequence[str] | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


@dataclass(frozen=True)
class Rows:
    """Rows that were meant: ``places`` of their runs in the plan, and the rows that count."""

    asked: Asked
    places: tuple[int, ...]
    run_ids: tuple[str, ...]
    statuses: Mapping[str, int]
    wall_s: float  # that the rows took

    @property
    def counts(self) -> str:
        """``12 rows (10 ok, 2 failed)``."""
        n = len(self.places)
        told = ", ".join(f"{k:,} {s}" for s, k in self.statuses.items())
        return f"{n:,} row{'' if n == 1 else 's'}" + (f" ({told})" if told else "")

    def to_dict(self) -> dict[str, Any]:
        """Counts, and what was asked for."""
        return {
            "asked": str(self.asked),
            "n_runs": len(self.places),
            "statuses": dict(self.statuses),
            "wall_s": self.wall_s,
        }


def choose(opened: Opened, wanted: Asked) -> Rows:
    """The rows of the sweep that are meant, in plan order; a run without a row has none.

    Raises UnknownNameError for a column or run id that is none, InvalidValueError for what is no
    condition.
    """
    import numpy as np

    from lawsweep.analysis.frames import Columns
    from lawsweep.study.reading.rows import frame

    tidy = frame(opened)
    columns = Columns(tidy)
    status = tidy["status"].to_numpy(dtype=object)
    keep = status != "missing"
    for text in wanted.where:
        within = np.zeros(len(tidy), dtype=bool)
        within[columns.where(text, "--where")] = True
        keep &= within
    if wanted.statuses:
        keep &= np.isin(status.astype(str), wanted.statuses)
    if wanted.run_ids:
        keep &= _named(tidy, status != "missing", wanted.run_ids)
    found = tidy[keep]
    ids = [str(r) for r in found["run_id"]]
    place = {run_id: i for i, run_id in enumerate(opened.plan.run_ids)}
    return Rows(
        wanted,
        tuple(place[r] for r in ids),
        tuple(ids),
        dict(Counter(map(str, found["status"])).most_common()),
        float(found["wall_s"].fillna(0.0).sum()),
    )


def _named(tidy: pd.DataFrame, there: Any, run_ids: Sequence[str]) -> Any:
    """Which rows have one of the run ids, each whole or a beginning that no other row has."""
    ids = tidy["run_id"].astype(str)
    found = ids != ids
    for text in run_ids:
        start = text.strip().lower()
        hits = (ids.str.startswith(start) if start else found) & there
        n = int(hits.sum())
        if n == 0:
            raise UnknownNameError(
                f"No row of the sweep has a run id that begins with {text!r}. lawsweep export "
                "lists them."
            )
        if n > 1:
            raise InvalidValueError(
                f"{n} runs of the sweep begin with {text!r}. Give more digits of the run id."
            )
        found |= hits
    return found.to_numpy(dtype=bool)
