import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.optimise import methods
from lawsweep.kernels.optimise.methods import Ask
from lawsweep.kernels.optimise.methods.newton import Newton
from lawsweep.kernels.optimise.minimise import MinimiseReason, agreement, minimise
from lawsweep.kernels.optimise.objective import Function, Objective


class Counted(Function):
    """A loss that counts its Hessians."""

    def __init__(self, f):
        super().__init__(f)
        self.hessians = 0

    def hessian(self, x):
        self.hessians += len(x)
        return super().hessian(x)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def points(*rows):
    return torch.tensor(rows, dtype=torch.float64)


EACH = pytest.mark.parametrize("method", ["newton", "newton_cg", "lbfgs"])


@EACH
def test_rosenbrock_from_several_starts(method):
    starts = points([-1.2, 1.0, -0.5], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0])
    result = minimise(Function(rosenbrock), starts, tol=1e-11, method=method)
    assert result.reason == (MinimiseReason.CONVERGED,) * 3
    # |x - 1| <= |gradient| / smallest curvature (0.2 here).
    assert float((result.x - 1.0).abs().max()) <= 1e-11 / 0.2
    assert bool((result.grad_norm <= 1e-11).all())
    assert int(result.n_iterations.max()) < 60


def test_quadratic_takes_one_step_inside_the_radius_and_reports_curvature():
    h = torch.diag(points([1.0, 2.0, 10.0])[0])
    c = points([1.0, -1.0, 3.0])[0]
    result = minimise(
        Function(lambda x: 0.5 * x @ h @ x - c @ x), points([0.1, 0.1, 0.1]), radius=10.0
    )
    assert result.n_iterations.tolist() == [1]
    assert torch.allclose(result.x[0], c / h.diagonal(), rtol=1e-14)
    assert float(result.curvature_min[0]) == pytest.approx(1.0, rel=1e-14)


def test_a_saddle_is_left_although_its_gradient_is_zero():
    # At 0 the gradient vanishes and the curvature along y is -1; minima at y = +-1.
    f = Function(lambda x: 0.5 * x[0] ** 2 - 0.5 * x[1] ** 2 + 0.25 * x[1] ** 4)
    result = minimise(f, points([0.0, 0.0], [1.0, 0.0]), radius=0.5)
    assert result.reason == (MinimiseReason.CONVERGED,) * 2
    assert torch.allclose(result.x[:, 1].abs(), torch.ones(2, dtype=torch.float64), rtol=1e-9)
    assert result.loss.tolist() == pytest.approx([-0.25, -0.25], rel=1e-12)


@EACH
def test_a_circle_of_minima_converges(method):
    f = Function(lambda x: (x @ x - 1.0) ** 2)
    result = minimise(f, points([2.0, 0.3], [0.1, -0.2]), method=method)
    assert result.reason == (MinimiseReason.CONVERGED,) * 2
    assert torch.allclose(result.x.norm(dim=-1), torch.ones(2, dtype=torch.float64), rtol=1e-10)
    if method == "newton":
        assert float(result.curvature_min.abs().max()) < 1e-9


@EACH
def test_too_few_iterations_are_said_so(method):
    result = minimise(Function(rosenbrock), points([-1.2, 1.0]), max_iterations=3, method=method)
    assert result.reason == (MinimiseReason.MAX_ITERATIONS,)
    assert not bool(result.converged.any())
    assert float(result.grad_norm[0]) > 1e-10


@EACH
def test_an_unbounded_loss_is_never_converged(method):
    result = minimise(Function(lambda x: x.sum() ** 3), points([-1.0, -2.0]), method=method)
    # L-BFGS may end where no finite step is left.
    ends = (MinimiseReason.MAX_ITERATIONS, MinimiseReason.NON_FINITE, MinimiseReason.STALLED)
    assert result.reason[0] in ends[: 3 if method == "lbfgs" else 2]


@EACH
def test_nan_stops_its_own_restart_only(method):
    f = Function(lambda x: torch.where(x[0] > 50, math.nan, 1.0) * (x @ x))
    result = minimise(f, points([100.0, 1.0], [3.0, 1.0]), method=method)
    assert result.reason == (MinimiseReason.NON_FINITE, MinimiseReason.CONVERGED)
    assert float(result.x[1].norm()) <= 1e-10


