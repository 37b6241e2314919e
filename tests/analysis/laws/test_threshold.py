"""The statistics of a search: coverage, cost, order, ends of the grid."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lawsweep.analysis.laws.threshold.model import CHANCES, Lattice, Posterior
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.sampling.samplers import read_search
from lawsweep.sampling.threshold.cell_search import CellSearch
from lawsweep.sampling.threshold.options import ThresholdOptions

VALUES = tuple(float(v) for v in np.unique(np.round(np.geomspace(500, 5000, 60))))


def spec(**given):
    return ThresholdOptions("n", "fits", **given)


def probability(u, m, s, c=0.0):
    """The model, by its definition."""
    return c + (1 - 2 * c) / (1 + math.exp(min((u - m) / s, 700)))


def run_to_the_end(cell, answer):
    """Answers every run that the cell asks for; the answers given."""
    answers = {}
    while pending := cell.advance(answers):
        answers |= {run: answer(cell, run) for run in pending}
    return answers


def bernoulli(rng, m, s, c=0.0):
    return lambda cell, run: bool(rng.random() < probability(cell.lattice.u[run[0]], m, s, c))


def sharp(value):
    return lambda cell, run: bool(cell.lattice.values[run[0]] < value)


def test_the_posterior_is_bayes_rule_summed_one_node_at_a_time():
    lattice = Lattice((1.0, 2.0, 4.0))
    posterior = Posterior(lattice)
    posterior.add({0: (3, 1)})
    posterior.add({2: (0, 2), 0: (1, 0)})
    masses = []
    for m in lattice.m:
        mass = 0.0
        for s in lattice.s:
            for c in CHANCES:
                p0, p2 = (probability(lattice.u[k], m, s, c) for k in (0, 2))
                mass += p0**4 * (1 - p0) * (1 - p2) ** 2
        masses.append(mass)
    masses = np.array(masses) / sum(masses)
    # Sums of 36 products of some 7 factors, each to a few ulps: 1e-12 is hundreds of them.
    edges = lattice.m + lattice.step / 2
    got = [posterior.mass_below(e) for e in edges]
    np.testing.assert_allclose(got, np.cumsum(masses), rtol=0, atol=1e-12)
    levels = [0.05, 0.5, 0.95]
    back = [posterior.mass_below(q) for q in posterior.quantiles(levels)]
    np.testing.assert_allclose(back, levels, atol=1e-12)


def test_the_interval_holds_the_threshold_as_often_as_it_says():
    # Truths drawn from the prior: then a posterior interval covers at its level whatever the rule
    # that stopped the search.  150 cells at 90 %: sd sqrt(.9 .1 / 150) = 2.4 %, and 4 sd = 10 %
    # is passed by chance in 6e-5.  (Nothing is random here: the generator is seeded.)
    rng, n, inside = np.random.default_rng(3), 150, 0
    for _ in range(n):
        cell = CellSearch(VALUES, 60, spec(tolerance=0.1))
        lattice = cell.lattice
        m = rng.uniform(lattice.m[0], lattice.m[-1])
        truth = bernoulli(rng, m, rng.choice(lattice.s), rng.choice(CHANCES))
        run_to_the_end(cell, truth)
        low, high = cell.posterior.quantiles([0.05, 0.95])
        inside += bool(low <= m <= high)
    assert abs(inside / n - 0.9) <= 4 * math.sqrt(0.9 * 0.1 / n)


def test_a_noisy_cell_is_found_better_than_by_bisection_of_as_many_runs():
    # Over 60 candidates bisection takes 6 steps; of majorities of 7 draws it makes 42 runs.
    rng, spread, n = np.random.default_rng(5), 0.08, 60
    runs, errors, naive = [], [], []
    for _ in range(n):
        m = rng.uniform(math.log(800), math.log(3500))
        cell = CellSearch(VALUES, 60, spec(tolerance=0.1))
        run_to_the_end(cell, bernoulli(rng, m, spread))
        runs.append(cell.result().n_runs)
        errors.append(math.log(cell.result().n_star) - m)
        naive.append(bisect_by_majority(rng, m, spread, 7) - m)
    assert np.mean(runs) <= 42
    assert np.mean(np.square(errors)) < np.mean(np.square(naive))
    # The half width is at most 0.1 at 90 %.
    assert np.mean(np.abs(errors) <= 0.1) >= 0.9


def bisect_by_majority(rng, m, s, k):
    low, high = 0, len(VALUES) - 1
    while high - low > 1:
        middle = (low + high) // 2
        yes = sum(rng.random() < probability(math.log(VALUES[middle]), m, s) for _ in range(k))
        low, high = (middle, high) if 2 * yes > k else (low, middle)
    return (math.log(VALUES[low]) + math.log(VALUES[high])) / 2


@pytest.mark.parametrize("edge", [730.0, 1999.0, 4100.0])
def test_a_sharp_threshold_is_bracketed_in_few_runs(edge):
    cell = CellSearch(VALUES, 60, spec(tolerance=0.05))
    run_to_the_end(cell, sharp(edge))
    found = cell.result()
    assert (found.state, found.reason) == ("resolved", "")
    assert found.low <= edge <= found.high
    assert (found.high - found.low) / 2 <= 0.05 * found.n_star
    assert found.n_runs <= 28


def test_a_rising_event_is_the_same_turned_over():
    falls = CellSearch(VALUES, 60, spec())
    rises = CellSearch(VALUES, 60, spec(rising=True))
    run_to_the_end(falls, sharp(2000))
    run_to_the_end(rises, lambda cell, run: not sharp(2000)(cell, run))
    assert rises.result() == falls.result()


def test_a_threshold_beyond_the_grid_is_an_answer():
    never, always = CellSearch(VALUES, 60, spec()), CellSearch(VALUES, 60, spec())
    run_to_the_end(never, lambda cell, run: False)
    run_to_the_end(always, lambda cell, run: True)
    below, above = never.result(), always.result()
    assert (below.state, below.n_star, below.low, below.high) == ("below_grid", None, None, 500.0)
    assert (above.state, above.n_star, above.low, above.high) == ("above_grid", None, 5000.0, None)
    assert below.n_runs <= 16


def test_an_interval_that_reaches_beyond_the_grid_has_no_end_there():
    cell = CellSearch(VALUES, 60, spec(max_runs=4))
    run_to_the_end(cell, sharp(600))  # the first round has its lowest run at 500
    found = cell.result()
    assert (found.state, found.low) == ("unresolved", None)
    assert 500 < found.high < 5000


def test_a_negative_axis_is_searched_as_it_stands():
    values = tuple(np.linspace(-3, 3, 61))
    cell = CellSearch(values, 60, spec(tolerance=0.1))
    run_to_the_end(cell, sharp(1.23))
    found = cell.result()
    assert found.state == "resolved"
    assert found.low <= 1.23 <= found.high


def test_answers_give_the_same_threshold_in_whatever_order_and_pieces_they_come():
    rng = np.random.default_rng(0)
    truth = {(c, k): bool(rng.random() < probability(math.log(v), math.log(1500), 0.1))
             for c, v in enumerate(VALUES) for k in range(60)}  # fmt: skip
    whole = CellSearch(VALUES, 60, spec())
    run_to_the_end(whole, lambda cell, run: truth[run])
    pieces = CellSearch(VALUES, 60, spec())
    known = {}
    while pending := pieces.advance(known):
        for run in rng.permutation(len(pending)).tolist()[:1]:  # one at a time, any first
            known[pending[run]] = truth[pending[run]]
    # A table that holds more than was asked for, in another order, changes nothing.
    items = list(truth.items())
    full = CellSearch(VALUES, 60, spec())
    assert full.advance(dict(items[i] for i in rng.permutation(len(items)))) == []
    assert pieces.result() == whole.result() == full.result()
    assert pieces.asked == whole.asked == full.asked


def test_a_tighter_tolerance_goes_on_where_the_loose_one_ended():
    rng = np.random.default_rng(1)
    truth = {(c, k): bool(rng.random() < probability(math.log(v), math.log(1500), 0.05))
             for c, v in enumerate(VALUES) for k in range(60)}  # fmt: skip
    asked = []
    for tolerance, most in ((0.3, 40), (0.1, 40), (0.05, 60), (0.01, 61)):
        cell = CellSearch(VALUES, 60, spec(tolerance=tolerance, max_runs=most))
        run_to_the_end(cell, lambda cell, run: truth[run])
        asked.append(cell.asked)
    for short, long in itertools.pairwise(asked):
        assert long[: len(short)] == short
    assert len(asked[0]) < len(asked[1]) < len(asked[3]) == 61


def test_runs_that_give_no_answer_end_the_search_and_are_counted():
    cell = CellSearch(VALUES, 60, spec(max_runs=10))
    run_to_the_end(cell, lambda cell, run: None)
    found = cell.result()
    assert (found.state, found.n_runs, found.n_unanswered) == ("unresolved", 10, 10)
    assert found.n_star is None
    assert found.reason == "max_runs"


def test_a_search_uses_each_seed_once_before_it_takes_one_again_and_ends_without_any():
    cell = CellSearch((1.0, 2.0, 3.0, 4.0), 3, spec(max_runs=100, tolerance=0.001))
    rng = np.random.default_rng(0)
    run_to_the_end(cell, lambda cell, run: bool(rng.random() < 0.5))
    assert sorted(seed for _, seed in cell.asked[:3]) == [0, 1, 2]
    assert len(set(cell.asked)) == len(cell.asked) <= 12
    assert cell.result().state == "unresolved"


def test_an_axis_that_is_too_coarse_says_so():
    cell = CellSearch((100.0, 200.0, 400.0, 800.0), 50, spec(max_runs=50))
    run_to_the_end(cell, sharp(300))
    found = cell.result()
    assert found.state == "unresolved"
    assert found.reason == "axis_too_coarse"
    assert 200 <= found.low < found.high <= 400
    assert found.n_runs < 50


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"axis": "n"}, InvalidValueError, "search needs event"),
        ({"axis": "n", "event": "y < 1", "tolerence": 0.1}, UnknownNameError, "tolerance"),
        ({"axis": "n", "event": "y < 1", "tolerance": 0}, InvalidValueError, "above 0 below 1"),
        ({"axis": "n", "event": "y <"}, InvalidValueError, "Cannot read the expression"),
        ({"axis": "n", "event": "y < 1", "max_runs": 0}, InvalidValueError, "whole number from 1"),
        ({"axis": "n", "event": "y < 1", "rising": 1}, InvalidValueError, "true or false"),
        ([1], InvalidValueError, "or a mapping, for example"),
    ],
)
def test_a_search_block_that_is_wrong_is_told_so(given, error, said):
    with pytest.raises(error, match=said):
        read_search(given)


def test_an_axis_that_is_symmetric_about_zero_is_searched():
    """The median is exactly 0 at first; a tolerance is a share of the span there."""
    values = list(range(-10, 11))
    cell = CellSearch(values, 40, ThresholdOptions(axis="x", event="e", tolerance=0.05))
    answers = {}
    while asked := cell.advance(answers):
        cell.outlook()
        answers |= {run: values[run[0]] < 0.5 for run in asked}
    found = cell.result()
    assert found.state == "resolved"
    assert found.low <= 0.5 <= found.high
    assert found.high - found.low <= 2 * 0.05 * 20


def test_a_threshold_of_an_unresolved_cell_is_told_within_the_grid_only():
    # All answers say "beyond", which is not yet sure: the median lies where only the prior is.
    cell = CellSearch(VALUES, 4, spec(max_runs=4, confidence=0.99))
    run_to_the_end(cell, lambda cell, run: True)
    found = cell.result()
    assert cell.lattice.value(float(cell.posterior.quantiles([0.5])[0])) > VALUES[-1]
    assert found.state == "unresolved"
    assert (found.n_star, found.high, found.width) == (None, None, None)
