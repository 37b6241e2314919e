"""How often the host waits for the device, and how much it sends there, by kernel.

Counted on the card that is pretended.  A solver's budget is per iteration: two lengths of the same
solve, so that what is paid once does not count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pretending import Card

from lawsweep.core.registry import find_experiment
from lawsweep.experiments.ntk_min_eig import choice
from lawsweep.kernels.activations import activation
from lawsweep.kernels.base import devices
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.eigmin import solvers
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
from lawsweep.kernels.linalg import cholesky
from lawsweep.kernels.linalg.lanczos import lanczos_largest
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.gram import ntk_gram
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.optimise import gauss_newton_inexact, methods
from lawsweep.kernels.optimise.levenberg_marquardt import least_squares
from lawsweep.kernels.optimise.minimise import minimise
from lawsweep.kernels.optimise.objective import Objective
from lawsweep.kernels.training import optimisers

FREE = {"n_samples": 60, "input_dim": 24, "width": 24, "depth": 3, "activation": "sigmoid"}


def asked(name, seed=3, **point):
    """(metrics, counts) of a run on the card."""
    experiment = find_experiment(name)
    with Card() as card:
        got = experiment.function(experiment.params_type(**point), seed, "cuda:0")
    return (got[0] if isinstance(got, tuple) else got), card.counts


@pytest.mark.parametrize("solver", solvers.names("rows"))
def test_davidson_asks_once_an_iteration_and_keeps_its_numbers_on_the_card(solver):
    few, at_first = asked("ntk_min_eig", **{**FREE, "n_samples": 40}, solver=solver)
    many, later = asked("ntk_min_eig", **{**FREE, "n_samples": 72}, solver=solver)
    more = many.n_iterations - few.n_iterations
    assert more > 20
    # torch's eigh of V^T K V waits for its own verdict.
    assert later.reads.total() - at_first.reads.total() <= more + 5
    assert later.waits.total() - at_first.waits.total() <= more + 5
    assert later.uploads.total() == at_first.uploads.total() < 20


def test_the_passes_through_a_network_are_checked_by_one_answer():
    for depth in (2, 6):
        _, counts = asked("ntk_min_eig", **{**FREE, "depth": depth, "n_samples": 40})
        assert sum(n for k, n in counts.reads.items() if "ntk/linearisation" in k) == 1


def fitted(n, most, exact):
    """(LeastSquares, counts) on the card, and what the CPU comes to."""
    draw = np.random.default_rng(0).standard_normal
    shapes = [(n, 12), (n,), (12, 12), (12, 12), (12, 1)]
    x, y, *weights = (torch.from_numpy(draw(s) / s[0] ** 0.5) for s in shapes)
    act = activation("relu")
    here = least_squares(x, y, weights, act, max_steps=most, exact=exact)
    with Card() as card:
        there = [t.to("cuda") for t in (x, y, *weights)]
        with card.counting() as counts:
            got = least_squares(there[0], there[1], there[2:], act, max_steps=most, exact=exact)
    np.testing.assert_allclose(got.loss, here.loss, rtol=1e-6)
    assert (got.reason, got.n_systems) == (here.reason, here.n_systems)
    return got, counts


@pytest.mark.parametrize("n", [40, 400])  # K + mu I, and the normal equations
def test_a_step_of_least_squares_asks_once(n):
    """For the factor's verdict, what the step promises and what the trial's loss is, together."""
    (few, first), (many, later) = (fitted(n, most, True) for most in (2, 9))
    more = many.n_systems - few.n_systems
    assert more >= 7
    assert later.reads.total() - first.reads.total() <= more
    assert later.waits.total() == later.uploads.total() == 0
    assert later.operations.total() - first.operations.total() <= 400 * more


def test_an_inexact_step_asks_once_an_iteration_of_its_solver(monkeypatch):
    """And twice beside: for its preconditioner's columns, and for where the step leads."""
    monkeypatch.setattr(gauss_newton_inexact, "budget", lambda state: 50)  # iterate, however small
    (few, first), (many, later) = (fitted(120, most, False) for most in (2, 5))
    more = many.n_systems - few.n_systems
    n_products = many.n_products - few.n_products
    assert more >= 3
    assert n_products >= 5 * more
    # A pass's first product brings no answer of its own: it stands for that of the pass.
    assert later.reads.total() - first.reads.total() <= n_products + 2 * more
    # torch's eigh, of two moments a layer.
    assert later.waits.total() - first.waits.total() <= 5 * more
    assert later.uploads.total() - first.uploads.total() <= more + 1


