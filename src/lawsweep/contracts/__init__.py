"""What others build on, as tests: whoever writes an executor, a place or a sink inherits them.

In the tests of a package that adds ``executor=pool`` and results in ``shelf://...``::

    from lawsweep.contracts import PlaceContract, SinkContract, WorkerContract

    class TestPool(WorkerContract):
        config = "pool"

    class TestShelf(PlaceContract):
        @pytest.fixture
        def url(self, tmp_path):
            return f"shelf://{tmp_path}/study.shelf"

    class TestTally(SinkContract):
        config = {"kind": "tally", "file": "tally.txt"}

They need pytest, which lawsweep itself does not.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.contracts.executors import ExecutorContract as ExecutorContract
    from lawsweep.contracts.places import PlaceContract as PlaceContract
    from lawsweep.contracts.sinks import SinkContract as SinkContract
    from lawsweep.contracts.workers import WorkerContract as WorkerContract

_HOMES = {
    "ExecutorContract": "executors",
    "WorkerContract": "workers",
    "PlaceContract": "places",
    "SinkContract": "sinks",
}

if "pytest" in sys.modules:  # its asserts say what they compared
    sys.modules["pytest"].register_assert_rewrite(
        *(f"{__name__}.{h}" for h in set(_HOMES.values()))
    )


def __getattr__(name: str) -> Any:
    """A contract, imported when it is asked for."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
