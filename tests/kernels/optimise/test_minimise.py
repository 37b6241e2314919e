import math

import pytest
import torch

from lawsweep.kernels.optimise.minimise import Reason, agreement, minimise
from lawsweep.kernels.optimise.models import Eigen


class Problem:
    """A loss given by a function of one point; derivatives by autograd."""

    def __init__(self, f):
        self.f = f
        self.hessians = 0

    def value_gradient(self, x):
        return torch.func.vmap(self.f)(x), torch.func.vmap(torch.func.grad(self.f))(x)

    def hessian(self, x):
        self.hessians += len(x)
        return torch.func.vmap(torch.func.jacrev(torch.func.grad(self.f)))(x)

    def hessian_product(self, x):
        h = torch.func.vmap(torch.func.jacrev(torch.func.grad(self.f)))(x)
        return lambda p: (h @ p.unsqueeze(-1)).squeeze(-1)

    def retract(self, x, step):
        return x + step

    def take(self, index):
        return self


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def points(*rows):
    return torch.tensor(rows, dtype=torch.float64)


BOTH = pytest.mark.parametrize("solver", ["newton", "newton_cg", "lbfgs"])


@BOTH
def test_rosenbrock_from_several_starts(solver):
    starts = points([-1.2, 1.0, -0.5], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0])
    result = minimise(Problem(rosenbrock), starts, tol=1e-11, solver=solver)
    assert result.reason == (Reason.CONVERGED,) * 3
    # |x - 1| <= |gradient| / smallest curvature (0.2 here).
    assert float((result.x - 1.0).abs().max()) <= 1e-11 / 0.2
    assert bool((result.grad_norm <= 1e-11).all())
    assert int(result.n_iterations.max()) < 60


def test_quadratic_takes_one_step_inside_the_radius_and_reports_curvature():
    h = torch.diag(points([1.0, 2.0, 10.0])[0])
    c = points([1.0, -1.0, 3.0])[0]
    result = minimise(
        Problem(lambda x: 0.5 * x @ h @ x - c @ x), points([0.1, 0.1, 0.1]), radius=10.0
    )
    assert result.n_iterations.tolist() == [1]
    assert torch.allclose(result.x[0], c / h.diagonal(), rtol=1e-14)
    assert float(result.curvature_min[0]) == pytest.approx(1.0, rel=1e-14)


def test_a_saddle_is_left_although_its_gradient_is_zero():
    # At 0 the gradient vanishes and the curvature along y is -1; minima at y = +-1.
    f = Problem(lambda x: 0.5 * x[0] ** 2 - 0.5 * x[1] ** 2 + 0.25 * x[1] ** 4)
    result = minimise(f, points([0.0, 0.0], [1.0, 0.0]), radius=0.5)
    assert result.reason == (Reason.CONVERGED,) * 2
    assert torch.allclose(result.x[:, 1].abs(), torch.ones(2, dtype=torch.float64), rtol=1e-9)
    assert result.loss.tolist() == pytest.approx([-0.25, -0.25], rel=1e-12)


@BOTH
def test_a_circle_of_minima_converges(solver):
    f = Problem(lambda x: (x @ x - 1.0) ** 2)
    result = minimise(f, points([2.0, 0.3], [0.1, -0.2]), solver=solver)
    assert result.reason == (Reason.CONVERGED,) * 2
    assert torch.allclose(result.x.norm(dim=-1), torch.ones(2, dtype=torch.float64), rtol=1e-10)
    if solver == "newton":
        assert float(result.curvature_min.abs().max()) < 1e-9


@BOTH
def test_too_few_iterations_are_said_so(solver):
    result = minimise(Problem(rosenbrock), points([-1.2, 1.0]), max_iterations=3, solver=solver)
    assert result.reason == (Reason.MAX_ITERATIONS,)
    assert not bool(result.converged.any())
    assert float(result.grad_norm[0]) > 1e-10


@BOTH
def test_an_unbounded_loss_is_never_converged(solver):
    result = minimise(Problem(lambda x: x.sum() ** 3), points([-1.0, -2.0]), solver=solver)
    # L-BFGS may end where no finite step is left.
    ends = (Reason.MAX_ITERATIONS, Reason.NON_FINITE, Reason.STALLED)
    assert result.reason[0] in ends[: 3 if solver == "lbfgs" else 2]


@BOTH
def test_nan_stops_its_own_restart_only(solver):
    f = Problem(lambda x: torch.where(x[0] > 50, math.nan, 1.0) * (x @ x))
    result = minimise(f, points([100.0, 1.0], [3.0, 1.0]), solver=solver)
    assert result.reason == (Reason.NON_FINITE, Reason.CONVERGED)
    assert float(result.x[1].norm()) <= 1e-10


