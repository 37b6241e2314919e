import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from lawsweep import Infeasible
from lawsweep.analysis.figures.kinds import parse_figures
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import InvalidValueError
from lawsweep.experiments.compression import compression
from lawsweep.grid.sweep import Sweep

SWEEPS = Path(__file__).parents[2] / "sweeps"
POINT = {"input_dim": 10, "n_target": 100, "n_compressed": 5}


def run(seed=0, **fields):
    return compression(**{**POINT, **fields}, seed=seed)


def test_a_finite_target():
    m = run()
    assert m.converged
    assert m.stop_reason == "converged"
    assert m.grad_norm <= 1e-10
    assert m.hessian_min > 0
    assert m.n_restarts_converged == m.n_starts >= 3
    assert 0 < m.chance_better <= 1 / (m.n_starts + 1)
    assert m.loss == pytest.approx(m.target_norm + m.objective_value, rel=1e-15)
    assert 0 < m.loss < m.loss_limit
    assert m.gap < 0
    # First order holds to 2 % on average at d/N = 0.1, d = 10 (5 % at worst over six seeds).
    assert m.predicted_gap == pytest.approx(m.gap, rel=0.05)
    assert m.predicted_frame_gap + m.predicted_mean_gap == pytest.approx(m.predicted_gap)
    assert m.scale_a_n == pytest.approx(1.0, rel=1e-14)
    assert m.scale_a == 1.0
    assert m.cos_sum_mean > 0.99
    assert m.limit_is_exact
    assert m.n_negative == 0


def test_a_run_repeated_gives_the_same_row_and_another_seed_another():
    assert run(seed=3) == run(seed=3)
    assert run(seed=3).objective_value != run(seed=4).objective_value


def test_skipping_the_constant_leaves_the_rest():
    whole, skipped = run(), run(target_norm_method="skip")
    assert (skipped.loss, skipped.target_norm) == (None, None)
    assert skipped.objective_value == whole.objective_value
    assert skipped.gap == whole.gap


def test_the_solvers_agree():
    dense, products = run(n_compressed=3), run(n_compressed=3, solver="newton_cg")
    assert products.converged
    assert products.hessian_min is None
    assert products.objective_value == pytest.approx(dense.objective_value, rel=1e-12)


@pytest.mark.parametrize(
    ("fields", "method"),
    [
        ({"n_target": 2_000}, "newton_cg"),
        ({"n_target": 12_000}, "newton"),
        ({"n_target": 12_000, "solver": "lbfgs"}, "lbfgs"),
        ({"n_target": 12_000, "objective": "simplified_target"}, "newton_cg"),
        ({"n_target": 12_000, "objective": "simplified_mean"}, None),
    ],
)
def test_auto_takes_what_costs_least(fields, method):
    from lawsweep.experiments.compression.runs import how_of
    from lawsweep.experiments.compression.target import draw
    from lawsweep.kernels.compression.compress import method_for

    params = compression.bind({"input_dim": 81, "n_compressed": 10, **fields})
    assert method_for(draw(params, 0, "cpu"), 10, how_of(params)) == method


def test_rows_of_a_larger_target_extend_a_smaller_one():
    from lawsweep.experiments.compression.target import draw

    params = [compression.bind({**POINT, "n_target": n}) for n in (20, 100)]
    small, large = (draw(p, 7, "cpu").rows for p in params)
    assert (small - large[:20]).abs().max() == 0


@pytest.mark.parametrize(("d", "m"), [(1, 1), (2, 2), (3, 4), (50, 5)])
def test_the_simplified_problem_reaches_its_limit(d, m):
    got = compression(
        input_dim=d, n_target=None, n_compressed=m, objective="simplified", start="random"
    )
    assert got.converged
    assert got.limit_is_exact
    assert got.loss == pytest.approx(got.loss_limit_population, abs=1e-14)
    assert abs(got.gap) < 1e-14
    assert (got.scale_a_n, got.loss_limit, got.mean_norm) == (None, None, None)


def test_more_rows_than_a_frame_holds_are_said_so():
    got = compression(
        input_dim=5, n_target=None, n_compressed=10, objective="simplified", start="random"
    )
    assert not got.limit_is_exact
    assert got.gap > 1e-3
    assert (got.cos_min, got.cos_max) == pytest.approx((-1 / 3, 1 / 3), abs=1e-8)
    finite = compression(input_dim=2, n_target=50, n_compressed=5)
    assert not finite.limit_is_exact
    assert finite.predicted_gap is None