def test_lanczos_asks_once_a_step():
    with Card() as card:
        spread = torch.linspace(1.0, 2.0, 200, dtype=torch.float64, device="cuda")
        start = torch.ones(200, dtype=torch.float64, device="cuda")
        with card.counting() as counts:
            found = lanczos_largest(lambda v: spread * v, start, 1e-10, 150)
    assert found.n_iterations > 40
    assert counts.reads.total() <= found.n_iterations
    assert counts.waits.total() == 0


# Operations of a step of training with two hidden layers, by optimiser: each states its own.
OPTIMISERS = {"adam": 30, "gd": 20, "levenberg_marquardt": None}  # the last: least squares, above


def test_every_optimiser_states_its_budget():
    (spec,) = (s for s in find_experiment("memorization").params if s.name == "optimizer")
    assert set(OPTIMISERS) == set(spec.choices)
    assert {name for name, most in OPTIMISERS.items() if most} == set(optimisers.names())


@pytest.mark.parametrize("optimizer", optimisers.names())
def test_a_step_of_training_asks_for_nothing(optimizer):
    point = {"n_samples": 40, "input_dim": 12, "width": 12, "depth": 3, "stop_rule": "none"}
    point = {**point, "optimizer": optimizer, "learning_rate": 1e-3}
    (_, few), (_, many) = (asked("memorization", **point, max_steps=n) for n in (40, 200))
    assert many.waits.total() == few.waits.total()
    # Losses are looked at some steps at a time (``kernels.training.checked``).
    assert many.reads.total() - few.reads.total() <= 160 / 8
    assert (many.operations.total() - few.operations.total()) / 160 <= OPTIMISERS[optimizer]


# Reads and waits of a solve beside one a step of Lanczos, by solver with K in memory.
MATRIX_SOLVERS = {"mixed": (40, 8), "cholesky_lanczos": (40, 4), "dense": (40, 8)}


def test_every_eigensolver_states_its_budget():
    assert set(MATRIX_SOLVERS) == set(solvers.names("matrix"))


@pytest.mark.parametrize("solver", solvers.names("matrix"))
def test_a_solve_asks_once_a_step_of_lanczos(solver):
    draw = np.random.default_rng(4).standard_normal((320, 400))
    matrix, start = torch.from_numpy(draw @ draw.T / 400), torch.from_numpy(draw[:, 0].copy())
    with Card() as card:
        there = matrix.to("cuda")
        with card.counting() as counts:
            found = smallest_eigenvalue(there, start=start, solver=solver)
    assert found.value == pytest.approx(float(np.linalg.eigvalsh(matrix.numpy())[0]), rel=1e-9)
    of_lanczos = sum(n for line, n in counts.reads.items() if "linalg/lanczos" in line)
    reads, waits = MATRIX_SOLVERS[solver]
    assert counts.reads.total() - of_lanczos <= reads
    assert counts.waits.total() <= waits


def test_auto_takes_the_same_solver_whatever_ran_before(monkeypatch):
    # Stands for a card of 80 GB, of which torch keeps what earlier runs have let go.
    point = {**FREE, "n_samples": 50_000, "width": 300, "input_dim": 300}
    params = find_experiment("ntk_min_eig").params_type(**point)
    chosen = []
    for kept in (0, 30 * 2**30, 75 * 2**30):
        for name, value in (
            ("mem_get_info", (80 * 2**30 - kept, 80 * 2**30)),
            ("memory_reserved", kept),
            ("memory_allocated", 0),
        ):
            monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
        chosen.append(choice.chosen_solver(params, "cuda:0"))
    assert len(set(chosen)) == 1