@BOTH
def test_a_tolerance_below_rounding_stalls(solver):
    def f(x):
        return torch.cos(3 * x).sum() + (x**2).sum() + 1e-3 * (x[0] * x[1]).sin()

    result = minimise(Problem(f), points([0.9, -1.4]), tol=1e-30, solver=solver)
    assert result.reason[0] in (Reason.STALLED, Reason.CONVERGED)
    if result.reason[0] is Reason.CONVERGED:
        assert float(result.grad_norm[0]) <= 1e-30
    assert float(result.grad_norm[0]) < 1e-14


def test_float32_does_not_pretend_to_reach_1e_10():
    start = points([-1.2, 1.0, -0.5, 0.3]).float()
    result = minimise(Problem(lambda x: rosenbrock(x) + 0.1 * x.sum()), start)
    assert result.reason[0] is Reason.STALLED
    assert 1e-10 < float(result.grad_norm[0]) < 1e-3


def test_restarts_do_not_see_each_other():
    starts = points([-1.2, 1.0], [2.0, 2.0], [0.0, 3.0])
    together = minimise(Problem(rosenbrock), starts)
    for i in range(3):
        alone = minimise(Problem(rosenbrock), starts[i : i + 1])
        assert int(alone.n_iterations[0]) == int(together.n_iterations[i])
        assert torch.allclose(alone.x[0], together.x[i], rtol=1e-12)


def test_a_rejected_step_does_not_rebuild_the_hessian():
    problem = Problem(rosenbrock)
    result = minimise(problem, points([-1.2, 1.0]), radius=50.0)
    assert result.reason == (Reason.CONVERGED,)
    assert problem.hessians <= int(result.n_iterations[0])  # so at least one step was rejected


def test_each_restart_may_have_its_own_scale():
    f = Problem(lambda x: ((x - 1.0) ** 4).sum())
    starts = points([3.0], [3.0])
    result = minimise(f, starts, scale=torch.tensor([1.0, 1e-6], dtype=torch.float64), tol=1e-4)
    assert result.reason == (Reason.CONVERGED,) * 2
    assert float(result.grad_norm[0]) > 1e-10 >= float(result.grad_norm[1])
    with pytest.raises(ValueError, match="finite scale > 0"):
        minimise(f, starts, scale=torch.tensor([1.0, 0.0], dtype=torch.float64))


def test_a_definite_model_is_solved_alike_with_and_without_eigenvectors():
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(4, 6, 6, dtype=torch.float64, generator=rng)
    hessian = a @ a.mT + 0.1 * torch.eye(6, dtype=torch.float64)
    hessian[3] -= 5.0 * torch.eye(6, dtype=torch.float64)  # indefinite: eigenvectors only
    gradient = torch.randn(4, 6, dtype=torch.float64, generator=rng)
    x, index = torch.ones(4, 6, dtype=torch.float64), torch.arange(4)
    radius = torch.tensor([1e3, 1e3, 1e-2, 1.0], dtype=torch.float64)
    model = Eigen()
    model.update(index, hessian, 4)
    step, predicted = model.solve(index, None, x, gradient, radius)
    assert model._known.tolist() == [False, False, True, True]
    model._decompose(index)
    exact, fall = model._exact(index, x, gradient, radius)
    assert torch.allclose(step, exact, rtol=1e-9, atol=1e-12)
    assert torch.allclose(predicted, fall, rtol=1e-9, atol=1e-14)
    assert bool((step.norm(dim=-1) <= 1.02 * radius).all())


def test_a_curvature_is_reported_wherever_a_restart_ends():
    f = Problem(lambda x: 0.5 * x[0] ** 2 - 0.5 * x[1] ** 2)
    result = minimise(f, points([1.0, 0.5]), max_iterations=2)
    assert result.reason == (Reason.MAX_ITERATIONS,)
    assert float(result.curvature_min[0]) == pytest.approx(-1.0, rel=1e-12)


def test_the_best_is_the_first_of_those_that_agree():
    loss = torch.tensor([2.0, 1.0 + 1e-14, 1.0], dtype=torch.float64)
    assert agreement(loss, torch.ones(3, dtype=torch.bool), 1e-9).best == 1


def test_agreement_counts_only_converged():
    loss = torch.tensor([1.0, 0.5, 0.5 + 1e-13, 0.1, 2.0], dtype=torch.float64)
    ok = torch.tensor([True, True, True, False, True])
    got = agreement(loss, ok, 1e-10)
    assert (got.best, got.n_agreeing, got.n_minima) == (1, 2, 3)
    none = agreement(loss, torch.zeros(5, dtype=torch.bool), 1e-10)
    assert (none.best, none.n_agreeing, none.n_minima) == (3, 0, 0)


@pytest.mark.parametrize(
    ("start", "options", "message"),
    [
        (torch.zeros(3), {}, r"starts of shape \(R, n\)"),
        (torch.tensor([[math.nan]]), {}, "finite starts"),
        (torch.zeros(1, 1), {"tol": 0.0}, "tol > 0"),
        (torch.zeros(1, 1), {"scale": math.inf}, "finite scale > 0"),
    ],
)
def test_bad_input(start, options, message):
    with pytest.raises(ValueError, match=message):
        minimise(Problem(lambda x: x @ x), start, **options)