def test_output_weights_of_mean_zero_have_no_limit():
    m = run(target_outputs="signs", n_target=30, n_compressed=2, n_restarts=2)
    assert m.scale_a == 0.0
    assert (m.loss_limit, m.loss_limit_population, m.gap, m.predicted_gap) == (None,) * 4
    assert not m.limit_is_exact
    assert m.converged
    assert m.loss >= 0


def test_searching_signs_never_loses_to_equal_ones():
    fields = {"target_outputs": "gaussian", "n_target": 30, "n_compressed": 2, "n_restarts": 3}
    assert (
        run(**fields, signs="search").objective_value
        <= run(**fields, signs="mean").objective_value + 1e-12
    )


def test_one_node_and_two_nodes():
    one, two = run(n_compressed=1), run(n_compressed=2)
    assert one.converged
    assert (one.etf_rms, one.cos_max, one.span_overlap, one.predicted_gap) == (None,) * 4
    assert two.converged
    assert two.predicted_gap is None
    assert two.loss < one.loss


def best_known(d, n, m, seed, n_starts=100):
    """J of a run's target from ``n_starts`` random starts of a stream of their own."""
    from lawsweep.experiments.compression.target import draw
    from lawsweep.kernels.compression.population import PopulationLoss
    from lawsweep.kernels.compression.search import random_starts
    from lawsweep.kernels.compression.solve import solve

    params = compression.bind({"input_dim": d, "n_target": n, "n_compressed": m})
    target = draw(params, seed, "cpu")
    starts = random_starts(np.random.default_rng(12345), n_starts, m, d, 1.0)
    loss = PopulationLoss(target, torch.ones(n_starts, m, dtype=torch.float64))
    found = solve(loss, starts, scale=1.0, tol=1e-10, max_iterations=300)
    return float(found.result.loss[found.result.converged].min())


@pytest.mark.parametrize(("d", "n", "m"), [(2, 12, 5), (4, 20, 6), (5, 20, 5)])
def test_crowded_rows_reach_the_best_minimum_known(d, n, m):
    """Of three starts, one in three of these ends up to 79 % above it."""
    for seed in range(3):
        got = compression(input_dim=d, n_target=n, n_compressed=m, seed=seed)
        # Losses of one minimum differ by 1e-9 |J| at most.
        assert got.objective_value == pytest.approx(best_known(d, n, m, seed), rel=2e-9)
        assert got.n_starts >= 12
        assert got.chance_better < 0.02


def test_restarts_asked_for_are_the_restarts_made():
    for n in (1, 3, 7):
        assert run(n_restarts=n, input_dim=3, n_target=12).n_starts == n
    assert run(n_restarts=2, signs="search", n_compressed=2).n_starts == 6
    assert run(n_restarts=2, student_outputs="trained", n_compressed=2).n_starts == 2


def test_a_problem_without_risk_takes_three():
    assert run(n_compressed=2).n_starts == 3
    assert run(input_dim=40, n_target=4000, n_compressed=3).n_starts == 3
    simple = {"n_target": None, "objective": "simplified"}
    assert compression(input_dim=8, n_compressed=4, **simple).n_starts == 3
    # Past M = d + 1 several minima coexist.
    assert compression(input_dim=3, n_compressed=7, **simple).n_starts > 3


def exact_one_node(w, alpha, d):
    """max over unit v and both signs of (s h(v))^2/2, by brute force over the circle (or +-1)."""
    if d == 1:
        v = np.array([[1.0], [-1.0]])
    else:
        angle = np.linspace(0.0, 2 * np.pi, 20_001)
        v = np.stack([np.cos(angle), np.sin(angle)], 1)
    size = np.linalg.norm(w, axis=1)
    rho = np.clip((w / size[:, None]) @ v.T, -1.0, 1.0)
    kernel = np.sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho))
    h = (alpha * size) @ kernel / (2 * np.pi)
    return -2.0 * np.abs(h).max() ** 2  # J(t v) = -2 t s h + t^2/2 at t = 2 s h


