"""The hosts that computed, in the record of a launch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import LawsweepError

if TYPE_CHECKING:
    from lawsweep.store.sweeps.sweep_folder import SweepFolder


class Hosts:
    """Adds a host, or its table of sizes, to the launch's record before the first row of it."""

    def __init__(self, folder: SweepFolder, record: dict[str, Any]):
        self._folder, self._record, self._n = folder, record, 0

    def __call__(self, machines: Mapping[str, Any]) -> None:
        """These have computed."""
        self._record["hosts"] = machines
        n = sum(1 + len(m.get("calibrations", ())) for m in machines.values())
        if n > self._n:
            with contextlib.suppress(LawsweepError):  # tried again with the rows that follow
                self._folder.write_launch(self._record["launch_id"], self._record)
                self._n = n
