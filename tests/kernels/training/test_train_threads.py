"""The numbers of a seed: the same, but for rounding, with any threads and in any company."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import activation
from lawsweep.kernels.base import devices
from lawsweep.kernels.base.threads import OneThread, aligned_size, evenly_shared
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.training import gradient as train_gradient
from lawsweep.kernels.training.train import train

pytestmark = pytest.mark.portable

EPS = 2.0**-52


@pytest.fixture
def threads():
    """Sets the number of torch's threads; the old one comes back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def problem(n, d, depth, n_outputs, n_seeds):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((n_seeds, n, d)))
    draws = [
        init_weights(Network((*[d] * depth, n_outputs), "linear"), rng) for _ in range(n_seeds)
    ]
    y = torch.from_numpy(rng.integers(0, 2, (n_seeds, n)))
    return x, y, [torch.stack(w) for w in zip(*draws, strict=True)]


# Sizes at which, without care, threads would share a product over the samples (N n^2 large), an
# elementwise operation (N n > 32768), a sum over the outputs (N C > 32768) and the optimiser's
# vector (S p > 32768); and small ones.  Few steps: training amplifies rounding.
@pytest.mark.parametrize(
    ("loss", "name", "n", "d", "depth", "n_outputs"),
    [
        ("squared", "relu", 1000, 86, 4, 1),
        ("logistic", "relu", 1001, 80, 2, 1),
        ("squared", "relu", 37, 9, 3, 1),
        ("squared", "relu", 12_000, 8, 3, 3),
        ("logistic", "relu", 12_000, 8, 2, 3),
        ("squared", "relu", 40_000, 3, 1, 1),
        ("logistic", "relu", 40_000, 3, 1, 1),
        ("squared", "tanh", 501, 80, 3, 1),
        ("squared", "tanh", 512, 80, 3, 1),
        ("logistic", "tanh", 12_001, 5, 3, 3),
    ],
)
def test_a_seed_depends_neither_on_threads_nor_on_company(
    threads, loss, name, n, d, depth, n_outputs
):
    x, classes, weights = problem(n, d, depth, n_outputs, n_seeds=3)
    y = classes
    if n_outputs == 1:
        y = classes.double() * 2 - 1
    elif loss == "squared":
        y = torch.nn.functional.one_hot(classes, n_outputs).double()

    def trained(n_threads, seeds):
        threads(n_threads)
        r = train(
            x[seeds],
            y[seeds],
            [w[seeds] for w in weights],
            activation(name),
            loss=loss,
            learning_rate=0.05,
            max_steps=4,
        )
        assert torch.get_num_threads() == n_threads
        return [
            (r.curve_loss[i], r.grad_norm[i], *(w[i] for w in r.weights)) for i in range(len(seeds))
        ]

    alone = [trained(1, [i])[0] for i in range(3)]
    for n_threads, seeds in ((2, [1]), (2, [0, 1]), (3, [0, 1, 2])):
        for i, found in zip(seeds, trained(n_threads, seeds), strict=True):
            for a, b in zip(alone[i], found, strict=True):
                # A sum of n terms rounds by at most n eps of their sizes in any order, which the
                # four layers and four steps pass on; a sample too many or too few is 1/n.
                allowed = 100 * n * EPS * float(np.abs(np.asarray(a)).max())
                np.testing.assert_allclose(a, b, rtol=0, atol=allowed)


def test_gradients_of_one_seed_are_made_in_one_batch(threads):
    """Where threads may not share a product alone they share the layers'."""
    threads(2)
    x, y, weights = problem(600, 40, 4, 1, n_seeds=1)
    flat = torch.zeros(sum(w.numel() for w in weights)).double()
    grads = [
        t.view_as(w) for t, w in zip(flat.split([w.numel() for w in weights]), weights, strict=True)
    ]
    losses = torch.empty(1, 1, 1, 1).double()
    found = train_gradient.blocks(
        x, y.unsqueeze(-1).double(), weights, grads, losses, activation("relu"), "squared"
    )
    assert len(found) == 1
    [(f, b, w, _)] = found[0].groups
    assert len(f) == len(b) == len(w) == 3
    w.fill_(7.0)
    assert all(bool((g == 7).all()) for g in grads[:-1])
    assert not grads[-1].any()


@pytest.mark.parametrize("n_threads", [1, 2, 3, 16])
@pytest.mark.parametrize("n", [1, 64, 32768, 32769, 65500, 10**6 + 1])
def test_each_threads_share_is_whole_vectors(threads, n_threads, n):
    threads(n_threads)
    size = aligned_size(n)
    shares = max(1, min(n_threads, -(-size // 32768)))
    assert size >= n
    assert size % (64 * shares) == 0
    assert size < n + 2 * 64 * n_threads
    assert evenly_shared(size)
    assert evenly_shared(size + 1) == (size + 1 < 32768)


def test_one_thread_gives_the_others_back(threads):
    threads(3)
    with contextlib.suppress(KeyError), OneThread(True):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 3
    with OneThread(True):
        with OneThread(True):
            pass
        assert torch.get_num_threads() == 1
    with OneThread(False):
        assert torch.get_num_threads() == 3


@pytest.mark.parametrize("n_threads", [2, 3])
def test_a_last_block_of_one_seed_has_its_own_gradient(threads, monkeypatch, n_threads):
    """Blocks of as many seeds as threads leave one over, whose layers' errors share memory."""
    monkeypatch.setitem(devices.OVERRIDES, "training_bytes", 1)
    n_seeds = 2 * n_threads + 1
    x, classes, weights = problem(37, 9, 4, 1, n_seeds)
    how = {"learning_rate": 0.02, "max_steps": 10}
    threads(n_threads)
    together = train(x, classes.double(), weights, activation("relu"), **how)
    threads(1)
    last = [w[-1:] for w in weights]
    alone = train(x[-1:], classes[-1:].double(), last, activation("relu"), **how)
    np.testing.assert_allclose(together.curve_loss[-1], alone.curve_loss[0], rtol=1e-12)
