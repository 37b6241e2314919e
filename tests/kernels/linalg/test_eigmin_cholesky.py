"""The blocked Cholesky: against numpy's, on breakdown, and its proof against known spectra."""

import numpy as np
import pytest
import torch

from lawsweep.kernels.base import devices
from lawsweep.kernels.linalg.certificate import cholesky_margin, prove_above
from lawsweep.kernels.linalg.cholesky import factorise, load, solve

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}


def spd(n, seed=0, low=0.1):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    k = (q * np.linspace(low, 1.0, n)) @ q.T
    return torch.from_numpy((k + k.T) / 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("n", "block"),
    [(n, b) for n in (1, 2, 7, 63, 64, 65, 200, 333) for b in (1, 5, 64, None) if n < 99 or b != 1],
)
def test_factor_is_numpys_and_nothing_above_the_diagonal_is_read(n, block, dtype):
    k = spd(n).to(dtype)
    # NaN above the diagonal, and a view into longer rows.
    frame = torch.full((n, n + 3), torch.nan, dtype=dtype)
    a = frame[:, 1 : n + 1]
    a.copy_(torch.where(torch.ones(n, n).tril() > 0, k, torch.nan))
    assert factorise(a, block)
    expected = np.linalg.cholesky(k.double().numpy())
    # Backward stable: error n u |K| |K^{-1}| at most, condition number 10 and |K| = 1.
    assert np.abs(a.tril().double().numpy() - expected).max() <= 20 * n * EPS[dtype]
    assert bool(frame[:, [0, n + 1, n + 2]].isnan().all())


@pytest.mark.parametrize("at", [0, 3, 40, 99])
@pytest.mark.parametrize("bad", [-1.0, 0.0, float("nan")])
def test_breakdown_is_reported(at, bad):
    k = torch.eye(100, dtype=torch.float64)
    k[at, at] = bad
    for block in (3, 16, None):
        assert not factorise(k.clone(), block)


def test_solve_inverts_for_one_vector_and_for_several():
    k = spd(150)
    work = torch.full_like(k, torch.nan)
    load(k, work)
    assert factorise(work, 16)
    v = torch.from_numpy(np.random.default_rng(1).standard_normal((150, 3)))
    expected = np.linalg.solve(k.numpy(), v.numpy())
    # Condition number 10; solutions of size 10.
    assert np.abs(solve(work, v).numpy() - expected).max() < 1e-12
    assert np.abs(solve(work, v[:, 0]).numpy() - expected[:, 0]).max() < 1e-12
    assert solve(work.float(), v).dtype is torch.float64


def test_load_shifts_scales_and_takes_a_direction_out():
    k = spd(300)
    d = torch.from_numpy(np.random.default_rng(1).standard_normal(300))
    for dtype, level in ((torch.float64, 1e-13), (torch.float32, 2e-5)):
        out = torch.full((300, 300), torch.nan, dtype=dtype)
        load(k, out, shift=0.25, direction=d, weight=0.5, scale=2.0)
        expected = 2.0 * (k.numpy() - 0.5 * np.outer(d, d)) - 0.25 * np.eye(300)
        assert np.abs(np.tril(out.double().numpy() - expected)).max() < level
        load(k, out)
        assert torch.equal(out.tril(), k.tril().to(dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_bound_lies_below_and_is_refused_above(monkeypatch, dtype):
    monkeypatch.setitem(devices.OVERRIDES, "cholesky_block", 8)
    for seed in range(20):
        n = 5 + 7 * seed
        # A diagonal matrix: its eigenvalues are known without a solver, in this very type.
        diagonal = torch.from_numpy(np.random.default_rng(seed).uniform(0.5, 1.0, n)).to(dtype)
        k, low = torch.diag(diagonal), float(diagonal.min())
        work = torch.empty_like(k)
        margin = cholesky_margin(n, float(diagonal.sum()), dtype)
        got = prove_above(k, low - 2.0 * margin, work)
        assert got is not None
        assert low - 4.0 * margin - 4.0 * EPS[dtype] <= got < low
        assert prove_above(k, low * (1.0 + 10.0 * EPS[dtype]), work) is None


def test_the_factorisation_error_is_within_the_theorems_bound():
    """|L L^T - A| <= gamma_{N+1} |L| |L|^T, checked in extended precision."""
    k = spd(96)
    work = torch.empty_like(k)
    load(k, work)
    assert factorise(work, 8)
    factor = work.tril().numpy().astype(np.longdouble)
    error = np.abs(factor @ factor.T - k.numpy())
    u = 2.0**-53
    assert (np.tril(error) <= 97 * u / (1 - 97 * u) * np.abs(factor) @ np.abs(factor).T).all()


@pytest.mark.plain_torch
def test_the_librarys_routine_works_in_place():
    """As on a GPU, where the whole matrix goes to it: a second N^2 would not fit beside a large K.

    torch's allocations are recorded: nothing of the matrix's size is among them.
    """
    n = 300
    k = spd(n)
    a = torch.where(torch.ones(n, n).tril() > 0, k, torch.nan)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        assert factorise(a, block=n)
    largest = max(abs(event.cpu_memory_usage) for event in profile.events())
    assert largest < 8 * n * n / 2
    assert np.abs(a.tril().numpy() - np.linalg.cholesky(k.numpy())).max() <= 20 * n * 2.0**-52
