"""A GPU that fails a run: told from the run's own failures by what CUDA says, and by asking it.

Some errors leave a process in a state in which every later CUDA call gives the same error ("the
process must be terminated and relaunched", as the CUDA runtime's list of errors has it): a
device-side assert, an illegal access, a memory error that ECC cannot correct.  After them the
worker is to be replaced, and the run says little: it may be its own doing, or the card's.

Memory that others hold on the card is a third thing: the same run fits elsewhere.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import Mishap
from lawsweep.worker.memory import is_out_of_memory
from lawsweep.worker.visible import VARIABLE, visible_cards

# What the CUDA runtime says of errors after which a process is of no more use, and of cards that
# cannot be had (cudaGetErrorString; the numbers of cudaError are 46, 100, 214 to 226, 700 to 721,
# 802 to 809 and 999).  What says CUDA and none of this (an invalid argument, say) is the run's own.
_POISON = re.compile(
    r"uncorrectable ECC|uncorrectable NVLink|over nvlink or a hardware error|illegal memory access"
    r"|launch timed out|context is destroyed|device-side assert|hardware stack error"
    r"|illegal instruction|misaligned address|global/shared address space|invalid program counter"
    r"|unspecified launch failure|busy or unavailable|no CUDA-capable device|CUDA error: unknown"
    r"|system not yet initialized|MPS (?:client|server)|GPU_IS_LOST"
)
# Likewise for libraries on top of it: their handles live in the context.
_HANDLE = re.compile(
    r"(?:CUBLAS|CUSOLVER|CUDNN|CUSPARSE|CUFFT|CURAND)_(?:STATUS_)?"
    r"(?:NOT_INITIALIZED|INTERNAL_ERROR|EXECUTION_FAILED|MAPPING_ERROR|LAUNCH_FAILURE"
    r"|INITIALIZATION_FAILED|SETUP_FAILED|EXEC_FAILED)|NCCL Error|NCCL error"
)
_CUDA = re.compile(r"CUDA|NVML|MPS ")
HANDLE_BYTES = 2.0**26  # a library's handle and its workspace: with less free, that was what lacked
# Of what a card says it has, what no run can have beside others: contexts, and rounding of shares.
SLACK = 0.02
CARD_MARGIN = 1.25  # what torch's allocator keeps, over what runs hold.  Unverified on a card.
MAX_CHAIN = 8  # exceptions of one chain that are looked at


class CardMemory(NamedTuple):
    """Bytes of a card: in all, free, held by this process, and (0: not known) asked for in vain."""

    total: float
    free: float
    own: float
    wanted: float = 0.0


# As in memory.py: a process executes one run at a time, so a plain stack of (name, share).
_places: list[tuple[str, float]] = []
_bound: list[str | None] = []  # CUDA_VISIBLE_DEVICES when this process first used CUDA


@contextmanager
def placed(name: str, share: float = 1.0) -> Iterator[None]:
    """Within the context runs are on the card of this name, with ``share`` of its memory."""
    _places.append((name, share))
    try:
        yield
    finally:
        _places.pop()


def card_share() -> float:
    """The part of its card's memory that a run may count on."""
    return _places[-1][1] if _places else 1.0


def card_name(device: str) -> str:
    """The card that runs on ``device`` are on: ``GPU 2 of node-7``; empty where there is none."""
    if _places:
        return _places[-1][0]
    if not device.startswith("cuda"):
        return ""
    place, seen = int(device.partition(":")[2] or 0), None
    with suppress(InvalidValueError):
        seen = visible_cards()
    number = seen[place] if seen and place < len(seen) else place
    return f"GPU {number} of {platform.node()}"


def bind() -> bool:
    """Whether what this process sees is what it saw when it first used CUDA, if it has.

    CUDA reads CUDA_VISIBLE_DEVICES once: a worker that is handed another GPU later would go on
    with the first one.
    """
    now = os.environ.get(VARIABLE)
    if not _bound:
        if _ready("cuda") is not None:
            _bound.append(now)
        return True
    return _bound[0] == now


def settle(device: str) -> None:
    """Wait for what a run has left on its card: what fails there fails in this run, not the next.

    Raises what torch raises.
    """
    cuda = _ready(device)
    if cuda is not None:
        cuda.synchronize(device)


def usable(device: str) -> bool:
    """Whether the card still computes for this process; True where there is none in use."""
    cuda = _ready(device)
    if cuda is None:
        return True
    try:
        cuda.synchronize(device)
        sys.modules["torch"].zeros(1, device=device).add_(1).item()
    except Exception as failure:  # noqa: BLE001  (no room says nothing of the card)
        return is_out_of_memory(failure)
    return True


