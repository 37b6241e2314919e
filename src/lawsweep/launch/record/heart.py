"""A launch's sign of life in the store, given by a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import LawsweepError
from lawsweep.launch.record.curves import Curves
from lawsweep.launch.report import Snapshot, Watcher, describe_snapshot
from lawsweep.worker.presence import RUNNING, presence

if TYPE_CHECKING:
    from lawsweep.store.sweeps.sweep_folder import SweepFolder

LIVE_S = 2.0  # how often a launch writes what it is at
N_REPORTED = 20  # runs whose latest report a sign has
END_S = 5.0  # how long a store that hangs is waited for at the end


class Heart:
    """Passes snapshots on, and writes the last one into the store every few seconds.

    By a thread, so that a launch gives signs of life while it waits for its store, or while a
    serial run takes an hour.  Inside its ``with``; the sign is gone after it.
    """

    def __init__(
        self,
        folder: SweepFolder,
        launch_id: str,
        facts: Mapping[str, Any],
        watcher: Watcher | None = None,
        curves: Curves | None = None,
    ):
        self._folder, self._launch_id, self._watcher = folder, launch_id, watcher
        self.curves = curves
        # In an object store each sign is a request that is paid for.
        self._every_s = LIVE_S if folder.folder.is_local else 4 * LIVE_S
        self._state: dict[str, Any] = {"running": 0, "rate": 0.0, "eta_s": None}
        self._facts = {
            **facts,
            **presence(),
            "launch_id": launch_id,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="lawsweep-heart", daemon=True)

    def __call__(self, snapshot: Snapshot) -> None:
        """Pass a snapshot on; it is what the next sign says."""
        if self._watcher is not None:
            self._watcher(snapshot)
        self._state = describe_snapshot(snapshot)

    def __enter__(self) -> Heart:
        """Give the first sign: raises StoreError where it cannot be written."""
        RUNNING.add(self._launch_id)
        try:
            self._beat()
        except BaseException:
            RUNNING.discard(self._launch_id)
            raise
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(END_S)
        RUNNING.discard(self._launch_id)
        self._folder.end_beat(self._launch_id)

    def _beat_on(self) -> None:
        wait_s = self._every_s
        while not self._stop.wait(wait_s):
            # After a failure less often: a store that does not answer need not be asked so much.
            wait_s = 5 * self._every_s
            with contextlib.suppress(LawsweepError):  # a missing sign of life ends no launch
                self._beat()
                wait_s = self._every_s

    def _beat(self) -> None:
        state = {**self._facts, "at": time.time(), **self._state}
        if self.curves is not None:
            self.curves.try_flush()  # a serial run of an hour comes to no other flush
            state["reported"] = self.curves.latest(N_REPORTED)
        self._folder.beat(self._launch_id, state)
