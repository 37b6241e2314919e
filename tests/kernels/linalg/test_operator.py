"""A matrix as an operator, and its factor as a factorisation."""

import numpy as np
import torch

from lawsweep.kernels.linalg.cholesky import Cholesky
from lawsweep.kernels.linalg.operator import Dense


def block(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_a_matrix_multiplies_vectors_that_lie_as_rows():
    a, v, u = block(6, 4), block(3, 4, seed=1), block(3, 6, seed=2)
    held = Dense(a)
    assert held.shape == (6, 4)
    assert (held.dtype, held.device) == (a.dtype, a.device)
    torch.testing.assert_close(held.mv(v), torch.einsum("ij,bj->bi", a, v))
    torch.testing.assert_close(held.rmv(u), torch.einsum("ij,bi->bj", a, u))
    torch.testing.assert_close(held.mv(v[0]), held.mv(v)[0])
    torch.testing.assert_close(held.rmv(u[0]), held.rmv(u)[0])
    assert torch.equal(held.rows(slice(1, 3)), a[1:3])
    assert torch.equal(held.dense(), a)
    assert torch.equal(Dense(a @ a.mT).diagonal(), (a @ a.mT).diagonal())


def test_a_factor_solves_and_leaves_its_matrix():
    a = block(20, 20)
    k = a @ a.mT
    before, v = k.clone(), block(3, 20, seed=1)
    found = Cholesky.of(k, shift=0.5)
    assert found is not None
    assert torch.equal(k, before)
    expected = torch.linalg.solve(k + 0.5 * torch.eye(20, dtype=k.dtype), v.mT).mT
    torch.testing.assert_close(found.solve(v), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.solve(v[0]), expected[0], rtol=1e-9, atol=1e-9)


def test_a_factor_may_be_narrower_than_its_matrix_and_there_may_be_none():
    k = torch.eye(4, dtype=torch.float64)
    work = torch.empty(4, 4, dtype=torch.float32)
    found = Cholesky.of(k, work=work)
    assert found is not None
    assert found.factor is work
    assert found.solve(k[0]).dtype is torch.float64
    assert Cholesky.of(k, shift=-2.0) is None
