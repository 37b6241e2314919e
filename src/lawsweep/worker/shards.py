"""The seam for a run that is larger than one worker: rows of a problem, spread over shards.

An experiment asks for the pool of where it runs and opens shards in it::

    with current().open(make) as shards:
        answers = shards.each("method", argument)

``make(index, n_shards)`` builds shard ``index`` where it will live: a picklable callable.  Without
anything installed the pool is this process and one shard.  An executor that can do more installs
its own pool around a run (``executors.ray.sharded``); the experiment does not know which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

Maker = Callable[[int, int], Any]


class ShardLostError(BaseException):
    """A process that held a shard is gone, and with it the run's state.

    No Exception: it is not the experiment's own failure.  It ends the worker's task, so that the
    runner takes the run for lost and tries it again elsewhere, as with a lost worker.
    """


class Shards(Protocol):
    """Open shards of one problem.

    ``in_process``: whether all are in this process, on one device; what they answer may stay there.
    ``meet_at``: the address of the first one's machine where they are to add up large answers among
    themselves (``kernels.base.collective``), empty where that goes by way of who asks.
    """

    in_process: bool
    meet_at: str

    def each(self, method: str, *args: Any) -> list[Any]:
        """Call ``method(*args)`` on every shard; the answers in the order of the shards."""


class ShardPool(Protocol):
    """Where shards can be opened."""

    n_shards: int

    def open(self, make: Maker) -> AbstractContextManager[Shards]:
        """Build the shards; they end with the context.

        Raises what ``make`` raises, ExecutorError where there is no room, ShardLostError.
        """


class Here:
    """Shards in this process, one after the other."""

    in_process = True
    meet_at = ""

    def __init__(self, shards: list[Any]):
        self._shards = shards

    def each(self, method: str, *args: Any) -> list[Any]:
        """Call ``method(*args)`` on every shard."""
        return [getattr(shard, method)(*args) for shard in self._shards]


class HerePool:
    """The pool of this process."""

    def __init__(self, n_shards: int = 1):
        if n_shards < 1:
            raise ValueError(f"n_shards must be at least 1, got {n_shards}")
        self.n_shards = n_shards

    @contextmanager
    def open(self, make: Maker) -> Iterator[Here]:
        """Build the shards here."""
        yield Here([make(index, self.n_shards) for index in range(self.n_shards)])


# A process executes one run at a time, and a generator of outcomes may be resumed in another
# context: a plain stack, no context variable.
_pools: list[ShardPool] = []


def current() -> ShardPool:
    """The pool installed last, or this process with one shard."""
    return _pools[-1] if _pools else HerePool()


@contextmanager
def installed(pool: ShardPool) -> Iterator[None]:
    """Make ``pool`` the current one within the context."""
    _pools.append(pool)
    try:
        yield
    finally:
        _pools.remove(pool)
