"""lawsweep: distributed experiment sweeps for deep-learning theory.

``import lawsweep`` is light: each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.core.cost import Cost as Cost
    from lawsweep.core.errors import Infeasible as Infeasible
    from lawsweep.core.errors import LawsweepError as LawsweepError
    from lawsweep.core.experiment import Experiment as Experiment
    from lawsweep.core.experiment import experiment as experiment
    from lawsweep.core.schema import Field as Field
    from lawsweep.core.streams import stream as stream

__version__ = "0.1.0"

_HOME = {
    "Cost": "lawsweep.core.cost",
    "Experiment": "lawsweep.core.experiment",
    "Field": "lawsweep.core.schema",
    "Infeasible": "lawsweep.core.errors",
    "LawsweepError": "lawsweep.core.errors",
    "experiment": "lawsweep.core.experiment",
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
