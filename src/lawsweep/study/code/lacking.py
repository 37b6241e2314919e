"""Metrics that came since rows were made: which rows have none, and how to have them of all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lawsweep.study.code.rows import code_of_rows, other_rows, settle_words
from lawsweep.study.opening import Opened

if TYPE_CHECKING:
    import pyarrow as pa


def lacking(opened: Opened, rows: pa.Table | None = None) -> Mapping[str, list[int]]:
    """Metrics that came since and successful rows lack: the places of these rows.

    Those that every run gives today.  Of an experiment that learns its metrics from what it
    returns: those that some row of today's code has and rows of other code lack.  Arrays are not
    looked at: whether a row has one, `lawsweep verify` says.  Imported rows have what came with
    them.
    """
    experiment, known = opened.plan.experiment, opened.known
    needed = [m.name for m in experiment.metrics if experiment.learns or not m.optional]
    if not needed or not opened.done:
        return {}
    others: set[int] | None = None  # of the rows that may lack one; None: any
    if experiment.learns:
        others = {place for other in code_of_rows(opened).others for place in other.places}
        if not others:
            return {}
    if rows is None:
        rows = known.whole if "whole" in vars(known) else known.table.read(
            opened.plan.run_ids, ["device", *needed]
        )  # fmt: skip
    facts = zip(rows["status"].to_pylist(), rows["device"].to_pylist(), strict=True)
    ok = [status == "ok" and device != "imported" for status, device in facts]
    place_of = {run_id: i for i, run_id in enumerate(opened.plan.run_ids)}
    ids = rows["run_id"].to_pylist()
    found: dict[str, list[int]] = {}
    for name in needed:
        if not rows[name].null_count:
            continue
        nulls = rows[name].is_null().to_pylist()
        good = [(place_of[i], null) for i, null, is_ok in zip(ids, nulls, ok, strict=True) if is_ok]
        if others is not None and all(null for place, null in good if place not in others):
            continue
        places = [place for place, null in good if null and (others is None or place in others)]
        found |= {name: places} if places else {}
    return found


def lacking_notes(opened: Opened, rows: pa.Table | None = None) -> Iterator[str]:
    """A sentence for each such metric: how many rows lack it, and what gives it to all.

    Without ``rows`` they are looked at only where a part of the table has no such column.
    """
    learns = opened.plan.experiment.learns
    if rows is None and not learns and not opened.table.lacks_metrics():
        return
    for name, places in lacking(opened, rows).items():
        yield (
            f"{len(places):,} of {len(opened.done):,} rows lack the metric {name}, which came "
            f"since: they count as done. {settle_words(opened)['recompute']} runs them again"
        )


def code_notes(opened: Opened) -> Iterator[str]:
    """What to tell of rows by other code, and of those without a metric that came since."""
    if (other := other_rows(opened)) is not None:
        yield str(other)
    yield from lacking_notes(opened)


def tell_lacking(opened: Opened, rows: pa.Table | None = None) -> None:
    """Warn of rows that lack a metric of today."""
    from lawsweep.store.sweeps.skipping import OtherCodeWarning

    for note in lacking_notes(opened, rows):
        warnings.warn(note, OtherCodeWarning, stacklevel=3)
