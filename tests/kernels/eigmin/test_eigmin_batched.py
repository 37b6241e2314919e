"""Many small problems in one call: each equals its solo run, and none costs its neighbours."""

import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import activation
from lawsweep.kernels.data import sampling
from lawsweep.kernels.eigmin.result import EigenReason
from lawsweep.kernels.eigmin.smallest import (
    MinEigenvalue,
    smallest_eigenvalue,
    smallest_eigenvalues_batched,
)
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk import rank as ntk_rank
from lawsweep.kernels.ntk.linearisation import linearise

pytestmark = pytest.mark.portable


def wisharts(b, n, dtype=torch.float64):
    a = np.random.default_rng(0).standard_normal((b, n, 2 * n))
    return torch.from_numpy(a @ a.transpose(0, 2, 1) / (2 * n)).to(dtype)


def starts(b):
    return [np.random.default_rng(s) for s in range(b)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("solver", ["auto", "dense", "cholesky_lanczos", "mixed"])
@pytest.mark.parametrize("certify", [True, False])
@pytest.mark.parametrize(("b", "n"), [(1, 5), (40, 64), (3, 300)])
def test_each_equals_its_solo_run(b, n, certify, solver, dtype):
    k = wisharts(b, n, dtype)
    together = smallest_eigenvalues_batched(k, starts=starts(b), solver=solver, certify=certify)
    eps = torch.finfo(dtype).eps
    for matrix, start, got in zip(k, starts(b), together, strict=True):
        solo = smallest_eigenvalue(matrix, start=start, solver=solver, certify=certify)
        assert isinstance(got, MinEigenvalue)
        assert (got.solver, got.reason, got.certified) == (solo.solver, solo.reason, solo.certified)
        # The same steps; products of a stack may be summed in another order, 16 ulps at most here.
        for name in ("value", "lambda_max", "lower", "upper"):
            a, c = getattr(got, name), getattr(solo, name)
            assert a == pytest.approx(c, rel=64 * eps, abs=16 * eps * solo.lambda_max)
        tol = 1e-10 if dtype is torch.float64 else math.sqrt(eps)
        assert got.residual <= 10 * (tol * solo.value + n * eps * solo.lambda_max)


def test_a_bad_member_has_its_error_and_the_others_their_values():
    k = wisharts(6, 40)
    plain = smallest_eigenvalues_batched(k, starts=starts(6))
    k[1, 3, 4] = math.nan
    k[2, 0, 5] += 1.0
    k[3] = 0.0
    k[4] *= 2.0**600
    got = smallest_eigenvalues_batched(k, starts=[*starts(5), torch.zeros(40)])
    assert got[0].value == pytest.approx(plain[0].value, rel=1e-14)
    assert isinstance(got[1], ValueError)
    assert "NaN or infinite entries" in str(got[1])
    assert isinstance(got[2], ValueError)
    assert "not symmetric" in str(got[2])
    assert got[3].reason is EigenReason.NUMERICALLY_SINGULAR
    assert got[4].value == pytest.approx(plain[4].value * 2.0**600, rel=1e-12)
    assert isinstance(got[5], ValueError)
    assert "start must be 40 finite numbers" in str(got[5])
    lengths = smallest_eigenvalues_batched(wisharts(2, 8), starts=[torch.ones(8), torch.ones(7)])
    assert lengths[0].converged
    assert isinstance(lengths[1], ValueError)


def test_singular_and_negative_members_of_a_stack():
    k = torch.stack([torch.eye(6), -torch.eye(6), torch.zeros(6, 6), torch.ones(6, 6)]).double()
    got = smallest_eigenvalues_batched(k, starts=starts(4))
    assert [g.reason is EigenReason.CONVERGED for g in got] == [True, True, False, False]
    assert got[0].value == pytest.approx(1.0, rel=1e-14)
    assert got[1].value == pytest.approx(-1.0, rel=1e-14)
    assert got[1].certified
    assert not got[1].sign_trusted
    for g, low in zip(got, (1.0, -1.0, 0.0, 0.0), strict=True):
        assert g.lower <= low <= g.upper
    assert got[3].lambda_max == pytest.approx(6.0, rel=1e-13)


def test_misuse_is_named():
    k = wisharts(2, 4)
    with pytest.raises(
        ValueError, match=r"matrices \(B, N, N\) and B starts, got \(2, 4, 4\) and 1"
    ):
        smallest_eigenvalues_batched(k, starts=starts(1))
    with pytest.raises(ValueError, match=r"matrices \(B, N, N\)"):
        smallest_eigenvalues_batched(k[0], starts=starts(4))
    with pytest.raises(ValueError, match="unknown solver 'lobpcg'"):
        smallest_eigenvalues_batched(k, starts=starts(2), solver="lobpcg")
    assert smallest_eigenvalues_batched(k[:0], starts=[]) == []


@pytest.mark.parametrize("name", ["sigmoid", "relu", "tanh"])
def test_a_batch_of_networks_whole(name):
    """Gram, rank reports, error bounds and eigenvalues of stacked seeds against one at a time."""
    act, b, n, d = activation(name), 5, 30, 9
    x = torch.stack([sampling.rows("gaussian", np.random.default_rng(s), n, d) for s in range(b)])
    x[3, 7] = x[3, 2]  # one member has equal samples: an exact zero
    drawn = [
        init_weights(Network((d, 8, 7, 1), "linear"), np.random.default_rng(50 + s))
        for s in range(b)
    ]
    weights = [torch.stack(w) for w in zip(*drawn, strict=True)]
    lin = linearise(Network.of(weights, act), weights, x)
    reports = ntk_rank.rank_reports(lin)
    traces = ntk.diagonal(lin).sum(-1).tolist()
    found = smallest_eigenvalues_batched(ntk.gram(lin), starts=starts(b))
    for i in range(b):
        solo = linearise(Network.of(drawn[i], act), drawn[i], x[i])
        assert reports[i] == ntk_rank.rank_report(solo)
        assert (reports[i].zero is ntk_rank.ZeroReason.DUPLICATE) == (i == 3)
        bound = ntk.gram_error_bound(lin, trace=traces[i])
        assert bound == pytest.approx(ntk.gram_error_bound(solo), rel=1e-13)
        alone = smallest_eigenvalue(ntk.gram(solo), start=np.random.default_rng(i))
        assert alone.reason is found[i].reason
        if found[i].converged:
            assert found[i].value == pytest.approx(alone.value, rel=1e-9)
    assert [f.converged for f in found] == [i != 3 for i in range(b)]


def test_starts_may_be_one_tensor():
    k = wisharts(5, 30)
    vector = torch.from_numpy(np.random.default_rng(9).standard_normal(30))
    together = smallest_eigenvalues_batched(k, starts=vector.expand(5, 30))
    assert together == smallest_eigenvalues_batched(k, starts=[vector] * 5)
    with pytest.raises(ValueError, match=r"expected starts of shape \(5, 30\), got \(5, 29\)"):
        smallest_eigenvalues_batched(k, starts=torch.ones(5, 29))
    # A bad start is refused for its member alone.
    bad = vector.repeat(5, 1)
    bad[3] = math.nan
    got = smallest_eigenvalues_batched(k, starts=bad)
    assert isinstance(got[3], ValueError)
    for g, t in zip(got[:3] + got[4:], together[:3] + together[4:], strict=True):
        # As above: to eps of the largest eigenvalue, in a batch of another size.
        assert g.value == pytest.approx(t.value, abs=100 * 2.0**-52 * t.lambda_max)
        assert g.reason is t.reason