@pytest.mark.parametrize("outputs", ["absorbed", "trained"])
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("law", ["gaussian", "signs", "biased_signs", "ones"])
def test_one_node_never_collapses_to_the_zero_network(d, law, outputs):
    from lawsweep.experiments.compression.target import draw

    for seed in range(4):
        fields = {"input_dim": d, "n_target": 7, "n_compressed": 1, "target_outputs": law}
        got = compression(**fields, student_outputs=outputs, seed=seed)
        target = draw(compression.bind(fields), seed, "cpu")
        w, alpha = target.rows.numpy(), target.weights.numpy()
        assert got.converged
        # The best angle of the grid is off by 1.6e-4 at most, and h by some square of that.
        assert got.objective_value == pytest.approx(exact_one_node(w, alpha, d), rel=1e-6)


@pytest.mark.parametrize("outputs", ["absorbed", "trained"])
@pytest.mark.parametrize("law", ["gaussian", "ones"])
@pytest.mark.parametrize("m", [2, 3, 4])
def test_two_nodes_of_any_signs_are_exact_in_one_dimension(m, law, outputs):
    """f is a slope on each side: a node of the right sign on each side is all it takes."""
    for seed in range(3):
        got = compression(
            input_dim=1, n_target=9, n_compressed=m, target_outputs=law, seed=seed,
            student_outputs=outputs,
        )  # fmt: skip
        assert got.converged
        assert got.loss == pytest.approx(0.0, abs=1e-13 * got.target_norm)


@pytest.mark.parametrize(
    "fields",
    [
        {"input_dim": 3, "n_target": 1, "n_compressed": 1},
        {"input_dim": 3, "n_target": 1, "n_compressed": 1, "target_outputs": "gaussian"},
        {"input_dim": 3, "n_target": 3, "n_compressed": 3, "target_outputs": "gaussian"},
        # Four different rows, most of them drawn several times, and their opposites.
        {"input_dim": 2, "n_target": 20, "n_compressed": 4, "target_rows": "rademacher"},
    ],
)
def test_students_as_large_as_the_target_are_exact(fields):
    for seed in range(3):
        got = compression(**fields, seed=seed)
        assert got.converged
        assert got.loss == pytest.approx(0.0, abs=1e-13 * got.target_norm)


def test_one_dimension_is_exact_with_two_nodes():
    m = compression(input_dim=1, n_target=9, n_compressed=2)
    assert m.converged
    assert m.loss == pytest.approx(0.0, abs=1e-15)


def test_row_laws_have_their_scale():
    m = run(target_rows="gaussian", n_target=2000, n_compressed=3)
    # E|w| and its spread: sd(|w|) is about 1/sqrt(2d) for norms near 1.
    assert m.scale_a_n == pytest.approx(m.scale_a, abs=4 / math.sqrt(2 * 10 * 2000))
    for law in ("rademacher", "uniform"):
        assert not run(target_rows=law, n_compressed=3).limit_is_exact


def test_centred_rows_have_no_mean():
    m = run(centre_rows=True)
    assert m.mean_norm < 1e-15
    assert m.scale_a is None
    assert m.predicted_mean_gap == pytest.approx(0.0, abs=1e-28)


def test_too_few_iterations_are_not_converged():
    m = run(max_iterations=1)
    assert not m.converged
    assert m.stop_reason == "max_iterations"
    assert m.n_restarts_agreeing == 0


def test_float32_converges_at_a_tolerance_it_can_reach():
    for seed in range(10):
        m = compression(input_dim=8, n_target=80, n_compressed=3, dtype="float32", seed=seed)
        assert m.stop_reason == "converged"
        assert m.grad_norm <= 64 * 2.0**-23
        # J has terms of about 3 |J|, each right to a few eps.
        double = compression(input_dim=8, n_target=80, n_compressed=3, seed=seed)
        assert m.objective_value == pytest.approx(double.objective_value, rel=64 * 2.0**-23)
    explicit = run(tol=1e-10)
    assert run() == explicit  # what null means in float64


def test_float32_stalls_rather_than_claims():
    m = run(dtype="float32", tol=1e-10)
    assert not m.converged
    assert m.stop_reason == "stalled"
    assert m.objective_value == pytest.approx(run().objective_value, rel=1e-3)


