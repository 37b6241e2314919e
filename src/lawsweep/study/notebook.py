"""Where a person types: a launch there needs no Ray unless it is asked for."""

from __future__ import annotations

import sys
import threading
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


class Watched(Protocol):
    """What can be looked at while it is under way."""

    def _repr_html_(self) -> str: ...

    def ended(self, timeout_s: float) -> bool:
        """Whether it has ended, waited for so long at most."""


REDRAWN_S = 1.0


def redraw(launch: Watched) -> None:
    """Show it in the cell, drawn again every ``REDRAWN_S`` until it has ended.

    Raises NotImplementedError where there is no notebook: IPython then shows its text.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):  # a terminal has no output that can be drawn again
        raise NotImplementedError
    from IPython.display import display

    def drawn() -> dict[str, str]:
        return {"text/html": launch._repr_html_(), "text/plain": repr(launch)}

    handle = display(drawn(), raw=True, display_id=True)

    def follow() -> None:
        over = False
        while not over:
            over = launch.ended(REDRAWN_S)
            handle.update(drawn(), raw=True)

    threading.Thread(target=follow, name="lawsweep-notebook", daemon=True).start()


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
