"""Many seeds at once equal the same seeds alone, failures and zeros included."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from lawsweep import Infeasible
from lawsweep.experiments.batches import caught
from lawsweep.experiments.ntk_min_eig import Metrics, Params, ntk_min_eig
from lawsweep.experiments.ntk_min_eig import fused as _ntk_fused
from lawsweep.experiments.ntk_min_eig import run as _ntk_run

pytestmark = pytest.mark.portable

POINT = {"n_samples": 60, "input_dim": 12, "width": 12, "depth": 3, "activation": "sigmoid"}
# Noise by nature: its size is rounding, so it is compared on the scale of what was rounded.
ROUNDING = {"residual"}


def both(n_seeds=5, first=0, **changes):
    params = Params(**{**POINT, **changes})
    seeds = list(range(first, first + n_seeds))
    together = ntk_min_eig.fused([params] * n_seeds, seeds, "cpu")
    return together, [caught(lambda s=s: ntk_min_eig(params, s)) for s in seeds]


def assert_equal(one, other):
    """All metrics to 1e-9 relative; the residual to 1e-9 of the largest eigenvalue."""
    for f in dataclasses.fields(Metrics):
        a, b = getattr(one, f.name), getattr(other, f.name)
        if isinstance(a, float) and isinstance(b, float) and not (math.isnan(a) and math.isnan(b)):
            scale = one.lambda_max if f.name in ROUNDING and one.lambda_max else max(abs(a), abs(b))
            assert abs(a - b) <= 1e-9 * scale, f.name
        else:
            np.testing.assert_equal(a, b, err_msg=f.name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_samples": 1},
        {"n_samples": 310, "input_dim": 30, "width": 30},  # alone: by Lanczos
        {"bias": True, "activation": "relu"},
        {"activation": "relu", "width": 3, "n_samples": 9},  # some members are exact zeros
        {"kernel": "1+2", "parameterisation": "ntk", "activation": "gelu"},
        {"kernel": "conjugate", "n_samples": 8},
        {"data": "mixture", "betas": (1.0, 2.0, 0.5), "shape": "pyramid"},
        {"data": "digits", "input_dim": 64},
        {"solver": "dense"},
        {"dtype": "float32", "n_samples": 8},  # done one by one
        {"n_samples": 200, "input_dim": 10},  # condition numbers of 1e10, solved again alone
        {"n_lowest": 3, "full_spectrum": True, "infinite_width_up_to": 60},  # done one by one
        {"n_samples": 301},  # p = 300: every member is an exact zero
    ],
)
def test_rows_equal_solo(changes):
    together, alone = both(**changes)
    assert len(together) == 5
    for one, other in zip(together, alone, strict=True):
        assert_equal(one, other)


def test_some_members_are_zeros_and_others_are_not():
    together, _ = both(n_seeds=12, activation="relu", width=3, n_samples=4)
    zeros = [m.zero_reason is not None for m in together]
    assert any(zeros)
    assert not all(zeros)


def test_a_member_out_of_range_is_infeasible_alone(monkeypatch):
    """One seed's weights are scaled up to overflow; its neighbours' rows are as ever."""
    alone_draw, weights_of = _ntk_run.draw, _ntk_fused._weights

    def draw(params, seed, device):
        given, weights = alone_draw(params, seed, device)
        return given, [w * (1e250 if seed == 2 else 1.0) for w in weights]

    def stacked(params, seeds, device):
        scale = torch.tensor([1e250 if s == 2 else 1.0 for s in seeds], dtype=torch.float64)
        return [w * scale[:, None, None] for w in weights_of(params, seeds, device)]

    monkeypatch.setattr(_ntk_fused, "_weights", stacked)
    monkeypatch.setattr(_ntk_run, "draw", draw)
    together, alone = both(activation="relu", width=40)
    assert isinstance(together[2], Infeasible)
    for k in (0, 1, 3, 4):
        assert_equal(together[k], alone[k])


def test_a_file_that_is_missing_fails_every_member(tmp_path):
    together, _ = both(n_seeds=3, data=f"file:{tmp_path / 'none.npy'}")
    assert all(isinstance(e, ValueError) and "cannot read" in str(e) for e in together)


def test_large_problems_are_done_one_by_one(monkeypatch):
    monkeypatch.setattr(_ntk_fused, "FUSE_UP_TO", 10)
    monkeypatch.setattr(_ntk_fused, "_together", None)  # would not be callable
    together, alone = both(n_seeds=2)
    assert together == alone
