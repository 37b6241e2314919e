"""lawsweep: distributed experiment sweeps for deep-learning theory.

``import lawsweep`` is light: each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.api import cancel as cancel
    from lawsweep.api import compact as compact
    from lawsweep.api import compare as compare
    from lawsweep.api import export as export
    from lawsweep.api import fit as fit
    from lawsweep.api import gc as gc
    from lawsweep.api import import_rows as import_rows
    from lawsweep.api import jobs as jobs
    from lawsweep.api import load as load
    from lawsweep.api import load_arrays as load_arrays
    from lawsweep.api import plan as plan
    from lawsweep.api import plot as plot
    from lawsweep.api import report as report
    from lawsweep.api import run as run
    from lawsweep.api import show as show
    from lawsweep.api import status as status
    from lawsweep.api import submit as submit
    from lawsweep.api import thresholds as thresholds
    from lawsweep.api import verify as verify
    from lawsweep.api.archive import archive as archive
    from lawsweep.api.audit import audit as audit
    from lawsweep.api.replay import replay as replay
    from lawsweep.api.sql import sql as sql
    from lawsweep.cli.compose import load_sweep as load_sweep
    from lawsweep.core.carry import Carry as Carry
    from lawsweep.core.cost import Cost as Cost
    from lawsweep.core.errors import Infeasible as Infeasible
    from lawsweep.core.errors import LawsweepError as LawsweepError
    from lawsweep.core.experiment import Experiment as Experiment
    from lawsweep.core.experiment import experiment as experiment
    from lawsweep.core.schema import Array as Array
    from lawsweep.core.schema import Field as Field
    from lawsweep.core.streams import stream as stream
    from lawsweep.core.sweep import Sweep as Sweep

__version__ = "0.2.0"

_API = (
    "archive",
    "audit",
    "cancel",
    "compact",
    "compare",
    "export",
    "fit",
    "gc",
    "import_rows",
    "jobs",
    "load",
    "load_arrays",
    "plan",
    "plot",
    "replay",
    "report",
    "run",
    "show",
    "sql",
    "status",
    "submit",
    "thresholds",
    "verify",
)
_HOME = dict.fromkeys(_API, "lawsweep.api") | {
    "Array": "lawsweep.core.schema",
    "Carry": "lawsweep.core.carry",
    "Cost": "lawsweep.core.cost",
    "Experiment": "lawsweep.core.experiment",
    "Field": "lawsweep.core.schema",
    "Infeasible": "lawsweep.core.errors",
    "LawsweepError": "lawsweep.core.errors",
    "Sweep": "lawsweep.core.sweep",
    "experiment": "lawsweep.core.experiment",
    "load_sweep": "lawsweep.cli.compose",
    "stream": "lawsweep.core.streams",
}
__all__ = ["__version__", *_HOME]  # noqa: PLE0604  (the keys are strings)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lawsweep' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
