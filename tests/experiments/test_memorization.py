"""The experiment of Fig. 2 of arXiv 2205.10217, at sizes of a second."""

from __future__ import annotations

import math
import subprocess
import sys
import typing
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from lawsweep import stream
from lawsweep.experiments.memorization import Params, memorization
from lawsweep.kernels.activations import ACTIVATIONS
from lawsweep.kernels.data.sampling import ROW_LAWS, rows
from lawsweep.kernels.network.forward import forward
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.training.stop import EARLY_STEPS, StopRule


def run(n_samples=40, input_dim=12, seed=0, **params):
    params = {"width": input_dim, **params}
    return memorization(n_samples=n_samples, input_dim=input_dim, seed=seed, **params)


def choices(name):
    return next(s.choices for s in memorization.params if s.name == name)


def test_choices_are_those_of_the_kernels():
    assert set(choices("activation")) == set(ACTIVATIONS)
    assert choices("data") == ROW_LAWS
    assert choices("stop_rule") == typing.get_args(StopRule)


def test_importing_the_experiment_leaves_torch_alone():
    code = "import sys, lawsweep.experiments.memorization; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_defaults_are_the_papers_protocol():
    given = asdict(Params(n_samples=400, input_dim=22, width=22))
    protocol = {
        "depth": 4,
        "activation": "relu",
        "optimizer": "adam",
        "max_steps": 10_000,
        "stop_rule": "paper",
        "learning_rate": None,
        "data": "gaussian",
        "targets": "gaussian",
    }
    assert {k: given[k] for k in protocol} == protocol
    by_hand = run(learning_rate=1 / (10 * math.sqrt(40)))
    assert asdict(by_hand) == asdict(run())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_samples_are_memorized_and_more_than_weights_are_not(seed):
    few, many = run(60, 20, seed), run(600, 12, seed)
    assert few.n_params == 3 * 400 + 20
    assert few.memorized
    assert few.best_loss < 1e-6
    # 600 targets, 444 weights: no fit is exact for generic targets.
    assert many.n_params == 3 * 144 + 12
    assert not many.memorized
    assert many.best_loss > 1e-2


def test_a_sample_with_a_layer_all_off_keeps_the_loss_above_its_own():
    # Narrow ReLU networks can lose a sample for good: its output is 0 and so is its gradient.
    m = run(40, 12, seed=0)
    assert m.n_dead_samples >= 1
    assert not m.memorized
    assert m.best_loss > 1e-3
    assert run(60, 20, seed=0).n_dead_samples == 0
    assert run(40, 12, depth=1, max_steps=10).n_dead_samples == 0
    assert run(40, 12, activation="tanh", max_steps=10).n_dead_samples is None


@pytest.mark.slow
def test_threshold_of_the_figure_at_a_small_dimension():
    # d = 22: 0.72 d^2 = 348.  Draws spread the edge at this size, so a factor of 3 either side.
    below = [run(116, 22, seed) for seed in range(3)]
    above = [run(1044, 22, seed) for seed in range(3)]
    assert all(m.memorized for m in below)
    assert not any(m.memorized for m in above)
    logs = [[math.log10(m.figure_loss) for m in some] for some in (below, above)]
    assert np.mean(logs[0]) < -6 < -4 < np.mean(logs[1])


def test_runs_repeat_and_seeds_differ():
    assert asdict(run(seed=3)) == asdict(run(seed=3))
    assert run(seed=3).initial_loss != run(seed=4).initial_loss


@pytest.mark.portable
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"activation": "tanh"},
        {"optimizer": "gd", "activation": "linear", "max_steps": 200},
        {"dtype": "float32", "targets": "signs", "depth": 2},
        {"depth": 1, "data": "sphere"},
    ],
)
def test_fused_runs_are_those_of_alone(params):
    """Over seeds and learning rates; one of them diverges (gd), others start dead.

    After 20 steps, which amplify rounding little: to 1e-9 (float32: as many of its digits).
    """
    some = {"n_samples": 40, "input_dim": 12, "width": 12, "max_steps": 20, **params}
    rates = [None, 0.003, 1e4 if params.get("optimizer") == "gd" else 0.05]
    cases = [(Params(**some, learning_rate=rate), seed) for rate in rates for seed in range(3)]
    together = memorization.fused([p for p, _ in cases], [s for _, s in cases], "cpu")
    rel = 1e-4 if params.get("dtype") == "float32" else 1e-9
    for (p, seed), fused in zip(cases, together, strict=True):
        alone = asdict(memorization(p, seed=seed))
        for name, value in asdict(fused).items():
            if isinstance(value, float | tuple):
                assert value == pytest.approx(alone[name], rel=rel, nan_ok=True), name
            else:
                assert value == alone[name], name
    assert (
        len({f"{f.initial_loss:.4g}" for f in together}) == 3
    )  # a seed has its own data and weights,
    assert len({f.final_loss for f in together}) > 3  # and a rate its own way from there


