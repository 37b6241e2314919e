"""Rows that other code made: found by the code that each launch recorded."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lawsweep.core.code.source import OtherCode
from lawsweep.study.opening import Opened

SHOWN = 4  # files that a sentence names


@dataclass(frozen=True)
class OtherRows:
    """How many rows of a sweep other code made, and which files say something else since."""

    experiment: str
    version: int
    n_rows: int
    n_of: int
    files: tuple[str, ...]

    def __str__(self) -> str:
        named = ", ".join(self.files[:SHOWN])
        more = f" and {len(self.files) - SHOWN} more" if len(self.files) > SHOWN else ""
        return (
            f"{self.n_rows:,} of {self.n_of:,} rows were made by other code of {self.experiment} "
            f"than today's (changed since: {named}{more}). They count as done: where the change "
            f"alters what is computed, raise its version (now {self.version})"
        )


def other_rows(opened: Opened) -> OtherRows | None:
    """Rows of the sweep that code other than today's made; None where there are none.

    Rows whose launch does not say which code it ran (older ones, imports) are not counted.
    """
    if hasattr(opened.plan.experiment.function, "cannot_run"):
        return None  # today's code is not at hand
    ids = opened.known.keys["launch_id"].to_pylist()
    changed = _changed(opened, set(ids) - {None})
    counts = Counter(i for i in ids if i in changed)
    if not counts:
        return None
    files = tuple(sorted({f for i in counts for f in changed[str(i)]}))
    experiment = opened.plan.experiment
    return OtherRows(experiment.name, experiment.version, counts.total(), len(ids), files)


def _changed(opened: Opened, launches: set[str]) -> dict[str, tuple[str, ...]]:
    """Those of the launches that ran other code, and the files that differ."""
    from lawsweep.store.sweeps.sweep_folder import find_launches

    compare = OtherCode(opened.plan.experiment)
    records = find_launches(opened.sweep.results, launches)
    found = {i: compare.changed(_code(record)) for i, record in records.items()}
    return {i: files for i, files in found.items() if files}


def _code(record: Mapping[str, Any]) -> Mapping[str, Any]:
    code = record.get("code")
    return code if isinstance(code, Mapping) else {}


def tell_other_rows(opened: Opened) -> None:
    """Warn of rows that other code made."""
    from lawsweep.store.sweeps.skipping import OtherCodeWarning

    if (found := other_rows(opened)) is not None:
        warnings.warn(str(found), OtherCodeWarning, stacklevel=3)
