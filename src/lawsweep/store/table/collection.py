"""Python's cyclic garbage collector, kept from looking through what is certain to stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection while a million small tuples are made: it would double the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def set_aside() -> Iterator[None]:
    """What there is now stays for the whole context, so no collection within looks through it.

    For a launch: the plan of a million runs is there from its first task to its last row.  Where
    the caller has set objects aside (``gc.freeze``) nothing is done: leaving would undo that.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
