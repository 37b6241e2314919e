"""The fits of the gap that ship, on rows made of the theory's two terms (THEORY, part A)."""

import math

import numpy as np
import pandas as pd
import pytest

import lawsweep
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits

RATIOS, DIMS = (1, 0.3, 0.1, 0.03, 0.01), (10, 20, 40, 80)


def coefficients(m):
    """N gap = c1 sqrt(N/d) + c2 for unit rows: p1 = -((1 + sqrt(d/N))^2 - 1) / (2 pi K_M d), and
    pm = -(1/N) (1/4 + beta / (2 pi - 4 beta)), beta = arcsin(1/(M - 1)).
    """
    r = -1 / (m - 1)
    k_m = (math.pi + (m - 1) * (math.sqrt(1 - r * r) + r * (math.pi - math.acos(r)))) / m
    beta = math.asin(1 / (m - 1))
    mean = 0.25 + beta / (2 * math.pi - 4 * beta)
    return -1 / (math.pi * k_m), -1 / (2 * math.pi * k_m) - mean


def rows(left_in_d=0.0):
    rng = np.random.default_rng(3)
    made = []
    for m in (3, 5):
        c1, c2 = coefficients(m)
        for d in DIMS:
            for n in (round(d / ratio) for ratio in RATIOS):
                for seed in range(3):
                    scaled = (
                        c1 * math.sqrt(n / d) + c2 + left_in_d * math.sqrt(n / d) / d ** (2 / 3)
                    )
                    gap = scaled / n * (1 + 0.01 * rng.standard_normal())
                    made.append((m, d, n, seed, gap))
    frame = pd.DataFrame(made, columns=["n_compressed", "input_dim", "n_target", "seed", "gap"])
    ratio = frame["input_dim"] / frame["n_target"]
    return frame.assign(status="ok", ratio=ratio, predicted_gap=frame["gap"])


def shipped():
    """The fits of both terms: that of each d, and the joint one."""
    entries = [e for e in lawsweep.load_sweep("compression_gap").fits if e["law"] == "terms"]
    return parse_fits(entries, list(rows()))


@pytest.mark.parametrize("left_in_d", [0.0, 0.6])
def test_one_fit_over_d_and_n_finds_both_terms_and_the_edge(left_in_d):
    results = fit(rows(left_in_d), next(s for s in shipped() if s.name == "gap_jointly"))
    assert [found.group["n_compressed"] for found in results] == [3, 5]
    for found in results:
        assert found.n_points == len(RATIOS) * len(DIMS)  # points of one d/N and unlike d are apart
        c1, c2 = coefficients(found.group["n_compressed"])
        # Fixed draws; twice the half width is some four standard errors.
        expected = {
            "sqrt(n_target/input_dim)": c1,
            "1": c2,
            "sqrt(n_target/input_dim)/input_dim**(2/3)": left_in_d,
        }
        for name, value in expected.items():
            parameter = found[name]
            half = (parameter.high - parameter.low) / 2
            assert abs(parameter.estimate - value) < 2 * half
        assert found["sqrt(n_target/input_dim)"].estimate == pytest.approx(c1, rel=0.1)


def test_the_fit_of_each_d_finds_the_same_two_terms():
    spec = next(s for s in shipped() if "input_dim" in s.by)
    for found in fit(rows(), spec):
        c1, c2 = coefficients(found.group["n_compressed"])
        assert found["sqrt(n_target/input_dim)"].estimate == pytest.approx(c1, rel=0.1)
        assert found["1"].estimate == pytest.approx(c2, rel=0.15)
