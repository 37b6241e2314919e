"""A solver that is one file and a line of the table is one of ntk_min_eig by its name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lawsweep
from lawsweep.core.errors import UnknownNameError
from lawsweep.experiments.ntk_min_eig import ntk_min_eig
from lawsweep.kernels.eigmin import solvers

SOLVER = '''
import torch

from lawsweep.kernels.eigmin.result import EigenReason, Pair
from lawsweep.kernels.eigmin.solvers import MatrixSolver
from lawsweep.kernels.linalg.certificate import prove_above


class Inverse(MatrixSolver):
    """Inverse iteration; None where it has not settled."""

    name = "inverse"

    def suits(self, n, dtype, device, certify):
        return False

    def pair(self, problem):
        matrix, v = problem.matrix, problem.start
        for count in range(1, 1000):
            v, info = torch.linalg.solve_ex(matrix, v)
            value, residual = problem.quotient(v := v / v.norm())
            if residual <= problem.level(value):
                lower = prove_above(matrix, value - problem.facts.room(value, residual),
                                    problem.work)
                found = (value, residual, problem.top.value, 0.0, count)
                return Pair(self.name, *found, EigenReason.CONVERGED, lower)
        return None
'''

RUN = """
import sys
sys.path.insert(0, ".")
from lawsweep.kernels.eigmin import solvers
solvers.TABLE = (solvers.Line("inverse", "inverse:Inverse", flops=lambda n: n**3), *solvers.TABLE)

import lawsweep

sweep = lawsweep.Sweep(
    name="solvers",
    experiment="ntk_min_eig",
    params={"input_dim": 10, "width": 30, "depth": 2, "activation": "tanh"},
    axes={"n_samples": [20, 30], "solver": ["inverse", "dense", "auto"]},
    seeds=2,
    executor={"kind": "serial"},
)
lawsweep.run(sweep)
frame = lawsweep.load(sweep)
assert (frame["status"] == "ok").all(), frame["error"].tolist()
for _, group in frame.groupby(["n_samples", "seed"]):
    by = group.set_index("solver")
    assert by.loc["inverse", "solver_used"] == "inverse"
    assert by["converged"].all() and by["certified"].all()
    low, true = by.loc["inverse", "lambda_min"], by.loc["dense", "lambda_min"]
    assert abs(low - true) <= 1e-9 * true, (low, true)
print("done", len(frame))
"""


def test_a_sweep_runs_a_solver_that_was_added(tmp_path):
    (tmp_path / "inverse.py").write_text(SOLVER)
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "done 12" in done.stdout


def test_the_solvers_of_a_plan_are_those_of_the_table():
    (spec,) = (s for s in ntk_min_eig.params if s.name == "solver")
    assert spec.choices == ("auto", *solvers.names())
    point = {"n_samples": 5, "input_dim": 4, "width": 9, "depth": 2, "activation": "tanh"}
    with pytest.raises(lawsweep.LawsweepError, match="id you mean 'dense'"):
        ntk_min_eig(**point, solver="dens")
    with pytest.raises(UnknownNameError, match="solver"):
        ntk_min_eig.params_type(**point, solver="lapack")