@pytest.mark.parametrize(
    ("d", "n", "m", "tol"), [(5, 4, 4, None), (5, 5, 5, None), (1, 6, 2, None), (1, 5000, 2, 1e-9)]
)
def test_an_exact_fit_has_no_negative_loss(d, n, m, tol):
    for seed in range(4):
        got = compression(input_dim=d, n_target=n, n_compressed=m, tol=tol, seed=seed)
        assert got.converged
        # T_N and -J are sums over N rows, each right to (16 + N/2) eps; in what order depends on
        # the threads, so the difference may come out on either side of 0.
        rounding = (16 + n / 2) * 2.0**-52 * (got.target_norm - got.objective_value)
        assert 0.0 <= got.loss <= rounding
        assert got.target_norm + got.objective_value == pytest.approx(got.loss, abs=1e-13)
        if d == 1:
            assert got.loss_limit == got.loss_limit_population == 0.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_compressed": 101}, "n_compressed must be at most n_target, got 101 and 100"),
        ({"n_target": None}, "needs n_target"),
        ({"objective": "simplified"}, "n_target must be null"),
        (
            {"objective": "simplified", "n_target": None, "target_outputs": "signs"},
            "choose ones or uniform",
        ),
        ({"n_compressed": 0}, "n_compressed must be at least 1, got 0"),
        ({"activation": "softmax"}, "activation must be one of relu"),
        ({"activation": "tanh"}, "needs a homogeneous activation, got 'tanh'; choose trained"),
        ({"n_outputs": 2}, "n_outputs 2 needs student_outputs trained or fixed"),
        (
            {"negative_slope": 0.3},
            "negative_slope is that of activation 'leaky_relu', got 0.3 with 'relu'",
        ),
        ({"student_outputs": "trained", "compare_frames": True}, "compare_frames false"),
        ({"student_outputs": "trained", "objective": "reduced"}, "needs objective population"),
        ({"student_outputs": "fixed", "start": "reduced"}, "start and signs left out"),
        ({"student_outputs": "fixed", "signs": "search"}, "got 'frame' and 'search'"),
        ({"row_density": 0.5}, "row_density is that of target_rows 'sparse', got 0.5"),
        ({"output_bias": 0.3}, "output_bias is that of target_outputs 'biased_signs', got 0.3"),
        ({"row_mean": math.inf}, "row_mean must be a finite number, got inf"),
        ({"tol": math.inf}, "tol must be a finite number, got inf"),
        ({"tol": math.nan}, "tol must be float or null, got nan, which is no number"),
        ({"n_norm_pairs": 10}, "n_norm_pairs is that of target_norm_method 'sample', got 10"),
        ({"quadrature_tol": 1e-6}, "quadrature_tol is for activations without a closed form"),
        (
            {"objective": "simplified", "n_target": None, "prediction": "reduced"},
            "has no target to compare with",
        ),
        ({"student_outputs": "fixed", "target_norm_method": "sample"}, "exact or skip"),
        (
            {"objective": "simplified", "n_target": None, "row_mean": 0.1},
            "has isotropic rows, got row_mean 0.1",
        ),
    ],
)
def test_bad_params_are_refused_in_one_sentence(fields, message):
    with pytest.raises(InvalidValueError, match=message):
        compression.bind({**POINT, **fields})


def test_a_zero_target_is_infeasible():
    with pytest.raises(Infeasible, match="the target is zero"):
        run(n_target=1, n_compressed=1, centre_rows=True)


