"""Runs that are computed at once: as many as a device has room for, and fewer where it has not."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from lawsweep.kernels.base import devices
from lawsweep.worker import ahead
from lawsweep.worker.cards import free_bytes as card_bytes
from lawsweep.worker.memory import is_out_of_memory, memory_share, release_memory

MOST_PIECES = 8  # of a batch whose draws overlap
# Of the host's free memory, for the draws of one batch: workers of other cards take theirs.
HOST_SHARE = 0.1
SHARE = 0.7  # of the free memory that runs may take together
Item = TypeVar("Item")


def most_at_once(bytes_a_run: float, device: Any, draws: float = 0.0) -> int | None:
    """How many runs that take so much each fit ``device`` at once, at least 1; None: all given.

    ``draws``: numbers that each draws on the host, where those of a batch, and of the next one, are
    held as float64 before they go to the device.  On a CPU whoever gave the runs counted them
    (``executor.max_fused``, a slot's memory).
    """
    if str(device).startswith("cpu"):
        return None
    room = SHARE * memory_share() * free_bytes(device)
    on_host = HOST_SHARE * free_bytes("cpu") if draws else math.inf
    fit = room // max(bytes_a_run, 1.0)
    return max(1, int(min(fit, on_host / max(8.0 * draws, 1.0))))


def free_bytes(device: Any) -> float:
    """What a run may take, whatever ran before in this process (``worker.cards.free_bytes``)."""
    import torch

    if torch.device(device).type == "cuda":
        return card_bytes(str(device))
    import psutil

    from lawsweep.kernels.base import workspace

    workspace.release()
    return float(psutil.virtual_memory().available)


def in_batches(
    runs: Sequence[Item],
    compute: Callable[[Sequence[Item]], Sequence[Any]],
    most: int | None,
    then: Sequence[Any] = (),
) -> list[Any]:
    """``compute`` of so many runs at a time, its answers in order.

    Where it runs out of memory the batch is halved, and so are those after it; a run that does so
    alone has the exception as its answer.  Other exceptions pass.  On a device the draws of a batch
    may be made while the one before computes (``worker.ahead.drawn_together``); ``then``: the runs
    that come after these.
    """
    answers: list[Any] = []
    size = len(runs) if most is None else most
    while len(answers) < len(runs):
        end = len(answers) + size
        some = runs[len(answers) : end]
        after: Sequence[Any] = runs[end : end + size] or then[:size]
        ahead.coming_batch(after)
        found = _tried(compute, some)
        if found is None:
            # Now that the exception and what its frames held are gone.
            release_memory()
            size = -(-len(some) // 2)
        else:
            answers += found
    return answers


def overlapping(work: Mapping[str, Any], n: int, most: int, device: Any) -> int:
    """A batch of ``n`` runs in such pieces that draws of one are made while another computes.

    ``work``: of a run, by kind (``Cost.work``).  Of n runs the draws take D, the device C, and each
    piece L to send its operations: k pieces take max(D, C) + min(D, C) / k + k L, least at
    k = sqrt(min(D, C) / L).  Rates are the device's (``kernels.base.rates``).
    """
    rates = devices.rates(device)
    seconds = {k: float(np.max(v)) for k, v in work.items()}
    draws = n * seconds.pop("draws", 0.0) / rates.draws
    sending = max(seconds.pop("launch", 0.0) * rates.launch, 1e-6)
    busy = n * sum(amount / getattr(rates, kind) for kind, amount in seconds.items())
    pieces = max(1, min(MOST_PIECES, int(math.sqrt(min(draws, busy) / sending))))
    return min(most, -(-n // pieces))


def _tried(
    compute: Callable[[Sequence[Item]], Sequence[Any]], some: Sequence[Item]
) -> Sequence[Any] | None:
    """None where there was no room for so many."""
    try:
        return compute(some)
    except Exception as failure:
        if not is_out_of_memory(failure):
            raise
        if len(some) > 1:
            return None
        traceback.clear_frames(failure.__traceback__)  # they hold what filled it
        return [failure]


def caught(compute: Callable[[], Any]) -> Any:
    """What ``compute`` returns, or the exception it raises: a member's failure is its own row.

    But not that memory ran out, or that a card failed: those are the batch's.
    """
    try:
        return compute()
    except Exception as error:
        if is_out_of_memory(error) or (isinstance(error, RuntimeError) and "CUDA" in str(error)):
            raise
        return error
