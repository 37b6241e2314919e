"""What a worker has finished is told while its next run takes long.

A task's outcomes stream back by its generator, which stands still while a run computes.  So a
thread of the worker leaves copies of what waits with Ray's head (its key-value store), under a
name of the launch's, where the launch looks now and then.  They come by the generator too: whatever
is lost here is told a little later.  What a run reports of its curve is left there by the run
itself, and does not come again: it is looked for before outcomes are handed on.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lawsweep.core.during.under_way import stop_run
from lawsweep.core.outcome import Event, Outcome, Task, Told
from lawsweep.worker.reporting import EARLY_S, Early

MOST_BYTES = 2**20  # of outcomes that are left there at once; larger ones wait
LOOK_S = 1.0


def _store() -> Any:
    from ray.experimental import internal_kv

    return internal_kv


def _stop_key(place: str) -> bytes:
    """Where the launch says that a run of a task is to stop."""
    return place.replace(".early.", ".stop.", 1).encode()


def teller(place: str) -> Early | None:
    """Leaves outcomes, and what a run tells, at a place: ``EarlyNews.place`` of the task.

    None for no place.
    """
    numbers = itertools.count()

    def tell(news: tuple[Outcome, ...] | Told) -> None:
        packed = pickle.dumps(news, protocol=pickle.HIGHEST_PROTOCOL)
        if len(packed) <= MOST_BYTES or isinstance(news, Told):
            _store()._internal_kv_put(f"{place}.{next(numbers)}".encode(), packed)
        if isinstance(news, Told) and (asked := _store()._internal_kv_get(_stop_key(place))):
            stop_run(*pickle.loads(asked))

    return tell if place else None


class EarlyNews:
    """The launch's side: looks at the places of its tasks that have been silent.

    ``reachable`` says whether Ray's head can be asked: where it is gone, a call to its store stands
    for a minute, and Ray ends this process then.
    """

    def __init__(self, reachable: Callable[[], bool]) -> None:
        self._reachable = reachable
        self._name = f"lawsweep.early.{secrets.token_hex(8)}"
        self._looked, self._used = time.monotonic(), False

    def place(self, task: Task) -> str:
        """Where a task leaves what it has finished, and what its runs tell."""
        self._used = True
        return f"{self._name}.{task.id}"

    def before(self, events: list[Event]) -> list[Event]:
        """These events, after what runs that have ended told before they did."""
        if any(e.lost or any(o.curve for o in e.outcomes) for e in events):
            return [*self.look((), at_once=True), *events]
        return events

    def look(self, tasks: Iterable[Task], *, at_once: bool = False) -> Iterator[Event]:
        """What was left by then; now and then, and never an error: outcomes come again.

        But that the head is gone is one.
        """
        now = time.monotonic()
        if not self._used or (now - self._looked < max(LOOK_S, EARLY_S) and not at_once):
            return
        self._looked = now
        if not self._reachable():
            return
        known = {task.id for task in tasks}
        with contextlib.suppress(Exception):
            store = _store()
            keys = store._internal_kv_list(f"{self._name}.".encode())
            for key in sorted(keys, key=lambda key: int(key.rpartition(b".")[2])):  # as they came
                packed = store._internal_kv_get(key)
                store._internal_kv_del(key)
                task_id = int(key.decode().split(".")[3])
                news = () if packed is None else pickle.loads(packed)
                if isinstance(news, Told):
                    yield Event(task_id, told=news)
                elif news and task_id in known:
                    yield Event(task_id, news)

    def stop_run(self, task_id: int, run: int, why: str) -> None:
        """Have a run under way find, when it tells next, that it is to stop."""
        if self._reachable():
            with contextlib.suppress(Exception):
                key = _stop_key(f"{self._name}.{task_id}")
                _store()._internal_kv_put(key, pickle.dumps((run, why)))

    def close(self) -> None:
        """Leave nothing behind on a Ray that goes on."""
        if self._used:
            with contextlib.suppress(Exception):
                names = f"{self._name}."
                for prefix in (names.encode(), _stop_key(names)):
                    _store()._internal_kv_del(prefix, del_by_prefix=True)
