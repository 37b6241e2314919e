"""The table of tolerances is that of the types, and one type's are no tighter than its rounding."""

import math

import pytest
import torch

from lawsweep.kernels.base.rounding import TOLERANCES, gamma, tolerances


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_the_types_own_numbers(dtype):
    info, own = torch.finfo(dtype), tolerances(dtype)
    assert (own.eps, own.tiny, own.unit) == (info.eps, info.tiny, info.eps / 2)
    assert own.least_normal == info.tiny / info.eps
    # Sums of some thousand terms are off by tens of eps.
    assert min(own.gradient, own.rank, own.curvature) >= 64 * info.eps
    assert own.residual >= math.sqrt(info.eps) or dtype is torch.float64


def test_a_type_that_no_kernel_computes_in_is_refused():
    with pytest.raises(ValueError, match=r"torch.float64 or torch.float32, got torch.float16"):
        tolerances(torch.float16)


def test_gamma_is_what_k_roundings_may_do():
    assert gamma(1, torch.float64) == pytest.approx(2.0**-53, rel=1e-15)
    assert gamma(2**53, torch.float64) == math.inf
    ones = torch.full((1000,), 0.1, dtype=torch.float32)
    exact = 1000 * float(ones[0])
    assert abs(float(ones.sum()) - exact) <= gamma(1000, torch.float32) * exact