@EACH
def test_a_tolerance_below_rounding_stalls(method):
    def f(x):
        return torch.cos(3 * x).sum() + (x**2).sum() + 1e-3 * (x[0] * x[1]).sin()

    result = minimise(Function(f), points([0.9, -1.4]), tol=1e-30, method=method)
    assert result.reason[0] in (MinimiseReason.STALLED, MinimiseReason.CONVERGED)
    if result.reason[0] is MinimiseReason.CONVERGED:
        assert float(result.grad_norm[0]) <= 1e-30
    assert float(result.grad_norm[0]) < 1e-14


def test_float32_does_not_pretend_to_reach_1e_10():
    start = points([-1.2, 1.0, -0.5, 0.3]).float()
    result = minimise(Function(lambda x: rosenbrock(x) + 0.1 * x.sum()), start)
    assert result.reason[0] is MinimiseReason.STALLED
    assert 1e-10 < float(result.grad_norm[0]) < 1e-3


def test_restarts_do_not_see_each_other():
    starts = points([-1.2, 1.0], [2.0, 2.0], [0.0, 3.0])
    together = minimise(Function(rosenbrock), starts)
    for i in range(3):
        alone = minimise(Function(rosenbrock), starts[i : i + 1])
        assert int(alone.n_iterations[0]) == int(together.n_iterations[i])
        assert torch.allclose(alone.x[0], together.x[i], rtol=1e-12)


def test_a_rejected_step_does_not_rebuild_the_hessian():
    problem = Counted(rosenbrock)
    result = minimise(problem, points([-1.2, 1.0]), radius=50.0)
    assert result.reason == (MinimiseReason.CONVERGED,)
    assert problem.hessians <= int(result.n_iterations[0])  # so at least one step was rejected


def test_each_restart_may_have_its_own_scale():
    f = Function(lambda x: ((x - 1.0) ** 4).sum())
    starts = points([3.0], [3.0])
    result = minimise(f, starts, scale=torch.tensor([1.0, 1e-6], dtype=torch.float64), tol=1e-4)
    assert result.reason == (MinimiseReason.CONVERGED,) * 2
    assert float(result.grad_norm[0]) > 1e-10 >= float(result.grad_norm[1])
    with pytest.raises(ValueError, match="finite scale > 0"):
        minimise(f, starts, scale=torch.tensor([1.0, 0.0], dtype=torch.float64))


def trust_region(h, g, radius):
    """The slow way, by numpy: bisect the mu >= max(0, -lambda_1) where |(H + mu I)^-1 g| fits."""

    def step(mu):
        return -np.linalg.solve(h + mu * np.eye(len(g)), g)

    lowest = np.linalg.eigvalsh(h)[0]
    if lowest > 0 and np.linalg.norm(step(0.0)) <= radius:
        return step(0.0)
    low = high = max(0.0, -lowest) + 1e-12
    while np.linalg.norm(step(high)) > radius:
        high = 2.0 * high + 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.linalg.norm(step(middle)) > radius else (low, middle)
    return step(high)


def test_newton_solves_its_model():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 6, 6))
    hessian = a @ a.transpose(0, 2, 1) + 0.1 * np.eye(6)
    hessian[3] -= 5.0 * np.eye(6)  # indefinite
    gradient = rng.standard_normal((4, 6))
    radius = np.array([1e3, 1e3, 1e-2, 1.0])
    model, index = Newton(4), torch.arange(4)
    model.update(index, torch.from_numpy(hessian))
    x = torch.ones(4, 6, dtype=torch.float64)
    step, predicted = model.solve(
        Ask(index, x, torch.from_numpy(gradient), torch.from_numpy(radius), None)
    )
    for r in range(4):
        p = trust_region(hessian[r], gradient[r], radius[r])
        fall = -(gradient[r] @ p + 0.5 * p @ hessian[r] @ p)
        # On the boundary the step may end within a hundredth of the radius.
        inside = np.linalg.norm(p) < 0.99 * radius[r]
        size = np.linalg.norm(p)
        assert np.linalg.norm(step[r].numpy() - p) <= (1e-9 if inside else 0.03) * size
        assert float(predicted[r]) == pytest.approx(fall, rel=1e-9 if inside else 0.03)
    low, high = model.extremes(index)
    values = np.linalg.eigvalsh(hessian)
    assert low.numpy() == pytest.approx(values[:, 0], rel=1e-9)
    assert high.numpy() == pytest.approx(np.abs(values).max(-1), rel=1e-12)


