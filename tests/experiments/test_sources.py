"""What an experiment's rows are recorded with: the files of its code."""

from __future__ import annotations

import importlib.util

import pytest

from lawsweep.core.code.source import source_of
from lawsweep.experiments.compression import compression
from lawsweep.experiments.memorization import memorization
from lawsweep.experiments.ntk_memorization import ntk_memorization
from lawsweep.experiments.ntk_min_eig import ntk_min_eig


@pytest.mark.parametrize(
    "experiment", [compression, memorization, ntk_memorization, ntk_min_eig], ids=lambda e: e.name
)
def test_what_an_experiment_names_to_import_is_there(experiment):
    assert experiment.imports
    assert [m for m in experiment.imports if importlib.util.find_spec(m) is None] == []


@pytest.mark.parametrize(
    ("experiment", "files"),
    [
        (compression, ["optimise/methods/newton", "optimise/methods/lbfgs", "compression/solve"]),
        (memorization, ["training/optimisers/adam", "training/optimisers/gd", "training/train"]),
        (
            ntk_min_eig,
            ["eigmin/smallest", "eigmin/mixed", "eigmin/dense", "eigmin/block", "ntk/gram"],
        ),
        (ntk_memorization, ["eigmin/cholesky_lanczos", "eigmin/dense", "ntk/construction"]),
    ],
    ids=lambda e: getattr(e, "name", ""),
)
def test_what_is_loaded_by_name_is_code_of_the_rows(experiment, files):
    found = source_of(experiment).files
    assert [f for f in files if f"lawsweep/kernels/{f}.py" not in found] == []