def differing(one, other):
    """Names of columns that differ by more than 1e-9 of what they are made of.

    A column that is a difference of larger numbers is right to those: a gap to J's limit, a sum of
    rows to their length, a spread to the mean, distances between cosines to one.
    """
    whole = abs(one.mean_field_value or one.objective_value)
    made_of = {
        "loss": whole, "target_norm_se": whole, "sum_norm": one.norm_mean, "norm_cv": 1.0,
        "cos_min": 1.0, "cos_max": 1.0,
        "grad_norm": 1.0, "etf_rms": 1.0, "etf_max": 1.0, "etf_frobenius": 1.0, "output_cv": 1.0,
        "top_eigenvalue_sum": one.scale_a_n,
        **{n: whole for n in vars(one) if n.endswith("_gap") or n in ("gap", "turned_frame_sd")},
    }  # fmt: skip
    found = []
    for name, value in vars(one).items():
        twin = getattr(other, name)
        if isinstance(value, float) and isinstance(twin, float):
            size = max(abs(value), abs(twin), made_of.get(name) or 0.0)
            if abs(value - twin) > 1e-9 * size:
                found.append(name)
        elif value != twin:
            found.append(name)
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {"n_compressed": 3},
        {"n_compressed": 2, "target_outputs": "gaussian", "n_target": 30},
        {"n_compressed": 3, "start": "reduced", "prediction": "reduced", "compare_frames": True},
        {"n_compressed": 3, "target_norm_method": "sample", "n_norm_pairs": 1000},
        {"n_compressed": 3, "activation": "abs", "solver": "newton_cg"},
        {"n_compressed": 3, "objective": "reduced"},
        {"n_compressed": 2, "n_target": 9, "activation": "tanh", "student_outputs": "fixed"},
        {"n_target": None, "objective": "simplified", "start": "random"},
        {"n_compressed": 3, "n_target": 12, "dtype": "float32"},
    ],
)
@pytest.mark.portable
def test_runs_fused_are_the_runs_alone(fields):
    params = compression.bind({**POINT, **fields})
    seeds = [4, 0, 9]
    together = compression.fused([params] * 3, seeds, "cpu")
    for seed, metrics in zip(seeds, together, strict=True):
        off = differing(metrics, compression(params, seed=seed))
        # How many steps a restart took may turn on the last bit of a loss.
        assert set(off) <= {"n_iterations"}


def test_one_infeasible_member_costs_only_itself(monkeypatch):
    from lawsweep.experiments.compression import runs

    params = compression.bind({**POINT, "n_compressed": 3})
    draw = runs.draw

    def some(params, seed, device):
        target = draw(params, seed, device)
        return replace(target, alpha=target.alpha * (seed != 1))

    monkeypatch.setattr(runs, "draw", some)
    a, none, b = compression.fused([params] * 3, [0, 1, 2], "cpu")
    assert isinstance(none, Infeasible)
    assert (a.converged, b.converged) == (True, True)
    assert not differing(b, compression(params, seed=2))


def test_the_reduced_prediction_and_frames():
    m = run(prediction="reduced", compare_frames=True, keep_arrays=True)
    assert m.reduced_ratio == pytest.approx(1.0, abs=0.02)
    assert m.gap_ratio == pytest.approx(m.gap / m.predicted_gap)
    assert m.mean_field_value + m.gap == pytest.approx(m.objective_value, rel=1e-14)
    assert m.gap < m.best_frame_gap <= m.spectral_frame_gap < 0
    assert abs(m.turned_frame_gap) < 4 * m.turned_frame_sd
    # |m|/4 from the linear term; the even part adds or takes some 1/(2 pi sqrt(N d)).
    assert m.sup_error == pytest.approx(m.mean_norm / 4, abs=3 / (2 * math.pi * math.sqrt(1000)))
    cosines = np.array(m.cosines)
    off = cosines[~np.eye(5, dtype=bool)]
    assert (off.min(), off.max()) == pytest.approx((m.cos_min, m.cos_max))
    assert np.array(m.spectrum)[:4].sum() == pytest.approx(m.top_eigenvalue_sum)
    assert np.linalg.norm(m.rows, axis=1).mean() == pytest.approx(m.norm_mean)
    plain = run()
    assert (plain.reduced_gap, plain.best_frame_gap, plain.cosines) == (None, None, None)


@pytest.mark.parametrize("outputs", ["absorbed", "trained"])
def test_a_row_is_made_of_results(monkeypatch, outputs):
    """Everything is minimised in the run; the row is the same with no minimiser to call."""
    from lawsweep.experiments.compression import runs
    from lawsweep.kernels.compression import frames, solve

    more = {"prediction": "reduced", "compare_frames": True} if outputs == "absorbed" else {}
    params = compression.bind({**POINT, "student_outputs": outputs, **more})
    kept, make = [], runs.row

    def keep(params, found):
        kept.append(found)
        return make(params, found)

    monkeypatch.setattr(runs, "row", keep)
    expected = compression(params, seed=0)
    for module in (solve, frames):
        monkeypatch.setattr(module, "minimise", None)
    assert make(params, kept[0]) == expected


