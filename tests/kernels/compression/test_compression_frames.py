import math

import numpy as np
import pytest
import torch
from reference_compression import objective

from lawsweep.kernels.base import devices
from lawsweep.kernels.compression.frames import OrientedFrames, frame_losses, sphere_error
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.search import frame_start, random_starts
from lawsweep.kernels.compression.solve import solve
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import (
    expected_norm,
    mean_field_objective,
    predicted_gap,
    simplex_frame,
    target_moments,
)
from lawsweep.kernels.data import sampling, target_rows
from lawsweep.kernels.data.target_rows import target_outputs
from lawsweep.kernels.gaussian.homogeneous import RELU, HomogeneousKernel


def sphere(d, n, seed=0):
    rng = np.random.default_rng(seed)
    w = sampling.rows("sphere", rng, n, d) / math.sqrt(d)
    return w, torch.full((n,), 1.0 / n, dtype=torch.float64)


def test_oriented_frames_have_the_derivatives_of_their_loss():
    w, alpha = sphere(5, 40)
    simplex = simplex_frame(3, torch.eye(2, dtype=torch.float64))
    frames = OrientedFrames(
        PopulationLoss(Target(w, alpha), torch.ones(1, 3, dtype=torch.float64)), simplex
    )
    rng = np.random.default_rng(0)
    q = torch.linalg.qr(torch.from_numpy(rng.standard_normal((2, 5, 2)))).Q.mT
    x = q.flatten(1)
    value, gradient = frames.value_gradient(x)
    v = (simplex @ q).numpy()
    expected = [
        0.5
        * (
            objective(w.numpy(), alpha.numpy(), y, np.ones(3))
            - objective(w.numpy()[:0], alpha.numpy()[:0], y, np.ones(3))
        )
        for y in v
    ]
    assert value.tolist() == pytest.approx(expected, rel=1e-12)
    step = torch.from_numpy(rng.standard_normal(x.shape))
    z = step.reshape(2, 2, 5)
    z = z - 0.5 * (z @ q.mT + q @ z.mT) @ q  # tangent
    t = z.flatten(1)
    h = 1e-4
    plus, minus = (frames.value_gradient(frames.move(x, a * t).point)[0] for a in (h, -h))
    # The polar retraction is second order: the curve's second derivative is the Hessian's.
    assert torch.allclose((plus - minus) / (2 * h), (gradient * t).sum(-1), rtol=1e-6, atol=1e-9)
    bend = (plus + minus - 2 * value) / h**2
    assert torch.allclose(bend, (t * frames.hessian_product(x)(t)).sum(-1), rtol=1e-4, atol=1e-6)
    normal = (0.5 * (step.reshape(2, 2, 5) @ q.mT + q @ step.reshape(2, 2, 5).mT) @ q).flatten(1)
    assert torch.allclose(frames.hessian_product(x)(normal), frames.size * normal, atol=1e-12)


def test_the_best_frame_has_the_first_order_gain_of_the_spectrum():
    d, m = 20, 5
    w, alpha = sphere(d, 400)
    moments = target_moments(w, alpha)
    signs = torch.ones(2, m, dtype=torch.float64)
    starts = random_starts(np.random.default_rng(0), 2, m, d, 1.0)
    starts[0] = frame_start(m, 1.0, moments.mean, moments.eigenvectors)
    loss = PopulationLoss(Target(w, alpha), signs)
    found = solve(loss, starts, scale=1.0, tol=1e-10, max_iterations=300)
    got = frame_losses(Target(w, alpha), found.v, np.random.default_rng(1))
    limit = mean_field_objective(moments.scale, d, m)
    p1, _ = predicted_gap(moments, m)
    optimum = float(found.result.loss.min())
    assert optimum < got.best <= got.spectral < got.turned
    # A frame has no way to follow m; second order in E_N is 3 % here.
    assert got.best - limit == pytest.approx(p1, rel=0.04)
    assert abs(got.turned - limit) < 4 * got.turned_sd / math.sqrt(16)
    row = torch.ones(1, d, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"\(M - 1\) d <= 1000"):
        frame_losses(Target(w, alpha), row, np.random.default_rng(1))


def test_sphere_error_is_the_largest_over_a_fine_circle():
    w, alpha = sphere(2, 25)
    angle = torch.linspace(0, 2 * math.pi, 20001, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], 1)

    def k(r):
        sine = torch.sqrt((1 - r * r).clamp_min(0))
        return (sine + r * (math.pi - torch.acos(r))) / (2 * math.pi)

    h = (alpha * w.norm(dim=1) * k((circle @ w.T / w.norm(dim=1)).clamp(-1, 1))).sum(1)
    expected = float((h - RELU.mean_factor(2)).abs().max())
    starts = torch.from_numpy(np.random.default_rng(0).standard_normal((12, 2)))
    got, agreeing = sphere_error(Target(w, alpha), starts)
    assert got == pytest.approx(expected, rel=1e-6)
    assert got >= expected * (1 - 1e-12)
    assert 1 <= agreeing <= 24