class Wells(Objective):
    """sum_i (x_i^2 - 1)^2 / 4 + (sum_i x_i)^2 / 8, from many starts; minima and saddles."""

    n_products = 0

    def value_gradient(self, x):
        square, total = x * x - 1.0, x.sum(-1, keepdim=True)
        loss = (square * square).sum(-1) / 4.0 + total.squeeze(-1) ** 2 / 8.0
        return loss, square * x + total / 4.0

    def hessian(self, x):
        return torch.diag_embed(3.0 * x * x - 1.0) + 0.25

    def hessian_product(self, x):
        def product(p):
            self.n_products += 1
            return (3.0 * x * x - 1.0) * p + 0.25 * p.sum(-1, keepdim=True)

        return product


@dataclass(frozen=True)
class StepBudget:
    """Of a step of ``minimise``, all restarts together, but for the objective's own operations.

    ``waits``: inside torch's decompositions, where a Hessian is not positive definite.
    """

    waits: int
    uploads: int
    operations: int
    per_product: int = 0


# Every method states its own.
STEPS = {
    "newton": StepBudget(waits=1, uploads=8, operations=400),
    "newton_cg": StepBudget(waits=0, uploads=2, operations=130, per_product=60),
    "lbfgs": StepBudget(waits=0, uploads=2, operations=600),
}


def test_every_method_of_minimise_states_its_budget():
    assert set(STEPS) == set(methods.names())


@pytest.mark.parametrize("method", methods.names())
def test_a_step_of_minimise_asks_once_whatever_the_restarts(method):
    """And conjugate gradients at most once in two products."""
    start = torch.from_numpy(np.random.default_rng(5).standard_normal((64, 6)))
    found, problem, budget = minimise(Wells(), start, method=method), Wells(), STEPS[method]
    with Card() as card:
        there = start.to("cuda")
        with card.counting() as counts:
            on_card = minimise(problem, there, method=method)
    assert torch.equal(found.x, on_card.x.cpu())
    n, more = int(found.n_iterations.max()), problem.n_products
    assert found.reason == on_card.reason
    assert torch.equal(found.n_iterations, on_card.n_iterations)
    assert 5 <= n <= 60
    assert counts.reads.total() <= n + more / 2 + 6
    assert counts.waits.total() <= budget.waits * n + 3
    assert counts.uploads.total() <= budget.uploads * n + 6
    assert counts.operations.total() <= budget.operations * n + budget.per_product * more


@pytest.mark.parametrize("method", methods.names())
def test_a_step_of_compression_asks_once(method):
    """With so many unknowns that Newton corrects its steps along curved valleys."""
    rng = np.random.default_rng(2)
    rows, signs = torch.from_numpy(rng.standard_normal((90, 20))), torch.ones(4, 5).double()
    most = {"newton": 30, "newton_cg": 4, "lbfgs": 8}.get(method, 5)
    start = torch.from_numpy(0.1 * rng.standard_normal((4, 100)))
    found = []
    for device in ("cpu", "cuda"):
        with Card() as card:
            target = Target(rows.to(device), rows.new_full((90,), 1.0 / 90).to(device))
            loss = PopulationLoss(target, signs.to(device))
            with card.counting() as counts:
                found.append(
                    minimise(loss, start.to(device), method=method, max_iterations=most, tol=1e-9)
                )
    here, there = found
    n = int(there.n_iterations.max())
    assert counts.waits.total() <= 3 * n + 6  # torch's own: of move's singular values, and eigh
    assert counts.uploads.total() <= 12 * n
    reads = counts.reads - Counter({k: v for k, v in counts.reads.items() if "newton_cg" in k})
    assert reads.total() <= n + 6
    if method == "newton":
        assert here.converged.all()
        assert there.converged.all()
    np.testing.assert_allclose(there.loss.cpu(), here.loss, rtol=1e-6)