@pytest.mark.portable
def test_fused_runs_that_amplify_rounding_end_as_alone_and_say_from_where():
    some = {"n_samples": 60, "input_dim": 20, "width": 20}
    p = Params(**some)
    for seed, fused in enumerate(memorization.fused([p] * 3, [0, 1, 2], "cpu")):
        alone = memorization(p, seed=seed)
        assert (fused.memorized, fused.n_dead_samples) == (alone.memorized, alone.n_dead_samples)
        assert fused.initial_loss == pytest.approx(alone.initial_loss, rel=1e-12)
        early = [len(m.early_losses) for m in (fused, alone)]
        assert early == [sum(m.n_steps >= s for s in EARLY_STEPS) for m in (fused, alone)]
        assert fused.early_losses[:4] == pytest.approx(alone.early_losses[:4], rel=1e-9)


def test_early_losses_are_those_of_the_curve():
    m = run(max_steps=30, keep_curve=True)
    steps, losses = m.loss_curve
    assert m.early_losses == tuple(losses[np.searchsorted(steps, (1, 3, 10, 30))])
    assert {1, 3, 10, 30} < set(steps.astype(int)), "a curve of 30 steps has them all"
    assert run(max_steps=2).early_losses == (run(max_steps=1).final_loss,)
    assert run(optimizer="levenberg_marquardt").early_losses is None
    field = next(s for s in memorization.metrics if s.name == "early_losses")
    assert field.info.steps == EARLY_STEPS


def test_the_figures_number_is_a_sum_of_100_over_50():
    # Where training stands still, the sum of 100 losses over 50 is twice the loss.
    m = run(learning_rate=1e-12, max_steps=250, stop_rule="none")
    assert m.figure_loss == pytest.approx(2 * m.initial_loss, rel=1e-6)
    assert run(max_steps=100).figure_loss is None


def test_divergence_is_a_row():
    m = run(optimizer="gd", activation="linear", learning_rate=1e4, max_steps=200)
    assert m.stop_reason == "diverged"
    assert not math.isfinite(m.final_loss)
    assert math.isnan(m.grad_norm)
    assert not m.memorized
    assert memorization.metrics_row(m)["stop_reason"] == "diverged"


@pytest.mark.parametrize(
    "params",
    [
        {"targets": "signs"},
        {"data": "sphere"},
        {"dtype": "float32"},
        {"activation": "tanh", "depth": 2},
        {"depth": 1},
        {"optimizer": "gd", "learning_rate": 0.01},
        {"stop_rule": "checks"},
        {"width": 5},
    ],
)
def test_variants_run_and_lower_the_loss(params):
    m = run(max_steps=200, **params)
    assert m.best_loss < 0.9 * m.initial_loss
    assert m.best_loss <= m.final_loss
    assert memorization.metrics_row(m).keys() == {s.name for s in memorization.metrics}


def test_sign_targets_are_signs():
    # With one sample the first loss is (f(x) - y)^2, and f(x) is known from the streams.
    m = run(n_samples=1, targets="signs", max_steps=1)
    weights = init_weights(Network((12, 12, 12, 12, 1), "linear"), stream(0, "weights"))
    x = rows("gaussian", stream(0, "data"), 1, 12)
    out = float(forward(Network.of(weights, ACTIVATIONS["relu"]), weights, x)[0][-1])
    assert m.initial_loss in (pytest.approx((out - 1) ** 2), pytest.approx((out + 1) ** 2))


def columns(n, **params):
    """The params of ``n`` points, as a cost model gets them: the given ones and the defaults."""
    some = asdict(Params(n_samples=1, input_dim=1, width=1)) | params
    return SimpleNamespace(**{k: np.broadcast_to(np.asarray(v), (n,)) for k, v in some.items()})