def test_objectives_without_the_whole_target():
    limit = run(objective="simplified_target", n_compressed=4)
    assert limit.gap == pytest.approx(0.0, abs=1e-14)
    assert limit.loss == pytest.approx(limit.loss_limit, abs=1e-14)
    linear = run(objective="simplified_mean", n_compressed=4)
    reduced = run(objective="reduced", n_compressed=4)
    whole = run(n_compressed=4)
    assert limit.gap > linear.gap > reduced.gap > whole.gap
    # E f^2 by degree: what is left above degree 2 is a few 1e-3 of the diagonal's share 1/N.
    assert limit.target_norm < linear.target_norm < reduced.target_norm < whole.target_norm
    assert reduced.target_norm == pytest.approx(whole.target_norm, rel=2e-3)


def test_a_start_from_the_reduced_objective_ends_at_the_same_optimum():
    plain, warm = run(n_target=1000), run(n_target=1000, start="reduced")
    assert warm.converged
    assert warm.objective_value == pytest.approx(plain.objective_value, rel=1e-9)
    assert warm.n_restarts_agreeing == 3  # all on the whole target, from random reduced optima


def test_a_sampled_constant_has_its_error():
    exact, sampled = run(), run(target_norm_method="sample", n_norm_pairs=5000)
    assert exact.target_norm_se is None
    off = abs(sampled.loss - exact.loss)
    assert 0 < off < 4.5 * sampled.target_norm_se < 1e-4


@pytest.mark.parametrize("outputs", ["absorbed", "fixed", "trained"])
@pytest.mark.parametrize(
    ("fields", "m", "cosine"),
    [
        ({"activation": "leaky_relu", "negative_slope": -0.9}, 3, -math.sin(math.pi * 0.01 / 7.22)),
        ({"activation": "leaky_relu", "negative_slope": -0.5}, 5, -math.sin(math.pi * 0.25 / 4.5)),
        ({"activation": "leaky_relu", "negative_slope": 0.3}, 3, -0.5),
        ({"activation": "abs"}, 3, 0.0),
        ({"activation": "relu"}, 4, -1 / 3),
    ],
)
def test_the_frame_is_the_activation_s_whatever_the_outputs(outputs, fields, m, cosine):
    got = compression(
        input_dim=6, n_target=1000, n_compressed=m, student_outputs=outputs, keep_arrays=True,
        n_restarts=3, target_norm_method="skip", **fields,
    )  # fmt: skip
    off = np.array(got.cosines)[~np.eye(m, dtype=bool)] - cosine
    assert got.etf_rms == pytest.approx(math.sqrt((off**2).mean()), rel=1e-9)
    assert got.etf_max == pytest.approx(np.abs(off).max(), rel=1e-9)
    whole = math.sqrt(m + m * (m - 1) * cosine**2)
    assert got.etf_frobenius == pytest.approx(math.sqrt((off**2).sum()) / whole, rel=1e-9)
    assert got.etf_rms < 5 / math.sqrt(6 * 1000)  # some 1/sqrt(N d)
    # Its orientation: a simplex in the top M - 1 of E_N, orthogonal rows in the top M, and
    # between these (the rows' sum follows m first) nothing to compare with.
    if cosine in (-1 / (m - 1), 0.0):
        assert got.span_overlap > 0.9
    else:
        assert got.span_overlap is None
    assert (got.cos_sum_mean is None) == (fields["activation"] == "abs")


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ({"activation": "softplus", "student_outputs": "fixed"}, True),
        ({"activation": "elu", "student_outputs": "fixed", "quadrature_tol": 1e-6}, True),
        ({"activation": "softplus", "student_outputs": "trained", "max_iterations": 40}, True),
        ({"activation": "sigmoid", "student_outputs": "fixed"}, False),
        ({"activation": "tanh", "student_outputs": "fixed"}, False),
        ({"activation": "erf", "student_outputs": "fixed"}, False),
        ({"target_outputs": "gaussian"}, False),  # E a = 0: no limit
        ({"target_outputs": "gaussian", "student_outputs": "trained"}, False),
        ({"row_mean": 0.3}, False),  # opens the frame
        ({"row_mean": 0.3, "centre_rows": True}, True),
        ({"n_compressed": 6}, False),  # more than a simplex of d = 4 holds
        ({"activation": "abs", "n_compressed": 5}, False),  # more than d orthogonal rows
        ({"target_outputs": "gaussian", "objective": "simplified_target"}, True),
        ({"target_outputs": "uniform", "student_outputs": "trained", "n_outputs": 2}, True),
        ({"n_compressed": 1}, False),
    ],
)
def test_where_no_frame_is_known_there_is_no_distance_to_one(fields, known):
    got = compression(
        **{"input_dim": 4, "n_target": 60, "n_compressed": 3, "n_restarts": 2, **fields}
    )
    columns = (got.etf_rms, got.etf_max, got.etf_frobenius)
    assert (None not in columns) if known else (columns == (None,) * 3)
    if not known and fields.get("n_compressed", 2) > 1:
        assert None not in (got.cos_min, got.cos_max)  # what was found is told all the same