def test_a_product_with_the_hessian_of_compression_is_few_operations():
    """Of all restarts; what hangs on the point alone is made once a step."""
    rng = np.random.default_rng(2)
    rows, signs = torch.from_numpy(rng.standard_normal((90, 20))), torch.ones(4, 5).double()
    x, p = (torch.from_numpy(rng.standard_normal((4, 100))) for _ in range(2))
    found = []
    for device in ("cpu", "cuda"):
        with Card() as card:
            target = Target(rows.to(device), rows.new_full((90,), 1.0 / 90).to(device))
            product = PopulationLoss(target, signs.to(device)).hessian_product(x.to(device))
            there = p.to(device)
            with card.counting() as counts:
                found.append(product(there).cpu())
    np.testing.assert_array_equal(*found)
    assert counts.operations.total() <= 85
    assert counts.waits.total() == counts.uploads.total() == 0


def per_tile(monkeypatch, work, *, sizes):
    """Reads, waits and uploads with large tiles and with small; ``work()`` may count by itself."""
    found = []
    for small in (False, True):
        with monkeypatch.context() as patch, Card() as card:
            for name, size in sizes.items() if small else ():
                if name.islower():
                    patch.setitem(devices.OVERRIDES, name, size)
                else:
                    patch.setattr(devices, name, size)
            with card.counting() as counted:
                counts = work() or counted
            found.append((counts.reads.total(), counts.waits.total(), counts.uploads.total()))
    return found


def network_there(n=90, width=12):
    draw = np.random.default_rng(1).standard_normal
    network = Network((width, width, width, 1), activation("relu"))
    shapes = [(n, width), *network.shapes]
    x, *weights = (torch.from_numpy(draw(s) / s[0] ** 0.5).to("cuda") for s in shapes)
    return network, weights, x


def gram_by_tiles():
    ntk_gram(*network_there())


def cholesky_by_tiles():
    a = torch.diag(torch.linspace(1.0, 2.0, 200, dtype=torch.float64, device="cuda"))
    assert cholesky.factorise(a)


@pytest.mark.parametrize("store", [True, False])
def test_jacobians_and_their_products_ask_nothing_per_tile(monkeypatch, store):
    def work():
        rows = Jacobian.on(*network_there(), store=store)
        rows.squares()
        v = torch.ones(90, dtype=torch.float64, device="cuda")
        for _ in range(3):
            v = rows.mv(rows.rmv(v))  # J J^T v
        rows.second_moments()

    large, small = per_tile(monkeypatch, work, sizes={"rows_tile": 8})
    assert small == large


TILED = {
    "gram": (gram_by_tiles, {"gram_tile": 16}),
    "cholesky": (cholesky_by_tiles, {"cholesky_block": 16}),
}


@pytest.mark.parametrize("name", TILED)
def test_nothing_is_asked_per_tile(monkeypatch, name):
    work, sizes = TILED[name]
    large, small = per_tile(monkeypatch, work, sizes=sizes)
    assert small == large


@pytest.mark.parametrize(
    ("name", "point", "sizes"),
    [
        ("ntk_min_eig", {**FREE, "n_samples": 12, "solver": "matrix_free"},
         {"rows_tile": 2}),
        ("memorization", {"optimizer": "levenberg_marquardt", "n_samples": 300, "input_dim": 8,
                          "width": 8, "depth": 3, "max_steps": 2},
         {"jacobian_bytes": 2**13, "normal_columns": 16}),
        ("compression", {"n_target": 90, "input_dim": 5, "n_compressed": 2},
         {"pass_numbers": 2**8, "TARGET_ROWS": 32}),
        ("compression", {"n_target": 45, "input_dim": 4, "n_compressed": 2,
                         "student_outputs": "trained", "activation": "erf", "max_iterations": 2},
         {"pass_numbers": 2**7, "TARGET_ROWS": 8}),
    ],
)  # fmt: skip
def test_no_experiment_asks_per_tile(monkeypatch, name, point, sizes):
    """Its answers are as many with a hundred small tiles; iterations may differ by rounding."""
    (reads, waits, _), (more, longer, _) = per_tile(
        monkeypatch, lambda: asked(name, **point)[1], sizes=sizes
    )
    assert more <= reads + 3
    assert longer <= waits + 3