@pytest.mark.parametrize("slope", [0.0, 0.4])
def test_a_sampled_constant_is_within_its_error(slope):
    kernel = HomogeneousKernel(slope)
    rng = np.random.default_rng(3)
    w = torch.from_numpy(rng.standard_normal((300, 6)))
    w[5], w[6] = w[4], 0.0
    alpha = torch.from_numpy(rng.uniform(-0.5, 1.5, 300))
    target = Target(w, alpha, kernel)
    exact, _ = target.norm
    off = []
    for seed in range(40):
        value, error = target.sampled_norm(np.random.default_rng(seed), 2000)
        assert 0 < error < 0.02 * exact
        off.append((value - exact) / error)
    # Forty standard normals: mean within 4/sqrt(40), spread within 4 of its standard errors.
    assert abs(np.mean(off)) < 4 / math.sqrt(40)
    assert abs(np.std(off) - 1) < 4 / math.sqrt(80)
    assert Target(0 * w, alpha).sampled_norm(rng, 10) == (0.0, 0.0)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        target.sampled_norm(rng, 1)


@pytest.mark.parametrize("law", target_rows.LAWS)
def test_rows_do_not_depend_on_the_block(law, monkeypatch):
    whole = target_rows.target_rows(law, np.random.default_rng(0), 50, 3, density=0.5)
    monkeypatch.setattr(devices, "TARGET_ROWS", 7)
    parts = target_rows.target_rows(law, np.random.default_rng(0), 50, 3, density=0.5)
    assert torch.equal(whole, parts)
    if law != "sparse":
        plain = sampling.rows(law, np.random.default_rng(0), 50, 3) / math.sqrt(3)
        assert torch.equal(whole, plain)


def test_means_norms_and_centring():
    def rows(law="gaussian", n=4000, **options):
        return target_rows.target_rows(law, np.random.default_rng(0), n, 8, **options)

    shifted = rows(mean=2.0)
    assert torch.allclose(shifted.mean(0), torch.full((8,), 2 / math.sqrt(8), dtype=torch.float64),
                          atol=5 / math.sqrt(8 * 4000))  # fmt: skip
    assert torch.allclose(
        rows(mean=2.0, normalise=True).norm(dim=1), torch.ones(4000, dtype=torch.float64)
    )
    centred = rows(normalise=True, centre=True)
    assert float(centred.mean(0).abs().max()) < 8 * 2.0**-52  # rows of norm 1
    assert float((centred.norm(dim=1) - 1).abs().max()) > 1e-3
    sparse = rows("sparse", density=0.25)
    assert float((sparse != 0).double().mean()) == pytest.approx(
        0.25, abs=5 * math.sqrt(0.1875 / 32000)
    )
    assert set(sparse.unique().tolist()) == {-1 / math.sqrt(2), 0.0, 1 / math.sqrt(2)}
    zero = rows("sparse", n=200, density=0.01, normalise=True)
    assert bool(zero.isfinite().all())
    assert expected_norm("sparse", 8, 0.25) == pytest.approx(
        float(sparse.norm(dim=1).mean()), abs=5 * float(sparse.norm(dim=1).std()) / math.sqrt(4000)
    )
    assert expected_norm("sparse", 8, 1.0) == 1.0
    with pytest.raises(ValueError, match="unknown row law 'cauchy'"):
        rows("cauchy")
    with pytest.raises(ValueError, match=r"density in \(0, 1\]"):
        rows("sparse", density=0.0)


def test_output_laws():
    a = target_outputs("biased_signs", np.random.default_rng(0), 10_000, bias=0.5)
    assert set(a.tolist()) == {-1.0, 1.0}
    assert float(a.mean()) == pytest.approx(0.5, abs=5 * math.sqrt(0.75 / 10_000))
    assert target_outputs("uniform", np.random.default_rng(0), 5, 3).shape == (5, 3)
    with pytest.raises(ValueError, match="bias between -1 and 1"):
        target_outputs("biased_signs", np.random.default_rng(0), 3, bias=2.0)
    with pytest.raises(ValueError, match="unknown output law 'zeros'"):
        target_outputs("zeros", np.random.default_rng(0), 3)
