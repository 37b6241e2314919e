"""lawsweep: distributed experiment sweeps for deep-learning theory.

``import lawsweep`` is light: each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.config.compose import load_sweep as load_sweep
    from lawsweep.core.carry import Carry as Carry
    from lawsweep.core.cost import Cost as Cost
    from lawsweep.core.errors import Infeasible as Infeasible
    from lawsweep.core.errors import LawsweepError as LawsweepError
    from lawsweep.core.experiment import Experiment as Experiment
    from lawsweep.core.experiment import experiment as experiment
    from lawsweep.core.randomness.streams import stream as stream
    from lawsweep.core.schema import Array as Array
    from lawsweep.core.schema import Field as Field
    from lawsweep.grid.sweep import Sweep as Sweep
    from lawsweep.remote.end import cancel as cancel
    from lawsweep.remote.states import jobs as jobs
    from lawsweep.remote.submitting import submit as submit
    from lawsweep.study.arrays import load_arrays as load_arrays
    from lawsweep.study.progress import status as status
    from lawsweep.study.reading import export as export
    from lawsweep.study.reading import fit as fit
    from lawsweep.study.reading import load as load
    from lawsweep.study.reading import plot as plot
    from lawsweep.study.reading import report as report
    from lawsweep.study.reading import show as show
    from lawsweep.study.running import run as run
    from lawsweep.study.searching import thresholds as thresholds
    from lawsweep.study.study import plan as plan
    from lawsweep.tools.archive import archive as archive
    from lawsweep.tools.audit import audit as audit
    from lawsweep.tools.comparing import compare as compare
    from lawsweep.tools.importing import import_rows as import_rows
    from lawsweep.tools.keeping import compact as compact
    from lawsweep.tools.keeping import gc as gc
    from lawsweep.tools.keeping import verify as verify
    from lawsweep.tools.replay import replay as replay
    from lawsweep.tools.sql import sql as sql

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
    "Sweep": "lawsweep.grid.sweep",
    "experiment": "lawsweep.core.experiment",
    "load_sweep": "lawsweep.config.compose",
    "stream": "lawsweep.core.randomness.streams",
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
