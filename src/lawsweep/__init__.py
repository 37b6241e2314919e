"""lawsweep: distributed experiment sweeps for deep-learning theory.

``import lawsweep`` is light: each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.api import export as export
    from lawsweep.api import fit as fit
    from lawsweep.api import load as load
    from lawsweep.api import load_arrays as load_arrays
    from lawsweep.api import plan as plan
    from lawsweep.api import plot as plot
    from lawsweep.api import report as report
    from lawsweep.api import run as run
    from lawsweep.api import show as show
    from lawsweep.api import status as status
    from lawsweep.cli.compose import load_sweep as load_sweep
    from lawsweep.core.cost import Cost as Cost
    from lawsweep.core.errors import Infeasible as Infeasible
    from lawsweep.core.errors import LawsweepError as LawsweepError
    from lawsweep.core.experiment import Experiment as Experiment
    from lawsweep.core.experiment import experiment as experiment
    from lawsweep.core.schema import Array as Array
    from lawsweep.core.schema import Field as Field
    from lawsweep.core.streams import stream as stream
    from lawsweep.core.sweep import Sweep as Sweep

__version__ = "0.1.0"

_HOME = {
    "Array": "lawsweep.core.schema",
    "Cost": "lawsweep.core.cost",
    "Experiment": "lawsweep.core.experiment",
    "Field": "lawsweep.core.schema",
    "Infeasible": "lawsweep.core.errors",
    "LawsweepError": "lawsweep.core.errors",
    "experiment": "lawsweep.core.experiment",
    "Sweep": "lawsweep.core.sweep",
    "export": "lawsweep.api",
    "fit": "lawsweep.api",
    "load": "lawsweep.api",
    "load_arrays": "lawsweep.api",
    "load_sweep": "lawsweep.cli.compose",
    "plan": "lawsweep.api",
    "plot": "lawsweep.api",
    "report": "lawsweep.api",
    "run": "lawsweep.api",
    "show": "lawsweep.api",
    "status": "lawsweep.api",
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
