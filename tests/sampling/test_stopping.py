"""Which runs are stopped early: against the rules as their papers have them, by brute force."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.sampling import stopping
from lawsweep.sampling.stopping import make_stopping, read_stop_runs


def made(**block):
    return make_stopping(read_stop_runs({"metric": "loss", **block}))


def points(values, start=0):
    return [(start + i, {"loss": v}) for i, v in enumerate(values)]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_median_rule_is_that_of_the_paper(mode):
    rng, sign = np.random.default_rng(7), 1 if mode == "min" else -1
    curves = [sign * rng.standard_normal(30).cumsum() for _ in range(40)]
    lengths = rng.integers(5, 31, len(curves))
    rule, ended = made(rule="median", mode=mode, grace=4, min_runs=6), []
    n_stopped = 0
    for run, (curve, length) in enumerate(zip(curves, lengths.tolist(), strict=True)):
        expected = None
        for s in range(4, length):
            means = [sign * np.mean(c[: s + 1]) for c in ended if len(c) > s]
            if len(means) >= 6 and min(sign * curve[: s + 1]) > statistics.median(means):
                expected = s
                break
        found = None
        for s, point in enumerate(points(curve[:length].tolist())):
            if (why := rule.tell(run, [point])) is not None:
                found = s
                assert f"stopped at step {s} (stop_runs): its best loss" in why
                break
        assert found == expected
        n_stopped += found is not None
        rule.ended(run, (), well=found is None)
        if found is None:
            ended.append(curve[:length])
    assert 5 < n_stopped < 35


def test_halving_lets_the_best_of_each_rung_go_on():
    rng = np.random.default_rng(3)
    losses = rng.permutation(60).astype(float).tolist()
    rule, rungs = made(rule="halving", grace=2, factor=3), [[], [], []]
    for run, loss in enumerate(losses):
        expected, found = None, None
        for k, rung in enumerate((2, 6, 18)):
            rungs[k].append(loss)
            if sorted(rungs[k]).index(loss) >= max(1, len(rungs[k]) // 3):
                expected = rung
                break
        for step in range(20):
            if rule.tell(run, [(step, {"loss": loss})]) is not None:
                found = step
                break
        assert found == expected
        rule.ended(run, (), well=found is None)
    assert len(rungs[1]) < len(rungs[0]) / 2


def test_nan_is_worse_than_anything_and_a_run_that_began_anew_is_judged_anew():
    rule = made(min_runs=2, grace=1)
    for run in range(2):
        rule.ended(run, points([5.0, 4.0, 3.0]), well=True)
    rule.ended(2, points([0.0] * 3), well=False)  # it failed: nobody is compared with it
    assert rule.tell(3, points([math.nan, math.inf])) is not None
    assert rule.tell(4, points([9.0])) is None  # before grace
    assert rule.tell(4, [(1, {"acc": 9.0})]) is None  # nothing of the metric
    assert rule.tell(4, points([1.0, 9.0])) is None  # its best counts
    assert rule.tell(4, points([8.0, 8.0])) is not None  # another attempt of it
    assert rule.tell(5, points([8.0] * 9, start=3)) is None  # none came so far


def test_a_long_curve_is_kept_small_and_still_compared_with(monkeypatch):
    monkeypatch.setattr(stopping, "MOST_STEPS", 8)
    rule = made(min_runs=1)
    rule.ended(0, points([1.0] * 1000), well=True)
    (kept,) = rule._ended
    assert len(kept.steps) <= 16
    assert rule.tell(1, [(990, {"loss": 1.5})]) is not None


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({}, "needs the metric that runs report"),
        ({"metric": "loss", "rule": "medain"}, r"stop_runs\.rule must be .*medain"),
        ({"metric": "loss", "grce": 3}, "Did you mean 'grace'"),
        ({"metric": "loss", "grace": 0}, r"stop_runs\.grace must be a whole number from 1"),
        ({"metric": "val loss"}, "named as a variable"),
    ],
)
def test_a_block_that_is_wrong_is_told(block, says):
    with pytest.raises(LawsweepError, match=says):
        read_stop_runs(block)
    assert read_stop_runs(None) is None
    assert issubclass(InvalidValueError, LawsweepError)


def test_what_the_ended_had_at_a_step_is_looked_up_once(monkeypatch):
    asked, real = [], stopping._Run.mean_at
    monkeypatch.setattr(
        stopping._Run, "mean_at", lambda run, step: asked.append(step) or real(run, step)
    )
    rule = made(rule="median", min_runs=2)
    for run in range(50):  # as at the start of a launch that goes on
        rule.ended(run, points([1.0] * 20, start=1), well=True)
    assert asked == []
    for run in range(50, 60):
        assert rule.tell(run, points([0.5] * 20, start=1)) is None
    assert len(asked) == 50 * 20
    rule.ended(50, (), well=True)
    rule.tell(51, points([0.5], start=21))
    assert len(asked) == 50 * 20 + 51
