"""Why this process may round otherwise than the one that a row was computed in."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from typing import Any

from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Outcome
from lawsweep.launch.record.provenance import circumstances
from lawsweep.worker.execute import n_threads

IMPORTED = "imported"  # the device of a row that was computed elsewhere and imported
_COMPUTES = ("numpy", "torch", "scipy")


@functools.cache
def here(experiment: Experiment) -> Mapping[str, Any]:
    """The circumstances of this process, as a launch would record them."""
    return circumstances(experiment)


def other_circumstances(
    row: Mapping[str, Any], experiment: Experiment, now: Outcome, device: str
) -> list[str]:
    """What differs between a row with its ``launch`` and ``now``, its run done again on ``device``.

    Empty where nothing may round otherwise.
    """
    launch = row.get("launch")
    if row["device"] == IMPORTED:
        return ["the row was imported"]
    if launch is None:
        return ["the record of its launch is missing"]
    why = []
    if _kind(device) != _kind(row["device"]):
        why.append(f"device {row['device']} then, {device} now")
    if n_threads() != row["n_threads"]:
        why.append(f"{row['n_threads']} threads then, {n_threads()} now")
    why += _libraries(row, now)
    for name in _COMPUTES:
        then, used = (
            (launch.get("packages") or {}).get(name),
            here(experiment)["packages"].get(name),
        )
        if then != used:
            why.append(f"{name} {then} then, {used} now")
    why += _processor(row, launch, experiment)
    n_fused = row.get("n_fused")
    if n_fused is not None and n_fused > 1:
        why.append(f"computed with {n_fused - 1} others at once (a fused run)")
    elif (
        n_fused is None
        and experiment.fused is not None
        and (launch.get("executor") or {}).get("fuse") is not False
    ):
        why.append("it may have been computed with others at once (a fused run)")
    return why


def _libraries(row: Mapping[str, Any], now: Outcome) -> list[str]:
    """Another BLAS or other instructions; both null in rows that are older than these columns.

    They are torch's where torch was loaded, by the run or by chance, else numpy's: where that
    differs the run cannot have used torch, and nothing is known of its numpy.
    """
    of = [str(x).partition(" ")[0] for x in (row.get("instruction_set"), now.instruction_set)]
    if of[0] != of[1]:
        return []
    pairs = [(n, row.get(n), getattr(now, n)) for n in ("blas", "instruction_set", "calibration")]
    return [f"{n} {then} then, {used} now" for n, then, used in pairs if then != used]


def _processor(
    row: Mapping[str, Any], launch: Mapping[str, Any], experiment: Experiment
) -> list[str]:
    driver, now = launch.get("hardware") or {}, platform.node()
    known = {driver.get("host"): driver, **(launch.get("hosts") or {})}
    if row["host"] not in known:
        gone = [f"computed on {row['host']}, whose processor is not recorded"]
        return [] if row["host"] == now else gone
    processor = known[row["host"]].get("processor")
    today = here(experiment)["hardware"]["processor"]
    return [] if processor == today else [f"processor {processor} then, {today} now"]


def _kind(device: str) -> str:
    return device.partition(":")[0]
