"""Where a person types: a launch there needs no Ray unless it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from lawsweep.executors.make import DEFAULT, make_executor
from lawsweep.grid.sweep import Sweep


class Waited(Protocol):
    """What is under way, and can be waited for and cancelled."""

    def wait(self) -> object:
        """Return, or raise, when it has ended."""

    def cancel(self) -> None:
        """End it soon."""


def say(text: str) -> None:
    """Tell whoever started a launch."""
    print(f"lawsweep: {text}", file=sys.stderr, flush=True)


def is_typed() -> bool:
    """Whether a person types into this process: a notebook, IPython, or Python's own prompt."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return hasattr(sys, "ps1") or shell() is not None


def choose_executor(sweep: Sweep, given: str | Mapping[str, Any] | None) -> str | Mapping[str, Any]:
    """``given``, else the sweep's; where a person types and nobody chose one, processes of this
    machine, and says so.
    """
    if given is not None:
        return given
    own = make_executor(sweep.executor)
    chosen = own.name != DEFAULT or own.options != own.Options()
    chosen = chosen or any(o.lstrip("+~").startswith("executor") for o in sweep.overrides)
    if chosen or not is_typed():
        return sweep.executor
    say(
        "runs go to processes of this machine, which needs no Ray; executor='serial' keeps them "
        f"in this one, {DEFAULT!r} and 'ray_cluster' ask for Ray"
    )
    return "processes"


async def awaited(launch: Waited) -> Any:
    """What ``wait`` returns, waited for in a thread; where the waiting is cancelled it is too."""
    import asyncio

    try:
        return await asyncio.to_thread(launch.wait)
    except asyncio.CancelledError:
        launch.cancel()
        raise
