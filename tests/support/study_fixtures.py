from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.core.registry import find_experiment


@pytest.fixture
def toys(folder):
    """The sweep ``toys`` of 8 runs, run; its results folder is in the working folder."""
    return run_toys()


def run_toys():
    sweep = Sweep(
        name="toys",
        experiment="toys:toy",
        axes={"n": [10, 20, 40, 80]},
        seeds=2,
        executor={"kind": "serial"},
        fits=({"law": "power", "x": "n", "y": "y"},),
    )
    lawsweep.run(sweep)
    return sweep


@pytest.fixture
def spectra(folder):
    """The sweep ``spectra`` of 4 runs that leave arrays, run."""
    sweep = Sweep(
        name="spectra",
        experiment="toys:spectrum",
        axes={"n": [3, 5]},
        seeds=2,
        executor={"kind": "serial"},
    )
    lawsweep.run(sweep)
    return sweep


@pytest.fixture
def module(folder):
    """Write a module of experiments into the working folder, afresh; it is forgotten at the end."""
    written = []

    def write(name, text):
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        written.append(name)
        return lambda function: find_experiment(f"{name}:{function}", folder)

    yield write
    for name in written:
        sys.modules.pop(name, None)
