"""How a worker of a Ray that was there before gets its environment: with the function it runs.

Asking Ray for it (a ``runtime_env``) has an agent on the node prepare it and the worker start
anew, a third of a second before the first run begins.  What a worker of ours needs is but a few
variables and folders to import from.  They have to be there before a numerical library is loaded,
which Ray itself does with a task's arguments; so they are set as soon as the function arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def booted(variables: Mapping[str, str], experiment: bytes) -> Callable[..., Iterator[Any]]:
    """``run_batch`` of the packed experiment for ``ray.remote``: takes its other arguments packed.

    Where the variables came too late, because the worker had loaded a library already, it yields
    None and does nothing.  It is a closure, which travels by its code: a worker may find this
    package only in the folders that come with it.

    The experiment is part of it, and no object in Ray's store: a driver whose node's raylet dies
    is ended by Ray itself, without a word, where it owns one.
    """
    arrived = _Arriving(variables)
    threads = {name: value for name, value in variables.items() if name != "PYTHONPATH"}

    def boot(task: bytes) -> Iterator[Any]:
        import os
        import pickle

        if not arrived:
            yield None
            return
        # Ray sets OMP_NUM_THREADS anew for each task, from the CPUs that it holds.
        os.environ.update(threads)
        from lawsweep.executors.ray.worker import run_batch

        yield from run_batch(pickle.loads(experiment), *pickle.loads(task))

    return boot


class _Arriving:
    """Variables; where it is unpickled they are set, and it is whether that was in time."""

    def __init__(self, variables: Mapping[str, str]):
        self._variables = dict(variables)

    def __reduce__(self) -> tuple[Callable[..., bool], tuple[dict[str, str]]]:
        return _setter(), (self._variables,)


def _setter() -> Callable[[dict[str, str]], bool]:
    def set_environment(variables: dict[str, str]) -> bool:
        """Set what differs; False, and nothing, where that would be too late."""
        import os
        import sys

        folders = [f for f in variables.get("PYTHONPATH", "").split(os.pathsep) if f]
        threads = {n: v for n, v in variables.items() if n != "PYTHONPATH"}
        if any(os.environ.get(n) != v for n, v in threads.items()):
            if "numpy" in sys.modules or "torch" in sys.modules:
                return False
            os.environ.update(threads)
        if folders:
            # A task may start processes of its own, and they import as it does.
            theirs = os.environ.get("PYTHONPATH", "").split(os.pathsep)
            both = dict.fromkeys([*folders, *(f for f in theirs if f)])
            os.environ["PYTHONPATH"] = os.pathsep.join(both)
            sys.path[:] = [*folders, *(f for f in sys.path if f not in folders)]
        return True

    return set_environment