def free_bytes(device: str) -> float:
    """What runs of this process may take of a card, whatever ran before in it.

    Not free to others, but free to it: the blocks that torch keeps of what a run has let go.  Of a
    card that workers share, no more than its part.  torch is loaded by who asks.
    """
    cuda = sys.modules["torch"].cuda
    own = cuda.memory_allocated(device)
    kept = cuda.memory_reserved(device) - own
    free, total = cuda.mem_get_info(device)
    return float(min(free + kept, card_share() * total - own))


def name_of(device: str) -> str | None:
    """The model of the card, as torch tells it; None where there is none in use."""
    cuda = _ready(device)
    with suppress(Exception):  # a card in a bad state
        return None if cuda is None else str(cuda.get_device_name(device))
    return None


def reset_peak(device: str) -> None:
    """Begin to measure what a run holds on its card."""
    cuda = _ready(device)
    with suppress(Exception):
        if cuda is not None:
            cuda.reset_peak_memory_stats(device)


def peak_bytes(device: str) -> int | None:
    """What torch held on the card at most since the reset, for tensors."""
    cuda = _ready(device)
    with suppress(Exception):
        return None if cuda is None else int(cuda.max_memory_allocated(device))
    return None


def befell(failure: Exception, device: str) -> Mishap | None:
    """What of a failure is the card's or a neighbour's, as far as it can be told; None for nothing.

    ``card``: this process cannot go on with it.  ``neighbour``: others held the memory that the
    run lacked, of what it may count on.
    """
    told = _texts(failure)
    said = next(filter(None, map(_says_lost, told)), None)
    if isinstance(failure, MemoryError):  # the host's
        return None
    if is_out_of_memory(failure) or (said and _HANDLE.search(said) and _no_room(device)):
        found = _memory(told[0], device)
        crowd = None if found is None else crowded(found, card_share())
        return None if crowd is None else Mishap("neighbour", card_name(device), crowd)
    if said is None and usable(device):
        return None
    detail = said or f"it does not answer after {type(failure).__name__}"
    return Mishap("card", card_name(device), detail)


def crowded(found: CardMemory, share: float) -> str | None:
    """Who held the memory, where a run would have fit into what it may count on; else None.

    That is its share of the card.  Where what it asked for is not known: others hold more than
    theirs, and it holds less than its own.
    """
    mine = (1.0 - SLACK) * share * found.total
    others = max(0.0, found.total - found.free - found.own)
    if found.wanted:
        fits = found.own + found.wanted <= mine
    else:
        fits = found.own < mine and others > (1.0 - share + SLACK) * found.total
    if not fits or not others:
        return None
    return (
        f"others held {others / 2**30:.3g} GiB of the card's {found.total / 2**30:.3g}, "
        f"this worker {found.own / 2**30:.3g}"
    )


def _ready(device: str) -> Any:
    """torch.cuda where the device is CUDA's and this process has begun to use it; else None."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not device.startswith("cuda"):
        return None
    return cuda if cuda.is_initialized() else None


def _texts(failure: BaseException | None) -> list[str]:
    """What the exceptions of a chain say, the last one first: experiments wrap what they catch."""
    told: list[str] = []
    seen: set[int] = set()
    while failure is not None and id(failure) not in seen and len(told) < MAX_CHAIN:
        seen.add(id(failure))
        try:
            told.append(str(failure))
        except Exception:  # noqa: BLE001  (a message that cannot be read)
            told.append("")
        failure = failure.__cause__ or failure.__context__
    return told


def _says_lost(text: str) -> str | None:
    """The line that says so."""
    for line in text.splitlines():
        if _HANDLE.search(line) or (_CUDA.search(line) and _POISON.search(line)):
            return line.strip()
    return None


def _no_room(device: str) -> bool:
    found = _memory("", device)
    return found is not None and found.free < HANDLE_BYTES


_SIZE = r"([\d.]+) ?(bytes|[KMGT]iB)"
_UNITS = {"bytes": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}
_TOLD = {
    "wanted": re.compile(f"Tried to allocate {_SIZE}"),
    "total": re.compile(f"total capacity of {_SIZE}"),
    "free": re.compile(f"of which {_SIZE} is free"),
    "own": re.compile(f"this process has {_SIZE} memory in use"),
}


def _memory(text: str, device: str) -> CardMemory | None:
    """By torch's own sentence, which is of the moment that it failed; else by asking now."""
    found = {
        name: float(m[1]) * _UNITS[m[2]] for name, rule in _TOLD.items() if (m := rule.search(text))
    }
    if found.keys() == _TOLD.keys():
        return CardMemory(**found)
    cuda = _ready(device)
    if cuda is None:
        return None
    try:
        free, total = cuda.mem_get_info(device)
        own = cuda.memory_reserved(device)
    except Exception:  # noqa: BLE001  (a card in a bad state: not known)
        return None
    return CardMemory(float(total), float(free), float(own), found.get("wanted", 0.0))