def test_cost_takes_columns_and_grows_with_the_run():
    dims = {"input_dim": [22, 22, 70, 22], "width": [22, 22, 70, 22]}
    some = columns(
        4,
        n_samples=[400, 400, 2000, 400],
        depth=[4, 1, 4, 4],
        stop_rule=["paper", "none", "paper", "none"],
        dtype=["float64", "float64", "float32", "float64"],
        **dims,
    )
    cost = memorization.cost(some)
    assert cost.flops.shape == cost.memory_bytes.shape == (4,)
    assert cost.flops[0] < cost.flops[2]
    assert cost.flops[0] < cost.flops[3]
    assert cost.flops[1] < cost.flops[3]
    # No run does less than its products: 2N(3p - d^2) a step, without the rule 10,000 times.
    assert cost.flops[3] >= 2 * 400 * (3 * (3 * 22**2 + 22) - 22**2) * 10_000
    one = memorization.cost(Params(n_samples=400, input_dim=22, width=22))
    assert float(one.flops) == pytest.approx(cost.flops[0])
    assert float(one.memory_bytes) >= 8 * 400 * 22 * 4
    # In float32 products take less, and calls as long: they are most of a small run.
    both = columns(
        4,
        n_samples=[100, 100, 9000, 9000],
        dtype=["float64", "float32"] * 2,
        input_dim=[10, 10, 100, 100],
        width=[10, 10, 100, 100],
    )
    flops = memorization.cost(both).flops
    assert 0.9 < flops[1] / flops[0] < 1.0
    assert 0.65 < flops[3] / flops[2] < 0.66


def test_cost_knows_least_squares_the_kernel_and_classes():
    sizes = {"input_dim": 54, "width": 54, "n_samples": 1600}
    cost = memorization.cost(
        columns(
            4,
            optimizer=["adam", "levenberg_marquardt", "adam", "adam"],
            measure_kernel=[False, False, True, False],
            targets=["gaussian", "gaussian", "gaussian", "classes"],
            n_classes=[2, 2, 2, 10],
            **sizes,
        )
    )
    assert cost.flops[1] < cost.flops[0] / 2
    # More than the 82 products with J J^T that a fit takes, and less than 12 Choleskys and Grams.
    assert cost.flops[1] >= 82 * 4 * 1600 * (3 * 54**2 + 54) / 2
    assert cost.flops[1] <= 12 * (1600**3 / 3 + 1600**2 * 7 * 54)
    # Where there are more samples than weights: 60 steps at least, each a Cholesky of J^T J.
    over = {"input_dim": 20, "width": 20, "n_samples": 3000, "optimizer": ["levenberg_marquardt"]}
    assert memorization.cost(columns(1, **over)).flops[0] >= 60 * 3000 * 1220**2
    assert cost.memory_bytes[1] >= 2 * 8 * 1600**2
    assert cost.memory_bytes[2] >= 3 * 8 * 1600**2
    assert cost.flops[2] > cost.flops[0]
    assert cost.flops[3] > cost.flops[0]


def test_sweep_file_spans_the_papers_grid():
    compose = pytest.importorskip("lawsweep.config.compose")
    default = compose.load_sweep("memorization_phase").plan()
    assert (default.n_points, len(default.seeds)) == (110, 3)
    paper = compose.load_sweep("memorization_phase", "preset=paper").plan()
    assert (paper.n_points, len(paper.seeds)) == (29 * 30, 10)
    d = np.unique(paper.params["input_dim"])
    np.testing.assert_array_equal(d, [math.isqrt(500 * i) for i in range(1, 31)])
    np.testing.assert_array_equal(paper.params["width"], paper.params["input_dim"])
    assert 3200 not in paper.params["n_samples"]
    assert paper.params["n_samples"].max() == 12_000


@pytest.mark.parametrize(
    ("name", "n_runs"),
    [
        ("memorization_phase preset=coarse", 8 * 8 * 3),
        ("memorization_gauss_newton", 9 * 6 * 3),
        ("memorization_gauss_newton preset=half", 9 * 3),
        ("memorization_curves", 8 * 3),
        ("memorization_kernel preset=small", 10 * 2),
        ("ntk_memorization", 56 * 4),
    ],
)
def test_each_sweep_plans_and_its_figures_name_what_exists(name, n_runs, tmp_path, monkeypatch):
    compose = pytest.importorskip("lawsweep.config.compose")
    from lawsweep.study.study import Study

    monkeypatch.setenv("LAWSWEEP_RESULTS_DIR", str(tmp_path))
    opened = Study(compose.load_sweep(*name.split()))  # checks figures against the columns
    assert opened.plan.n_points * len(opened.plan.seeds) == n_runs
    assert opened.plan.experiment.cost(SimpleNamespace(**columns_of(opened.plan))).flops.min() > 0


def columns_of(plan):
    """Every param of a plan as a column, defaults included."""
    n, defaults = plan.n_points, {s.name: s.default for s in plan.experiment.params}
    return {
        k: np.broadcast_to(np.asarray(plan.params.get(k, v)), (n,)) for k, v in defaults.items()
    }
