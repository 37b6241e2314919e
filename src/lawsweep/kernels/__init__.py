"""Shared numerics in torch; they know nothing of sweeps.

``from lawsweep.kernels import smallest_eigenvalue``: each public name is loaded when it is first
used.  Their types are in the stub beside this file: what is imported here is part of the code that
every experiment's rows are recorded with, and an experiment is made of the kernels it calls alone.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "KernelError": "base.reasons",
    "Network": "network.network",
    "Objective": "optimise.objective",
    "Reason": "base.reasons",
    "Target": "compression.target",
    "activation": "activations",
    "compress": "compression.compress",
    "infinite_width": "ntk.wide",
    "init_weights": "network.init",
    "least_squares": "optimise.levenberg_marquardt",
    "linearise": "ntk.linearisation",
    "minimise": "optimise.minimise",
    "ntk_gram": "ntk.gram",
    "smallest_eigenvalue": "eigmin.smallest",
    "smallest_eigenvalues": "eigmin.few",
    "spectrum": "eigmin.few",
    "train": "training.train",
}
__all__ = [*_HOME]  # noqa: PLE0604  (the keys are strings)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lawsweep.kernels' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lawsweep.kernels.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