class Walls(Objective):
    """sum log cosh(A x - b) + |x|^2/2 with nothing but its gradient, written out."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.a, self.b = rng.standard_normal((7, 4)), 2.0 * rng.standard_normal(7)

    def value_gradient(self, x):
        a, b = torch.from_numpy(self.a), torch.from_numpy(self.b)
        t = x @ a.T - b
        return torch.log(torch.cosh(t)).sum(-1) + 0.5 * (x * x).sum(-1), torch.tanh(t) @ a + x

    def slowly(self):
        """Its minimum by plain gradient descent, in numpy: H lies between 1 and 1 + |A|^2."""
        x, most = np.zeros(4), 1.0 + np.linalg.norm(self.a, 2) ** 2
        for _ in range(5000):
            x = x - (self.a.T @ np.tanh(self.a @ x - self.b) + x) / most
        return torch.from_numpy(x)


@EACH
def test_an_objective_with_a_gradient_alone_is_minimised_by_every_method(method):
    f = Walls()
    result = minimise(f, points([0.0] * 4, [3.0, -3.0, 3.0, -3.0]), method=method)
    assert result.reason == (MinimiseReason.CONVERGED,) * 2
    # |x - x*| <= |gradient| / least curvature, which is at least 1.
    assert float((result.x - f.slowly()).abs().max()) <= 2e-10


def test_derivatives_that_were_not_written_are_those_of_the_gradient():
    f, x = Walls(), points([0.1, -0.4, 0.7, 0.2], [1.0, 2.0, -1.0, 0.0])
    sech = 1.0 / np.cosh(x.numpy() @ f.a.T - f.b) ** 2
    expected = np.einsum("rk,ki,kj->rij", sech, f.a, f.a) + np.eye(4)
    assert f.hessian(x).numpy() == pytest.approx(expected, rel=1e-13, abs=1e-13)
    p = points([1.0, 0.0, -2.0, 0.5], [0.3, 0.3, 0.3, 0.3])
    product = np.einsum("rij,rj->ri", expected, p.numpy())
    assert f.hessian_product(x)(p).numpy() == pytest.approx(product, rel=1e-13, abs=1e-13)
    assert torch.equal(f.move(x, p).point, x + p)
    assert f.move(x, p).turn is None


STEEPEST = '''
import torch
from lawsweep.kernels.optimise.methods import Method

class Steepest(Method):
    """Cauchy's point: the model's minimum along -g, within the radius."""
    needs = frozenset({"hessian_product"})

    def solve(self, ask):
        size = ask.gradient.norm(dim=-1)
        curvature = (ask.gradient * ask.product(ask.gradient)).sum(-1)
        most = ask.radius / size
        t = torch.where(curvature > 0, torch.minimum(size**2 / curvature, most), most)
        return -t.unsqueeze(-1) * ask.gradient, t * size**2 - 0.5 * t * t * curvature

METHOD = Steepest
'''


def test_a_method_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "steepest.py").write_text(STEEPEST)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    f = Walls()
    result = minimise(f, points([0.0] * 4), method="steepest", max_iterations=500)
    assert result.reason == (MinimiseReason.CONVERGED,)
    assert float((result.x[0] - f.slowly()).abs().max()) <= 2e-10
    with pytest.raises(ValueError, match=r"valid: .*newton_cg, steepest; did you mean 'steepest'"):
        minimise(f, points([0.0] * 4), method="stepest")


def test_a_method_may_be_a_class_of_ones_own():
    class Sceptic(Newton):
        """Newton's step, halved, of which nothing is promised: each is judged by its gradient."""

        def solve(self, ask):
            step, _ = super().solve(ask)
            return 0.5 * step, torch.zeros_like(ask.radius)

    f = Walls()
    result = minimise(f, points([0.0] * 4), method=Sceptic)
    assert result.reason == (MinimiseReason.CONVERGED,)
    assert float((result.x[0] - f.slowly()).abs().max()) <= 2e-10
    assert float(result.curvature_min[0]) >= 1.0  # it needs Hessians, so they are looked at


def test_a_curvature_is_reported_wherever_a_restart_ends():
    f = Function(lambda x: 0.5 * x[0] ** 2 - 0.5 * x[1] ** 2)
    result = minimise(f, points([1.0, 0.5]), max_iterations=2)
    assert result.reason == (MinimiseReason.MAX_ITERATIONS,)
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
        minimise(Function(lambda x: x @ x), start, **options)