def test_outputs_of_both_signs_are_no_frame():
    """Two rows of one sign and one of the other: J's minimum for this sign pattern."""
    rows = [
        compression(input_dim=4, n_target=12, n_compressed=3, target_outputs="biased_signs",
                    seed=seed, n_restarts=2)
        for seed in range(6)
    ]  # fmt: skip
    assert {m.etf_rms is None for m in rows} == {True, False}
    for m in rows:
        agree = m.n_negative == (0 if m.scale_a_n > 0 else 3)
        assert (m.etf_rms is not None) == agree


def test_several_outputs_measure_rows_by_their_whole_outputs():
    """Scaling a ReLU row up and its outputs down is the same student: no column may change."""
    fields = {"input_dim": 3, "n_target": 12, "n_compressed": 2, "target_outputs": "uniform"}
    got = [
        compression(**fields, student_outputs="trained", n_outputs=2, n_restarts=n)
        for n in (1, 2, 5)
    ]
    same = [m for m in got if m.objective_value == pytest.approx(got[-1].objective_value, rel=1e-9)]
    assert len(same) >= 2  # of several starts, whose scales differ
    for m in same:
        assert m.norm_mean == pytest.approx(same[-1].norm_mean, rel=1e-6)
        assert m.sum_norm == pytest.approx(same[-1].sum_norm, rel=1e-6)


@pytest.mark.parametrize(
    "activation", ["erf", "softplus", "gelu", "silu", "tanh", "sigmoid", "elu"]
)
def test_every_other_activation_has_a_loss_and_its_evidence(activation):
    m = compression(
        input_dim=4, n_target=12, n_compressed=2, activation=activation, student_outputs="fixed"
    )
    assert m.converged
    assert m.grad_norm <= 1e-10
    assert 0 <= m.loss < m.target_norm
    if activation == "erf":
        assert m.quadrature_error is None
    else:
        assert 0 <= m.quadrature_error <= 1e-9 * abs(m.objective_value)
    assert m.output_mean == pytest.approx(0.5, rel=1e-12)
    assert m.gap is None


def test_an_infimum_that_is_not_attained_is_not_called_converged():
    # silu(s z)/s tends to relu(z), which serves this student better: rows grow for ever.
    fields = {"input_dim": 4, "n_target": 12, "n_compressed": 2, "activation": "silu"}
    ends = [compression(**fields, student_outputs="trained", max_iterations=n) for n in (20, 40)]
    assert [m.stop_reason for m in ends] == ["growing"] * 2
    assert not any(m.converged for m in ends)
    assert ends[1].norm_mean > ends[0].norm_mean > 3


def test_a_series_that_is_too_short_is_marked():
    m = compression(
        input_dim=3, n_target=20, n_compressed=2, activation="elu", student_outputs="fixed",
        quadrature_tol=1e-16,
    )  # fmt: skip
    assert not m.converged
    assert m.stop_reason == "quadrature"
    assert m.quadrature_error > 0


def test_several_outputs_and_trained_relu():
    single = run(n_compressed=3, student_outputs="trained", n_restarts=4)
    absorbed = run(n_compressed=3, signs="search")
    assert single.objective_value == pytest.approx(absorbed.objective_value, rel=1e-8)
    assert single.etf_rms == pytest.approx(absorbed.etf_rms, rel=1e-4)
    two = run(
        input_dim=4, n_compressed=2, n_target=20, student_outputs="trained", n_outputs=2,
        target_outputs="uniform",
    )  # fmt: skip
    assert two.converged
    assert (two.mean_norm, two.output_mean, two.n_negative) == (None, None, 0)
    assert 0 < two.loss < two.target_norm
    with pytest.raises(Infeasible, match="fixed outputs"):
        run(n_target=2, n_compressed=2, target_outputs="biased_signs", output_bias=0.0,
            student_outputs="fixed", seed=next(s for s in range(20) if cancels(s)))  # fmt: skip


