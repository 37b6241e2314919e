"""CUDA_VISIBLE_DEVICES: which GPUs a process may see, as CUDA reads it."""

from __future__ import annotations

import os
import re

from lawsweep.core.errors import InvalidValueError

VARIABLE = "CUDA_VISIBLE_DEVICES"
# A number, a UUID or the beginning of one.  Those of MIG slices are MIG-<uuid>, and
# MIG-GPU-<uuid>/<instance>/<instance> with drivers before 470.
_ENTRY = re.compile(
    r"\d+|GPU-[0-9a-fA-F-]+|MIG-(?:[0-9a-fA-F-]+|GPU-[0-9a-fA-F-]+/\d+/\d+)", re.ASCII
)
_NONE = ("", "NoDevFiles")  # the second is set by SLURM where a job asked for no GPU


def visible_cards(given: str | None = None) -> tuple[str, ...] | None:
    """The GPUs of this process in CUDA's order, as numbers or UUIDs; None: all that there are.

    ``given`` is the variable's value, by default that of this process.  CUDA ends the list at the
    first entry that names no GPU, ``-1`` by custom.  Raises InvalidValueError for what is no such
    list, of which CUDA would see nothing without a word, and for one that names a GPU twice.
    """
    given = os.environ.get(VARIABLE) if given is None else given
    if given is None:
        return None
    if given.strip() in _NONE:
        return ()
    found: list[str] = []
    for entry in (part.strip() for part in given.split(",")):
        if re.fullmatch(r"-\d+", entry, re.ASCII):
            break
        if not _ENTRY.fullmatch(entry):
            raise InvalidValueError(
                f"{VARIABLE} must be numbers (0,1) or UUIDs (GPU-..., MIG-...) with commas between "
                f"them, -1 or empty for none, got {given!r}. Set it anew, or unset it."
            )
        if entry in found:
            raise InvalidValueError(
                f"{VARIABLE}={given!r} names {entry} twice, and CUDA sees no GPU by it. Name it "
                "once; several workers share a GPU by executor.gpus_per_task."
            )
        found.append(entry)
    return tuple(found)


def n_slices() -> int | None:
    """How many MIG slices this process may see; None where it is not limited to such.

    A process computes on one of them, the first.
    """
    found = visible_cards()
    slices = [entry for entry in found or () if entry.startswith("MIG-")]
    return len(slices) or None


def check_visible(device: str) -> None:
    """Raise InvalidValueError where ``cuda`` or ``cuda:N`` is none of the GPUs that are seen."""
    found = visible_cards() if device.startswith("cuda") else None
    if found is None:
        return
    place = int(device.partition(":")[2] or 0)
    if n_slices():
        found = found[:1]
    if place >= len(found):
        seen = f"{len(found)} GPU{'' if len(found) == 1 else 's'}" if found else "no GPU"
        last = f", cuda:0{f' to cuda:{len(found) - 1}' if len(found) > 1 else ''}" if found else ""
        raise InvalidValueError(
            f"executor.device={device} is not there: {VARIABLE}={os.environ[VARIABLE]!r} shows "
            f"this process {seen}{last}. Use one of these, or unset the variable."
        )
