"""What a factor proves holds whoever computed it: sound libraries, sloppy ones, wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretending import Card

from lawsweep.kernels.base import devices
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue, smallest_eigenvalues_batched
from lawsweep.kernels.linalg import certificate
from lawsweep.kernels.linalg.certificate import (
    backward_error,
    cholesky_margin,
    factorise_proving,
    prove_above,
)
from lawsweep.kernels.linalg.cholesky import Residual, factorise

EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}
cholesky_ex, solve_triangular = torch.linalg.cholesky_ex, torch.linalg.solve_triangular


def matrix(n, low, seed=0, dtype=torch.float64):
    """Symmetric with eigenvalues low, then 0.1 .. 1, and the least of them to 1e-14."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    k = (q * np.concatenate([[low], np.linspace(0.1, 1.0, n - 1)])) @ q.T
    return torch.from_numpy((k + k.T) / 2).to(dtype)


def true_error(a, factor):
    """||A - L L^T||, the difference formed in numbers of 64 bits."""
    lower = factor.tril().double().numpy().astype(np.longdouble)
    left = a.double().numpy().astype(np.longdouble) - lower @ lower.T
    return np.abs(np.linalg.eigvalsh(left.astype(np.float64))).max()


# -- libraries: what they make of a block, and of the columns below it


def reciprocals(factor, columns, *, upper, out):
    """Substitution that multiplies by 1 / pivot."""
    scaled = factor / factor.diagonal().unsqueeze(1)
    found = solve_triangular(scaled.tril(), columns / factor.diagonal().unsqueeze(1), upper=upper)
    return out.copy_(found)


def inverse(factor, columns, *, upper, out):
    """By an explicit inverse, as cuBLAS does for small blocks."""
    eye = torch.eye(len(factor), dtype=factor.dtype)
    return out.copy_(solve_triangular(factor.tril(), eye, upper=upper) @ columns)


def off(relative):
    def solve(factor, columns, *, upper, out):
        found = solve_triangular(factor, columns, upper=upper)
        return out.copy_(found * (1.0 + relative * torch.sin(torch.arange(found.numel()))
                                  .reshape(found.shape).to(found)))  # fmt: skip

    return solve


def lifted(by):
    """The factor of A + by I, as that of A: what breaks down completes."""

    def factorised(a, *, upper=False, out=None):
        found, info = cholesky_ex(a + by * torch.eye(a.shape[-1], dtype=a.dtype), upper=upper)
        if out is None:
            return found, info
        out[0].copy_(found)
        out[1].copy_(info)
        return out

    return factorised


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("solve", [None, reciprocals, inverse, off(1e-10), off(1e-3)])
def test_the_bound_covers_the_error_of_every_librarys_blocks(monkeypatch, solve, dtype):
    if solve is not None:
        monkeypatch.setattr(torch.linalg, "solve_triangular", solve)
    for n, block in ((30, 30), (64, 8), (150, 40), (260, 64)):
        a = matrix(n, 0.05, seed=n, dtype=dtype)
        factor, residual = a.clone(), Residual()
        assert factorise(factor, block, residual=residual)
        bound = backward_error(n, float(a.diagonal().sum()), residual.norm(), dtype)
        assert true_error(a, factor) <= bound
        if solve in (None, reciprocals):
            assert bound <= 2.0 * cholesky_margin(n, float(a.diagonal().sum()), dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_is_proved_is_true_whatever_the_solves_were_worth(monkeypatch, dtype):
    monkeypatch.setitem(devices.OVERRIDES, "cholesky_watched", 16)
    n, low = 90, 0.01
    for solve, worth in ((solve_triangular, True), (inverse, True), (off(0.02), False)):
        monkeypatch.setattr(torch.linalg, "solve_triangular", solve)
        k = matrix(n, low, seed=1, dtype=dtype)
        room = 3.0 * cholesky_margin(n, float(k.trace()), dtype)
        got = prove_above(k, low - room, torch.empty_like(k))
        assert got is not None
        assert got <= low
        assert (got > low - 3.0 * room) == worth


@pytest.mark.parametrize("block", [16, 1000])
def test_a_factor_of_another_matrix_proves_nothing_false(monkeypatch, block):
    """By the theorem about substitution, that it completed would prove lambda_min >= 0.02."""
    monkeypatch.setitem(devices.OVERRIDES, "cholesky_watched", block)
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lifted(0.05))
    for low in (0.01, -0.01):
        k = matrix(60, low)
        got = prove_above(k, low + 0.01, torch.empty_like(k))
        assert got is not None
        assert got <= low
        assert low + 0.01 - cholesky_margin(60, 60.0, torch.float64) > low


@pytest.mark.parametrize("solver", ["dense", "cholesky_lanczos", "mixed"])
@pytest.mark.parametrize("bad", ["solves", "factors"])
def test_the_certificate_refuses_or_stays_true(monkeypatch, solver, bad):
    monkeypatch.setitem(devices.OVERRIDES, "cholesky_watched", 16)
    if bad == "factors":
        monkeypatch.setattr(torch.linalg, "cholesky_ex", lifted(1e-3))
    for seed, low in ((0, 0.02), (1, 1e-4), (2, -1e-4)):
        k = matrix(120, low, seed)
        if bad == "solves":  # in the proof, not where they steer

            def proving(work, kept=factorise_proving):
                with monkeypatch.context() as patch:
                    patch.setattr(torch.linalg, "solve_triangular", off(1e-3))
                    return kept(work)

            monkeypatch.setattr(certificate, "factorise_proving", proving)
        start = np.random.default_rng(seed)
        found = smallest_eigenvalue(k, start=start, solver=solver)
        many = smallest_eigenvalues_batched(
            k.repeat(2, 1, 1), starts=[np.random.default_rng(s) for s in range(2)], solver=solver
        )
        for one in (found, *many):
            assert one.lower <= low + 1e-14
            assert not one.sign_trusted or low > 0
            wide = one.upper - one.lower > 0.01 * abs(one.value)
            assert one.certified != wide


def test_on_a_card_the_blocks_are_watched_and_the_verdict_is_read_once():
    k = matrix(96, 0.05)
    expected = factorise_proving(k.clone())
    reads = []
    for block in (48, 12):
        with Card() as card, pytest.MonkeyPatch.context() as patch:
            patch.setitem(devices.OVERRIDES, "cholesky_watched", block)
            there = k.to("cuda")
            factorise_proving(there.clone())  # products are proved once a process
            with card.counting() as counts:
                work = there.clone()
                bound = factorise_proving(work)
        assert true_error(k, work.here) <= bound == pytest.approx(expected, rel=0.1)
        assert counts.waits.total() == counts.uploads.total() == 0
        reads.append(counts.reads.total())
    assert reads[0] == reads[1] <= 3


def test_a_breakdown_on_a_card_is_told_at_the_end():
    with Card(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(devices.OVERRIDES, "cholesky_watched", 12)
        for low in (-0.5, float("nan")):
            k = torch.eye(96, dtype=torch.float64)
            k[5, 5] = low
            assert factorise_proving(k.to("cuda")) is None


def test_no_bound_is_made_of_what_is_no_number():
    for trace, left in ((np.nan, 0.0), (1.0, np.inf), (np.inf, 0.0)):
        assert backward_error(10, trace, left, torch.float64) == np.inf
    assert backward_error(2**25, 1.0, 0.0, torch.float32) == np.inf
