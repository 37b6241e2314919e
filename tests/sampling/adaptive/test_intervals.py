"""Intervals that hold when one stops because they are narrow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lawsweep.sampling.adaptive.design import coarse_set, noise_of
from lawsweep.sampling.adaptive.intervals import (
    alike,
    all_cover,
    looks,
    mean_interval,
    ranks_of,
)

T_5 = 2.57058184  # two-sided 95 % of Student's t with 5 degrees of freedom, from tables


def test_a_mean_has_students_interval():
    values = np.array([1.0, 2, 3, 4, 5, 6])
    found = mean_interval(values, 0.95)
    sd = math.sqrt(sum((v - 3.5) ** 2 for v in values) / 5)
    assert found.estimate == 3.5
    assert found.half == pytest.approx(T_5 * sd / math.sqrt(6), rel=1e-8)
    assert mean_interval(values[:1], 0.95).half == math.inf


def test_ranks_of_all_looks_cover_together_by_brute_force():
    """Every sequence of values below or above the quantile, one by one, for three small looks."""
    q, sizes = 0.5, (5, 8, 12)
    ranks = ((1, 5), (2, 7), (3, 10))
    total = 0.0
    for path in itertools.product((0, 1), repeat=sizes[-1]):
        below = np.cumsum(path)
        inside = all(a <= below[n - 1] < b for n, (a, b) in zip(sizes, ranks, strict=True))
        total += inside * 0.5 ** sizes[-1]
    assert all_cover(q, sizes, ranks) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.1])
def test_a_quantile_is_covered_at_any_stop(q):
    """The stop is the worst one: the first look that misses, if there is one."""
    sizes = looks(6, 200)
    ranks = ranks_of(q, 0.95, sizes)
    assert all_cover(q, sizes, ranks) >= 0.95
    rng = np.random.default_rng(5)
    n = 4000
    below = np.cumsum(rng.random((n, sizes[-1])) < q, axis=1)
    missed = np.zeros(n, dtype=bool)
    for size, pair in zip(sizes, ranks, strict=True):
        if pair is not None:
            b = below[:, size - 1]
            missed |= (b < pair[0]) | (b >= pair[1])
    assert missed.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n)
    assert ranks[-1] is not None
    assert ranks[0] is None  # six values are too few for so much


def test_ranks_take_as_much_error_as_they_may():
    sizes = looks(6, 100)
    ranks = ranks_of(0.5, 0.95, sizes)
    assert all_cover(0.5, sizes, ranks) < 0.975


def test_seeds_that_agree_to_rounding_are_alike():
    assert alike(np.array([0.1 + 0.2, 0.3, 0.3]))
    assert not alike(np.array([1.0, 1.0 + 1e-9]))
    assert not alike(np.array([1.0]))


def test_the_coarse_set_is_the_cheapest_for_the_slope_and_spans_the_range():
    v = np.log(np.array([10.0, 20, 40, 80, 160, 320, 640, 1280]))
    seconds = np.exp(v)
    chosen = coarse_set(v, seconds, 5)
    assert {0, 7} <= set(chosen)
    assert max(np.diff(v[chosen])) <= np.ptp(v) / 2 + 1e-9

    def badness(some):
        some = [0, *some, 7]
        at = v[some]
        return seconds[some].sum() / np.sum((at - at.mean()) ** 2)

    allowed = [
        some
        for some in itertools.combinations(range(1, 7), 3)
        if max(np.diff(v[[0, *some, 7]])) <= np.ptp(v) / 2 + 1e-9
    ]
    assert chosen == [0, *min(allowed, key=badness), 7]
    many = np.linspace(0, 1, 120)
    assert len(coarse_set(many, np.ones(120), 5)) == 5
    assert coarse_set(v[:4], seconds[:4], 5) == [0, 1, 2, 3]


def test_the_variances_of_seeds_are_told_apart():
    rng = np.random.default_rng(1)
    v = np.linspace(0, 3, 8)
    n = 4000
    y = 0.2 * rng.standard_normal((n, 8)) + 0.3 * rng.standard_normal((n, 1)) * v
    found = noise_of(v, y, 1)
    assert found.own == pytest.approx(0.04, rel=0.05)
    assert found.shared == pytest.approx(0.09, rel=0.1)
    assert found.p_lack > 1e-4
    bent = noise_of(v, y + 0.1 * (v - 1.5) ** 2, 1)
    assert bent.p_lack < 1e-6
    assert bent.lack > 0
