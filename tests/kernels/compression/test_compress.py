"""A target computed once, and its compression in one call."""

import math

import numpy as np
import pytest
import torch
from reference_compression import objective, value

from lawsweep.kernels.activations import activation
from lawsweep.kernels.compression import theory
from lawsweep.kernels.compression.compress import compress, compress_all
from lawsweep.kernels.compression.norm import series_error
from lawsweep.kernels.compression.search import How
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel


def drawn(d=4, n=12, seed=0, outputs=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.uniform(0.5, 1.5, (n, outputs)) / n


def target_of(act="relu", **how):
    w, alpha = drawn(**how)
    return Target.of(torch.from_numpy(w), torch.from_numpy(alpha), activation(act))


def test_what_is_asked_of_a_target_is_what_its_sums_are():
    target, (w, alpha) = target_of(), drawn()
    size, a = np.linalg.norm(w, axis=1), alpha[:, 0]
    assert target.scale == pytest.approx(np.abs(a) @ size, rel=1e-14)
    assert target.scales.tolist() == pytest.approx([a @ size], rel=1e-14)
    assert target.moments.scale == pytest.approx(a @ size, rel=1e-14)
    assert target.moments.mean.numpy() == pytest.approx(a @ w, rel=1e-13)
    whole = sum(a[i] * a[j] * value(w[i], w[j], 0.0) for i in range(12) for j in range(12))
    assert target.norm == (pytest.approx(whole, rel=1e-12), 0.0)
    assert not target.has_both_signs
    assert target.tolerance == 1e-10
    single = Target(target.rows.float(), target.alpha.float())
    assert single.tolerance == 64 * 2.0**-23
    # Degree by degree T is reached from below; degrees 4 and on are what is left.
    parts = [target.norm_to_degree(k) for k in range(3)]
    assert parts[0] < parts[1] < parts[2] < whole


def test_an_averaged_target_is_the_limit_of_many_rows():
    kernel = HomogeneousKernel(0.0)
    limit = Target.averaged(1.7, 5, kernel)
    assert (limit.scale, limit.moments.scale, limit.scales.tolist()) == (1.7, 1.7, [1.7])
    assert limit.norm_to_degree(2) == limit.norm_to_degree(0) == 1.7**2 * kernel.mean_factor(5)
    assert limit.loss_scale(3) == theory.limit_loss(1.7, 5, 3)
    assert limit.loss_scale(50) == theory.limit_loss(1.7, 5, 6)  # six rows are a frame in R^5
    [found] = compress_all([limit], 4, [np.random.default_rng(0)], How(objective="simplified"))
    assert found.value == pytest.approx(theory.mean_field_objective(1.7, 5, 4), rel=1e-13)
    assert found.reason == "converged"


def test_a_target_is_computed_once(monkeypatch):
    counts = {"moments": 0, "norm": 0}
    moments = theory.target_moments

    def counted(*args):
        counts["moments"] += 1
        return moments(*args)

    monkeypatch.setattr("lawsweep.kernels.compression.target.target_moments", counted)
    target = target_of()
    for seed in range(2):
        compress(target, 2, np.random.default_rng(seed))
    assert target.moments is target.moments
    assert target.norm is target.norm
    assert counts["moments"] == 1
    with pytest.raises(AttributeError, match="cannot assign"):
        target.rows = target.rows


@pytest.mark.parametrize("outputs", ["absorbed", "trained"])
def test_a_compression_has_the_loss_of_its_rows(outputs):
    target, (w, alpha) = target_of(), drawn()
    found = compress(target, 3, np.random.default_rng(1), outputs=outputs)
    assert found.reason == "converged"
    b = found.outputs[:, 0].numpy()
    assert outputs == "trained" or set(b) == {1.0}
    rows, signs = np.abs(b)[:, None] * found.v.numpy(), np.sign(b)
    expected = objective(w, alpha[:, 0], rows, signs)
    assert found.value == pytest.approx(expected, rel=1e-11)
    assert 0.0 < target.norm[0] + found.value < 0.2 * target.norm[0]
    # No random student of that size comes near.
    rng = np.random.default_rng(2)
    others = rng.standard_normal((200, *rows.shape)) * np.abs(rows).mean()
    assert min(objective(w, alpha[:, 0], other, signs) for other in others) > found.value


def test_several_targets_together_are_as_if_alone():
    targets = [target_of(seed=seed) for seed in range(3)]
    together = compress_all(targets, 3, [np.random.default_rng(s) for s in range(3)], How())
    for seed, (target, found) in enumerate(zip(targets, together, strict=True)):
        alone = compress(target, 3, np.random.default_rng(seed))
        assert found.value == pytest.approx(alone.value, rel=1e-12)
        assert len(found.result.reason) == len(alone.result.reason)


def test_any_activation_and_several_outputs():
    target = target_of("tanh", outputs=2)
    found = compress(target, 2, np.random.default_rng(0), outputs="trained", n_restarts=4)
    assert found.outputs.shape == (2, 2)
    norm, error = target.norm
    error += series_error(target, found.v, found.outputs)
    assert error < 1e-9 * norm
    assert 0.0 < norm + found.value < norm
    with pytest.raises(ValueError, match="a target of one output, got 2"):
        target.weights  # noqa: B018


def test_what_cannot_be_compressed_is_said():
    w, alpha = drawn()
    zero = Target(torch.from_numpy(0.0 * w), torch.from_numpy(alpha))
    with pytest.raises(ValueError, match="a target that is not zero"):
        compress(zero, 2, np.random.default_rng(0))
    a = torch.from_numpy(np.where(np.arange(12) % 2, 1.0, -1.0))
    with pytest.raises(ValueError, match="fixed outputs, the target's mean output, not to vanish"):
        compress(Target(torch.from_numpy(w), a), 2, np.random.default_rng(0), outputs="fixed")
    with pytest.raises(ValueError, match=r"unknown method 'newtn'.* mean 'newton'"):
        compress(target_of(), 2, np.random.default_rng(0), method="newtn")
    with pytest.raises(ValueError, match="absorbed outputs need a homogeneous activation"):
        compress(target_of("tanh"), 2, np.random.default_rng(0))
    assert math.isfinite(Target(torch.from_numpy(w), a).norm[0])
