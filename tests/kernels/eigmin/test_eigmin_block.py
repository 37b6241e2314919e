"""The matrix-free smallest eigenvalue against dense solves, its evidence, its shards."""

import math
import pickle

import numpy as np
import pytest
import torch

from lawsweep.kernels.data import sampling
from lawsweep.kernels.eigmin.block import smallest_eigenvalue_block
from lawsweep.kernels.eigmin.result import EigenReason
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.ntk.row_shard import DrawnRows, GivenRows, InProcess, NtkShards, RowShard


def rng(seed=0):
    return np.random.default_rng(seed)


def problem(
    n, d, name="sigmoid", *, depth=3, seed=0, scale=1.0, bias=False, layers=None, **options
):
    weights = init_weights(Network.equal(d, d, depth, "linear"), rng(seed + 100))
    arrays = [scale * w.numpy() for w in weights]
    network = Network.equal(d, d, depth, name, bias=bias, layers=layers)
    return NtkShards(n, DrawnRows("gaussian", rng(seed), d), network, arrays, **options)


def spectrum(p):
    """Eigenvalues of the dense kernel, by LAPACK."""
    biases = None if p.biases is None else [torch.from_numpy(b) for b in p.biases]
    weights = [torch.from_numpy(w) for w in p.weights]
    k = ntk.ntk_gram(p.network, weights, torch.from_numpy(p.rows(0, p.n_samples)), biases)
    return np.linalg.eigvalsh(k.numpy())


def solve(p, n_shards=1, **options):
    layers = p.network.chosen
    return smallest_eigenvalue_block(
        p.in_process(n_shards), **{"key": 7, "layers": layers, **options}
    )


CASES = [
    (400, 30, "sigmoid", {}),
    (400, 30, "relu", {}),
    (300, 30, "tanh", {"layers": (2,)}),
    (300, 24, "gelu", {"depth": 4}),
    (350, 24, "sigmoid", {"biases": [np.full(24, 0.3), np.full(24, -0.1), np.zeros(1)]}),
    (300, 30, "sigmoid", {"store": False}),
]


@pytest.mark.parametrize(("n", "d", "name", "options"), CASES)
def test_agrees_with_a_dense_solve(n, d, name, options):
    p = problem(n, d, name, **options)
    values = spectrum(p)
    got = solve(p, tol=1e-4)
    low, high = values[0], values[-1]
    # Kato and Temple: for the eigenvalue nearest theta, error <= r^2 / (distance to the next); a
    # dense solve errs by about eps lambda_max.
    gap = values[1] - low
    assert abs(got.value - low) <= got.residual**2 / (gap / 2.0) + 1e-14 * high
    assert got.value == pytest.approx(low, rel=1e-6)
    assert got.residual <= 1e-4 * got.value
    assert np.abs(values - got.value).min() <= got.residual + 1e-14 * high
    assert got.lower == -math.inf
    assert low * (1.0 - 1e-12) - 1e-14 * high <= got.upper
    assert got.upper <= got.value * (1.0 + 1e-6)
    assert got.lambda_max == pytest.approx(high, rel=1e-4)
    assert abs(high - got.lambda_max) <= got.lambda_max_residual + 1e-12 * high
    assert (got.converged, got.reason) == (True, EigenReason.CONVERGED)
    assert not got.certified
    assert not got.sign_trusted
    assert got.rounding < 1e-9 * got.value


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("max_basis", [24, 60, 400])
def test_neither_block_nor_basis_changes_the_answer(block, max_basis):
    p = problem(350, 28)
    values = spectrum(p)
    got = solve(p, block=block, max_basis=max_basis, tol=1e-5)
    assert got.converged
    assert got.value == pytest.approx(values[0], rel=1e-8)
    assert (got.n_restarts > 0) == (max_basis < 350)
    assert len(got.ritz_values) == block
    # Rayleigh and Ritz: the k-th Ritz value lies above the k-th eigenvalue.
    assert (np.array(got.ritz_values) >= values[:block] * (1.0 - 1e-9)).all()


def test_the_preconditioner_is_what_makes_it_converge():
    p = problem(700, 40)
    with_it, without = (solve(p, rank=rank, max_matvecs=200) for rank in (None, 1))
    assert with_it.converged
    assert not without.converged
    assert without.reason is EigenReason.MAX_MATVECS
    # Unconverged, it is an upper bound still, and its residual says how little it is worth.
    assert without.value > with_it.value
    assert without.residual > 1e-2 * without.value


def test_shards_give_what_one_process_gives():
    p = problem(151, 16)
    alone = solve(p, tol=1e-6)
    for n_shards in (2, 5):
        got = solve(p, n_shards, tol=1e-6)
        assert got.value == pytest.approx(alone.value, rel=1e-9)
        assert got.lambda_max == pytest.approx(alone.lambda_max, rel=1e-9)
        again = solve(p, n_shards, tol=1e-6)
        assert again == got  # the sums run in the order of the shards


