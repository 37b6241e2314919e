"""Row laws: mean 0, covariance I, known fourth moments, and the prefix property."""

import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.data import sampling

N, D = 40_000, 3
# E x_1^4 of a coordinate: 3 (normal), 3 d/(d+2) (sphere of radius sqrt d), 1, 9/5.
FOURTH = {"gaussian": 3.0, "sphere": 3.0 * D / (D + 2), "rademacher": 1.0, "uniform": 1.8}
EIGHTH = {"gaussian": 105.0, "sphere": 9.0, "rademacher": 1.0, "uniform": 9.0}  # E x^8 / bounds


def draw(law, seed=0, n=N, d=D, **kw):
    return sampling.rows(law, np.random.default_rng(seed), n, d, **kw)


def test_every_law_is_covered():
    assert set(FOURTH) == set(sampling.ROW_LAWS)


@pytest.mark.parametrize("law", sampling.ROW_LAWS)
def test_moments(law):
    x = draw(law)
    # Five standard errors of each sample mean; the draw is fixed, so this never flickers.
    assert float(x.mean(0).abs().max()) < 5.0 / math.sqrt(N)
    second = (x.T @ x / N - torch.eye(D, dtype=x.dtype)).abs()
    assert float(second.max()) < 5.0 * math.sqrt(FOURTH[law] / N)
    fourth = (x**4).mean(0)
    tolerance = 5.0 * math.sqrt(EIGHTH[law] / N)
    assert float((fourth - FOURTH[law]).abs().max()) < tolerance


def test_supports():
    assert set(draw("rademacher", n=200).unique().tolist()) == {-1.0, 1.0}
    assert float(draw("uniform", n=2000).abs().max()) <= math.sqrt(3.0)
    radius = draw("sphere", n=500).norm(dim=1)
    torch.testing.assert_close(radius, torch.full_like(radius, math.sqrt(D)), rtol=1e-14, atol=0)


@pytest.mark.parametrize("law", sampling.ROW_LAWS)
@pytest.mark.parametrize("n", [1, 7, 50])
def test_a_larger_sample_extends_a_smaller_one(law, n):
    # Odd sizes too: a generator that buffers half a word would betray itself there.
    assert torch.equal(draw(law, n=n), draw(law, n=101)[:n])


@pytest.mark.parametrize("law", sampling.ROW_LAWS)
def test_dtype_does_not_change_the_draw(law):
    assert torch.equal(draw(law, n=20, dtype=torch.float32), draw(law, n=20).to(torch.float32))


def test_unknown_law():
    with pytest.raises(ValueError, match="unknown row law 'normal'; valid: gaussian"):
        draw("normal", n=2)
