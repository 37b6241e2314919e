"""``lawsweep.checkpoint``: what a run calls to keep where it is, and to go on from there."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from typing import Any

from lawsweep.core.during.keeper import Keeper
from lawsweep.core.during.under_way import current
from lawsweep.core.outcome import RunSpec


class Checkpoint:
    """Where a run is, for its next attempt: ``lawsweep.checkpoint``."""

    def save(self, state: Any) -> bool:
        """Keep ``state``, and the files in ``folder()``, in place of what was kept before.

        ``state``: numpy arrays, torch tensors (they come back on the CPU), numbers, texts, bytes,
        None, and dicts, lists and tuples of them, 2 GiB at most.  Returns whether it could be
        written; where not, the run goes on.  Raises InvalidValueError for what cannot be kept.
        Outside a launch it is checked and no more.
        """
        return _keeper().save(state)

    def load(self) -> Any:
        """What ``save`` kept in an earlier attempt of this run; None: begin from the start.

        None too for what other code has kept, or what cannot be read: the row says so.
        """
        return _keeper().load()

    def folder(self) -> Path:
        """A folder for files that go with the state: empty, or after ``load`` as they were kept.

        They are kept by ``save``, and the folder goes with the run.
        """
        return _keeper().folder()

    def __repr__(self) -> str:
        return "lawsweep.checkpoint"


checkpoint = Checkpoint()


def _keeper() -> Keeper:
    here = current("checkpoint")
    return _outside() if here is None else here.keeper


@cache
def _outside() -> Keeper:
    """Of functions that are called by hand: keeps nothing, but has one folder."""
    keeper = Keeper(RunSpec(0, "", {}, 0))
    atexit.register(keeper.close)
    return keeper
