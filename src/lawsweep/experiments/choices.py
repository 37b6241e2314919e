"""The tables of sizes that decided how a row was computed, to decide once more."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any


def as_recorded(row: Mapping[str, Any], device: str) -> AbstractContextManager[None]:
    """Within it runs on ``device`` go by the tables that ``row`` names and its launch recorded.

    A row that names none, or was computed on a device of another kind, goes by stated ones; so does
    one whose table cannot be read, which then shows as another ``calibration``.
    """
    from lawsweep.kernels.base import devices
    from lawsweep.kernels.base.rates import Table

    known = _within(row, "launch", "hosts", str(row.get("host")), "calibrations")
    kind, found = device.partition(":")[0], {}
    for name in str(row.get("calibration") or "").split("+"):
        record = _within(known, name)
        if record.get("device") == kind:
            with suppress(ValueError):
                Table.from_record(record)
                found[name] = record
    return devices.forced(found)


def _within(record: Any, *names: str) -> Mapping[str, Any]:
    """What stands in a record, which may be anybody's; empty where that is no mapping."""
    for name in names:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record if isinstance(record, Mapping) else {}
