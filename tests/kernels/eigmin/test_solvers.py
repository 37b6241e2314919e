"""The table of eigen-solvers: what a plan may ask of it, and a solver that is added to it."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from lawsweep.kernels.eigmin import solvers
from lawsweep.kernels.eigmin.result import EigenReason, Pair
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue, smallest_eigenvalues_batched
from lawsweep.kernels.eigmin.solvers import Line, MatrixSolver
from lawsweep.kernels.linalg.certificate import prove_above

CPU = torch.device("cpu")


class Inverse(MatrixSolver):
    """Inverse iteration; it gives up on matrices that are not well conditioned."""

    name = "inverse"

    def suits(self, n, dtype, device, certify):
        return False

    def pair(self, problem):
        matrix, v = problem.matrix, problem.start
        for count in range(1, 60):  # noqa: B007
            v, info = torch.linalg.solve_ex(matrix, v)
            v = v / v.norm()
            value, residual = problem.quotient(v)
            if info or residual <= problem.level(value):
                break
        if not residual <= problem.level(value):
            return None
        top = torch.linalg.eigvalsh(matrix)[-1]
        room = problem.facts.room(value, residual)
        lower = prove_above(matrix, value - room, problem.work)
        return Pair(
            self.name, value, residual, float(top), 0.0, count, EigenReason.CONVERGED, lower
        )


@pytest.fixture
def table(monkeypatch):
    """The table with a line more, first: the class is looked for in a module of that name."""
    monkeypatch.setitem(sys.modules, "inverse_solver", types.SimpleNamespace(Inverse=Inverse))
    added = Line("inverse", "inverse_solver:Inverse")
    monkeypatch.setattr(solvers, "TABLE", (added, *solvers.TABLE))


def matrix(n=40, seed=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return torch.from_numpy((q * np.linspace(1.0, 3.0 * n, n)) @ q.T)


def solved(k, **options):
    return smallest_eigenvalue((k + k.mT) / 2, start=np.random.default_rng(1), **options)


def test_a_solver_is_one_class_and_its_line(table):
    found = solved(matrix(), solver="inverse")
    assert (found.solver, found.converged, found.certified) == ("inverse", True, True)
    assert found.value == pytest.approx(1.0, rel=1e-9)
    # Where it gives up the next of the table goes on, to the last that always has an answer.
    singular = torch.full((6, 6), 1e-3, dtype=torch.float64)
    assert solved(singular, solver="inverse").solver == "dense"


def test_a_solver_of_one_matrix_goes_through_many_one_by_one(table):
    many = torch.stack([matrix(seed=s) for s in range(3)])
    many = (many + many.mT) / 2
    starts = [np.random.default_rng(s) for s in range(3)]
    for found in smallest_eigenvalues_batched(many, starts=starts, solver="inverse"):
        assert (found.solver, found.certified) == ("inverse", True)
        assert found.value == pytest.approx(1.0, rel=1e-9)
    with pytest.raises(NotImplementedError, match="inverse takes one matrix at a time"):
        Inverse().pairs(many, [], many, 1e-10, True)


def test_a_name_that_is_in_no_line_is_told_with_the_nearest(table):
    with pytest.raises(ValueError, match=r"unknown solver 'invers'; .*did you mean 'inverse'"):
        solved(matrix(), solver="invers")
    with pytest.raises(ValueError, match="unknown solver 'sharded'"):  # it takes no matrix
        solved(matrix(), solver="sharded")


@pytest.mark.parametrize(
    ("n", "dtype", "device", "certify", "name"),
    [
        (499, torch.float64, "cpu", True, "dense"),
        (500, torch.float64, "cpu", True, "mixed"),
        (500, torch.float64, "cpu", False, "cholesky_lanczos"),
        (500, torch.float32, "cpu", True, "cholesky_lanczos"),
        (799, torch.float64, "cuda", True, "dense"),  # launches cost more there
        (800, torch.float64, "cuda", True, "cholesky_lanczos"),
    ],
)
def test_auto_begins_with_the_first_that_suits(n, dtype, device, certify, name):
    chosen = list(solvers.chain("auto", n, dtype, torch.device(device), certify))
    assert chosen[0].name == name
    assert chosen[-1].name == "dense"


def test_every_line_names_an_object_that_bears_its_name():
    for line in solvers.TABLE:
        found = solvers.load(line.name)
        if line.needs == "matrix":
            assert issubclass(found, MatrixSolver)
            assert found.name == line.name
        assert solvers.needs_rows(line.name) == (line.needs == "rows")
    assert not solvers.needs_rows("auto")
    last = solvers.load(solvers.names("matrix")[-1])
    assert last.finds_all  # so that a chain always ends in an answer


def test_a_plan_asks_the_table_without_torch():
    code = (
        "import sys; from lawsweep.kernels.eigmin import solvers as s; s.names(); "
        "s.choose(5000, (300, 300, 1), 2e9); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