def cancels(seed):
    from lawsweep.experiments.compression.target import draw

    params = compression.bind(
        {**POINT, "n_target": 2, "n_compressed": 2, "target_outputs": "biased_signs",
         "output_bias": 0.0, "student_outputs": "fixed"}
    )  # fmt: skip
    return float(draw(params, seed, "cpu").alpha.sum()) == 0.0


def test_the_authors_setting():
    m = run(n_target=2000, normalise_rows=True, centre_rows=True, target_rows="gaussian",
            target_outputs="uniform", n_compressed=3)  # fmt: skip
    assert m.converged
    assert m.scale_a is None
    assert m.scale_a_n == pytest.approx(1.0, abs=5 / math.sqrt(3 * 2000))


def test_rows_with_a_mean_turn_the_sum_of_the_frame():
    m = run(row_mean=0.5, n_target=1000, n_compressed=3)
    assert m.converged
    assert m.cos_sum_mean > 0.999
    assert m.scale_a is None
    assert not m.limit_is_exact


def test_cost_takes_columns_and_scalars_and_grows():
    fields = {
        "input_dim": np.array([10, 80, 500]),
        "n_target": np.array([100, 20000, 1000]),
        "n_compressed": np.array([3, 5, 5]),
        "n_restarts": np.array([3, 3, 3]),
        "target_outputs": np.array(["ones", "ones", "signs"]),
        "signs": np.array(["auto", "mean", "auto"]),
        "solver": np.array(["auto", "auto", "auto"]),
        "target_norm_method": np.array(["exact", "skip", "exact"]),
        "dtype": np.array(["float64", "float64", "float32"]),
    }
    cost = compression.cost(SimpleNamespace(**fields))
    assert cost.flops.shape == (3,)
    assert np.all(np.isfinite(cost.flops))
    assert cost.flops[1] > 1000 * cost.flops[0]
    point = compression.bind({**POINT})
    assert float(compression.cost(point).flops) > 0
    simple = compression.bind(
        {"input_dim": 5, "n_target": None, "n_compressed": 3, "objective": "simplified"}
    )
    assert float(compression.cost(simple).flops) > 0
    none = {**fields, "n_target": np.array([None, None, None], dtype=object)}
    assert np.all(np.isfinite(compression.cost(SimpleNamespace(**none)).flops))


def test_metrics_fit_their_declared_types():
    metrics = run(keep_arrays=True, prediction="reduced", compare_frames=True)
    row = compression.metrics_row(metrics)
    assert set(row) == {s.name for s in compression.metrics}
    shapes = {name: a.shape for name, a in compression.arrays_row(metrics).items()}
    assert shapes == {"cosines": (5, 5), "spectrum": (10,), "rows": (5, 10)}
    assert compression.arrays_row(run()) == {}


def test_the_module_is_light():
    code = (
        "import sys, lawsweep.experiments.compression; "
        "print([m for m in ('torch', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "n_runs", "paper"),
    [
        ("compression_gap", 120, 288),
        ("etf_geometry", 120, 585),
        ("etf_phase", 208, 864),
        ("etf_orientation", 96, None),
        ("etf_slopes", 76, None),
        ("compression_sphere", 54, None),
        ("compression_activations", 96, None),
    ],
)
def test_the_sweep_files_plan_and_read_known_columns(name, n_runs, paper):
    content = yaml.safe_load((SWEEPS / f"{name}.yaml").read_text())
    presets = content.pop("presets", {})
    for extra, expected in (({}, n_runs), (presets.get("paper", {}), paper or n_runs)):
        merged = dict(content)
        for key, value in extra.items():
            merged[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
        sweep = Sweep.from_mapping(name, merged)
        assert len(sweep.plan()) == expected
        columns = [s.name for s in (*compression.params, *compression.metrics)] + ["ratio", "seed"]
        assert len(parse_figures(sweep.figures, columns)) == len(content["figures"])
        parse_fits(sweep.fits, columns)