def test_nothing_as_long_as_the_samples_travels():
    n, longest = 701, []

    class Spy(InProcess):
        in_process = False

        def each(self, method, *args):
            answers = super().each(method, *args)
            flat = [args, answers]
            while flat:
                item = flat.pop()
                if isinstance(item, dict):
                    flat.extend(item.values())
                elif isinstance(item, list | tuple):
                    flat.extend(item)
                elif isinstance(item, np.ndarray):
                    longest.append((item.shape, method))
            return answers

    p = problem(n, 25)
    made = Spy([p(index, 3) for index in range(3)])
    got = smallest_eigenvalue_block(made, key=1, layers=(1, 2, 3), tol=1e-2, max_basis=60)
    assert got.converged
    n_params = 2 * 25 * 25 + 25
    allowed = {n_params, 25, 1}  # J^T T, second moments
    for shape, method in longest:
        for length in shape:
            # The basis (up to 60), the preconditioner (N / 8 at most) and what is per layer.
            assert length in allowed or length <= max(60 + 1, n // 8 + 1), (shape, method)
    assert any(n_params in shape for shape, _ in longest)


def test_starts_are_those_of_the_key_whatever_the_shards():
    p = problem(37, 6)
    draws = []
    for n_shards in (1, 2, 5):
        shards = [p(index, n_shards) for index in range(n_shards)]
        for shard in shards:
            shard.draw(99, 3)
        draws.append(np.hstack([shard._block.numpy() for shard in shards]))
    assert np.array_equal(draws[0], draws[1])
    assert np.array_equal(draws[0], draws[2])
    assert 0.875 <= np.abs(draws[0]).min() < 0.9 < 1.1 < np.abs(draws[0]).max() <= 1.125
    # No two samples are alike, or e_i - e_k would be out of reach; and the three vectors differ.
    assert len(np.unique(np.abs(draws[0]))) == draws[0].size
    cosines = np.corrcoef(draws[0])
    assert np.abs(cosines - np.eye(3)).max() < 0.6
    assert np.abs(np.corrcoef(np.abs(draws[0])) - np.eye(3)).max() < 0.6


def test_two_starts_speak_for_each_other():
    p = problem(300, 24)
    one, two = solve(p), solve(p, n_starts=2)
    assert one.other_start is None
    assert two.converged
    assert two.value == pytest.approx(two.other_start, rel=1e-2)
    assert two.value <= one.value
    assert two.n_matvecs > 1.5 * one.n_matvecs


def test_starts_that_disagree_are_no_answer(monkeypatch):
    from lawsweep.kernels.eigmin import davidson

    def stuck(self, key, tol):
        value = 1.0 if key == 0 else 2.0
        return davidson.Found(value, 1e-3, (value,), 1, 0, False)

    monkeypatch.setattr(davidson.Davidson, "smallest", stuck)
    got = solve(problem(60, 8), key=0, n_starts=2)
    assert (got.value, got.other_start) == (1.0, 2.0)
    assert got.reason is EigenReason.STARTS_DISAGREE
    assert not got.converged


def test_a_limit_on_products_is_reported():
    got = solve(problem(300, 24), max_matvecs=20)
    assert got.reason is EigenReason.MAX_MATVECS
    assert not got.converged
    assert got.residual > 1e-2 * got.value


def test_a_singular_kernel_is_named_not_solved():
    p = problem(200, 7, "relu")  # p = 105 < N
    values = spectrum(p)
    assert abs(values[0]) < 1e-12 * values[-1]
    got = solve(p, max_matvecs=400)
    assert got.reason is EigenReason.NUMERICALLY_SINGULAR
    assert not got.converged
    assert got.value < 1e-15 * values[-1]


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_tiny_problems(n):
    p = problem(n, 6, "tanh")
    got = solve(p)
    assert got.converged
    assert got.value == pytest.approx(spectrum(p)[0], rel=1e-3)


@pytest.mark.parametrize("name", ["sigmoid", "relu"])
def test_float32_says_how_far_it_can_be_believed(name):
    p = problem(400, 30, name)
    low = spectrum(p)[0]
    got = solve(problem(400, 30, name, dtype="float32"))
    assert abs(got.value - low) <= 4.0 * got.rounding + 1e-4 * low
    assert 1e-6 * low < got.rounding < 1e-2 * low
    # Either the residual was reached, in float64, or it is said that it was not.
    assert got.reason in (EigenReason.CONVERGED, EigenReason.ROUNDING)
    assert got.converged == (got.residual <= 1e-2 * got.value)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_large_and_small_networks_are_like_others(scale):
    p = problem(30, 40, "linear", depth=2, layers=(2,))
    plain = solve(p, tol=1e-4)
    scaled = solve(problem(30, 40, "linear", depth=2, scale=scale, layers=(2,)), tol=1e-4)
    assert plain.converged
    assert scaled.converged
    # Layer 2's kernel is F F^T with F = X W_1: quadratic in the scale.
    assert scaled.value == pytest.approx(scale**2 * plain.value, rel=1e-8)


def test_drawn_rows_are_those_of_one_draw():
    for law in sampling.ROW_LAWS:
        rows = DrawnRows(law, rng(3), 5)
        whole = sampling.rows(law, rng(3), 9000, 5).numpy()
        assert np.array_equal(rows(0, 9000), whole), law
        assert np.array_equal(rows(8500, 8600), whole[8500:8600]), law
        assert np.array_equal(rows(8500, 8600), whole[8500:8600]), law  # nothing was used up


def test_shards_are_made_from_what_is_pickled():
    p = problem(50, 6)
    moved = pickle.loads(pickle.dumps(p))
    a, b = (solve(q, 2) for q in (p, moved))
    assert a == b
    x = p.rows(0, 50)
    given = NtkShards(50, GivenRows(x), p.network, p.weights)
    assert solve(given, 2) == a


def test_shard_sizes_and_refusals():
    p = problem(50, 6)
    sizes = [p(index, 7)._rows.n_rows for index in range(7)]
    assert sum(sizes) == 50
    assert max(sizes) - min(sizes) <= 1
    with pytest.raises(ValueError, match="n_shards <= 50 samples, got 0 of 51; take fewer shards"):
        p(0, 51)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tol": 0.0}, "tol must lie between 0 and 1"),
        ({"block": 0}, "expected block from 1 to 64"),
        ({"block": 65, "max_basis": 600}, "expected block from 1 to 64"),
        ({"max_basis": 5}, "max_basis >= 6 block"),
        ({"max_matvecs": 0}, "max_matvecs >= block"),
        ({"n_starts": 3}, "n_starts must be 1 or 2"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        solve(problem(20, 5), **options)


def test_a_start_in_an_invariant_subspace_still_ends():
    """A kernel c I + ...: linear, depth 1, orthogonal inputs: every vector is an eigenvector."""
    x = torch.from_numpy(np.linalg.qr(rng().standard_normal((40, 30)))[0].T.copy())
    rows = Jacobian.on(Network((40, 1), "linear"), [torch.ones(40, 1, dtype=torch.float64)], x)
    got = smallest_eigenvalue_block(InProcess([RowShard(rows)]), key=1, layers=(1,), block=3)
    assert got.converged
    assert got.value == pytest.approx(1.0, rel=1e-12)
    assert got.residual < 1e-12
    assert got.n_iterations <= 3


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(3000, 75)])
def test_a_size_where_it_matters(n, d):
    """To a percent with few products, and to 1e-6 with more, against Cholesky and Lanczos."""
    from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue

    p = problem(n, d)
    x = torch.from_numpy(p.rows(0, n))
    k = ntk.ntk_gram(p.network, [torch.from_numpy(w) for w in p.weights], x)
    truth = smallest_eigenvalue(k, start=rng(1), certify=False)
    quick, fine = solve(p), solve(p, tol=1e-3)
    assert quick.converged
    assert fine.converged
    assert quick.value == pytest.approx(truth.value, rel=1e-2)
    assert fine.value == pytest.approx(truth.value, rel=1e-6)
    assert quick.n_matvecs < 400


def test_the_solver_is_the_first_that_fits():
    from lawsweep.kernels.eigmin.solvers import (
        choose,
        matrix_bytes,
        matrix_free_bytes,
        stores,
    )

    widths = (300, 300, 300, 1)
    assert choose(5000, widths, 2e9) == "auto"
    assert matrix_bytes(50_000) == pytest.approx(4.4e10)
    # Six arrays of N x 300 doubles are 0.72 GB; the rest is vectors and the preconditioner.
    assert 1e9 < matrix_free_bytes(50_000, widths) < 2e9
    assert matrix_free_bytes(50_000, widths, store=False) < matrix_free_bytes(50_000, widths)
    assert choose(50_000, widths, 6e9) == "matrix_free"
    assert choose(50_000, widths, 4e8, n_shards=4) == "sharded"
    # Rather without the network's values than not at all; rather sharded than without them.
    assert not stores(50_000, widths, 7e8)
    assert choose(50_000, widths, 7e8) == "matrix_free"
    assert choose(50_000, widths, 7e8, n_shards=2) == "sharded"
    with pytest.raises(MemoryError, match=r"on each of 2 shards.*take more shards"):
        choose(50_000, widths, 2e8, n_shards=2)
