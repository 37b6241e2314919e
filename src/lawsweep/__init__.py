"""lawsweep: distributed experiment sweeps for deep-learning theory.

``import lawsweep`` is light: each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.config.compose import load_sweep as load_sweep
    from lawsweep.core.cost import Cost as Cost
    from lawsweep.core.definition import Carry as Carry
    from lawsweep.core.during.artefacts import artefact as artefact
    from lawsweep.core.during.checkpoints import checkpoint as checkpoint
    from lawsweep.core.errors import Infeasible as Infeasible
    from lawsweep.core.errors import LawsweepError as LawsweepError
    from lawsweep.core.experiment import Experiment as Experiment
    from lawsweep.core.plain.decorator import experiment as experiment
    from lawsweep.core.randomness.streams import stream as stream
    from lawsweep.core.schema import Array as Array
    from lawsweep.core.schema import Field as Field
    from lawsweep.grid.sweep import Sweep as Sweep
    from lawsweep.remote.end import cancel as cancel
    from lawsweep.remote.states import jobs as jobs
    from lawsweep.remote.submitting import submit as submit
    from lawsweep.study.reading.rows import show as show
    from lawsweep.study.study import Study as Study
    from lawsweep.study.told import report as report
    from lawsweep.study.verbs import export as export
    from lawsweep.study.verbs import figure as figure
    from lawsweep.study.verbs import fit as fit
    from lawsweep.study.verbs import load as load
    from lawsweep.study.verbs import load_arrays as load_arrays
    from lawsweep.study.verbs import open as open
    from lawsweep.study.verbs import plan as plan
    from lawsweep.study.verbs import plot as plot
    from lawsweep.study.verbs import run as run
    from lawsweep.study.verbs import status as status
    from lawsweep.study.verbs import thresholds as thresholds
    from lawsweep.tools.archive import archive as archive
    from lawsweep.tools.audit import audit as audit
    from lawsweep.tools.comparing import compare as compare
    from lawsweep.tools.importing import import_rows as import_rows
    from lawsweep.tools.keeping import compact as compact
    from lawsweep.tools.keeping import gc as gc
    from lawsweep.tools.keeping import verify as verify
    from lawsweep.tools.replay import replay as replay
    from lawsweep.tools.sql import sql as sql

__version__ = "0.7.0"

_VERBS = (
    "export",
    "figure",
    "fit",
    "load",
    "load_arrays",
    "plan",
    "plot",
    "run",
    "status",
    "thresholds",
)
_HOME = dict.fromkeys(_VERBS, "lawsweep.study.verbs") | {
    "Array": "lawsweep.core.schema",
    "Carry": "lawsweep.core.definition",
    "Cost": "lawsweep.core.cost",
    "Experiment": "lawsweep.core.experiment",
    "Field": "lawsweep.core.schema",
    "Infeasible": "lawsweep.core.errors",
    "LawsweepError": "lawsweep.core.errors",
    "Study": "lawsweep.study.study",
    "Sweep": "lawsweep.grid.sweep",
    "archive": "lawsweep.tools.archive",
    "artefact": "lawsweep.core.during.artefacts",
    "audit": "lawsweep.tools.audit",
    "cancel": "lawsweep.remote.end",
    "checkpoint": "lawsweep.core.during.checkpoints",
    "compact": "lawsweep.tools.keeping",
    "compare": "lawsweep.tools.comparing",
    "experiment": "lawsweep.core.plain.decorator",
    "gc": "lawsweep.tools.keeping",
    "import_rows": "lawsweep.tools.importing",
    "jobs": "lawsweep.remote.states",
    "load_sweep": "lawsweep.config.compose",
    "replay": "lawsweep.tools.replay",
    "report": "lawsweep.study.told",
    "show": "lawsweep.study.reading.rows",
    "sql": "lawsweep.tools.sql",
    "stream": "lawsweep.core.randomness.streams",
    "submit": "lawsweep.remote.submitting",
    "verify": "lawsweep.tools.keeping",
}
__all__ = ["__version__", *_HOME]  # noqa: PLE0604  (the keys are strings)


# Not one of ``import *``: there it would take the place of Python's own.
_HOME["open"] = "lawsweep.study.verbs"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lawsweep' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
