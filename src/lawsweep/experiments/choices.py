"""The tables of sizes that decided how a row was computed, to decide once more."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any


def as_recorded(row: Mapping[str, Any], device: str) -> AbstractContextManager[None]:
    """Within it runs on ``device`` go by the tables that ``row`` names and its launch recorded.

    A row that names none, or was computed on a device of another kind, goes by stated ones.
    """
    from lawsweep.kernels.base import devices

    hosts = (row.get("launch") or {}).get("hosts") or {}
    known = (hosts.get(row.get("host")) or {}).get("calibrations") or {}
    named = str(row.get("calibration") or "").split("+")
    kind = device.partition(":")[0]
    return devices.forced({k: known[k] for k in named if k in known and known[k]["device"] == kind})
