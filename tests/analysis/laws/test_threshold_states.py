"""Cells that have no one falling edge, and sizes at which runs fail."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lawsweep.analysis.laws.threshold.model import REASONS
from lawsweep.sampling.threshold.cell_search import TOO_LARGE, CellSearch
from lawsweep.sampling.threshold.limits import find_limit
from lawsweep.sampling.threshold.options import ThresholdOptions

VALUES = tuple(np.geomspace(500, 5000, 60).tolist())


def search(answer, values=VALUES, **given):
    """The cell at its end; ``answer(value)`` is told for each run."""
    cell = CellSearch(values, 100, ThresholdOptions("n", "fits", **{"max_runs": 60, **given}))
    answers = {}
    while pending := cell.advance(answers):
        answers |= {run: answer(cell.lattice.values[run[0]]) for run in pending}
    return cell


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (lambda v: v > 1600, "rises", "rising"),
        (lambda v: 900 < v < 2600, "several_edges", "several_edges"),
        (lambda v: not 900 < v < 2600, "several_edges", "several_edges"),
        (lambda v: v < 1600, "resolved", ""),
        (lambda v: True, "above_grid", ""),
        (lambda v: False, "below_grid", ""),
    ],
)
def test_a_cell_says_what_its_answers_are_like(answer, state, reason):
    found = search(answer).result()
    assert (found.state, found.reason) == (state, reason)
    assert found.n_runs < 60
    if state in ("rises", "several_edges"):
        assert (found.n_star, found.low, found.high, found.width) == (None, None, None, None)
        assert reason in REASONS


def test_answers_that_know_nothing_of_the_axis_are_flat():
    # Even odds everywhere.  That 60 answers speak 20 to 1 for it is not certain: of 8 seeded cells
    # a half and more do, and none is taken for an edge.
    rng = np.random.default_rng(4)
    found = [search(lambda v: bool(rng.random() < 0.5), max_runs=100).result() for _ in range(8)]
    states = [t.state for t in found]
    assert states.count("flat") >= 4
    assert "resolved" not in states
    flat = next(t for t in found if t.state == "flat")
    assert (flat.reason, flat.n_star, flat.low, flat.high) == ("flat", None, None, None)
    assert "flat" in REASONS


def test_the_last_runs_of_a_batch_are_held_back_where_the_first_should_be_enough():
    # A transition about as wide as the tolerance: the search ends between two whole batches, and
    # what it was asked is the beginning of what a tighter one is asked.
    rng = np.random.default_rng(0)
    table = rng.random((len(VALUES), 400))

    def walk(tolerance, batch):
        spec = ThresholdOptions("n", "f", tolerance=tolerance, batch=batch, max_runs=400)
        cell, answers, sizes = CellSearch(VALUES, 400, spec), {}, []
        while pending := cell.advance(answers):
            sizes.append(len(pending))
            for k, j in pending:
                z = (math.log(VALUES[k]) - math.log(1500)) / 0.1
                answers[k, j] = bool(table[k, j] < 1 / (1 + math.exp(min(z, 700))))
        assert cell.state == "resolved"
        return cell.asked, sizes

    asked, sizes = walk(0.1, 16)
    tighter, _ = walk(0.05, 16)
    assert sizes[0] == 16
    assert min(sizes) < 16
    assert tighter[: len(asked)] == asked
    assert set(walk(0.1, 1)[1]) == {1}


def test_an_event_that_falls_where_a_rise_was_asked_for_says_so():
    found = search(lambda v: v < 1600, rising=True).result()
    assert (found.state, found.reason) == ("rises", "falling")


def test_a_noisy_edge_is_seldom_taken_for_anything_else():
    # Under the model each early alternative is ever taken in at most 1 / 300 of the cells, a late
    # one in 1 / 20: 12 cells of a moderate width have at most a few.  (Seeded.)
    rng, span = np.random.default_rng(0), math.log(10)
    states = []
    for s in np.repeat([0.01, 0.05], 6):
        edge = rng.uniform(math.log(700), math.log(3500))
        told = search(
            lambda v, m=edge, s=s: bool(
                rng.random() < 1 / (1 + math.exp(min((math.log(v) - m) / (s * span), 700)))
            ),
            tolerance=0.1,
        )
        states.append(told.state)
    assert sum(state in ("rises", "several_edges", "flat") for state in states) <= 3


def test_sizes_that_cannot_be_run_are_left_alone_and_bound_the_threshold():
    cell = search(lambda v: TOO_LARGE if v > 2000 else True)
    found = cell.result()
    largest = max(v for v in VALUES if v <= 2000)
    assert (found.state, found.reason, found.n_star) == ("at_least", "fails_above", None)
    assert found.low is not None
    assert 1500 < found.low <= largest
    assert found.high is None
    assert found.n_unanswered <= 10 <= found.n_runs < 40
    # Below the limit a threshold is found as ever.
    found = search(lambda v: TOO_LARGE if v > 2000 else v < 900).result()
    assert found.state == "resolved"
    assert found.low <= 900 <= found.high
    assert found.n_unanswered <= 10


def test_where_every_size_fails_the_search_ends_at_once():
    found = search(lambda v: TOO_LARGE).result()
    assert (found.state, found.reason, found.n_star) == ("unresolved", "fails_everywhere", None)
    assert found.n_runs == found.n_unanswered <= 20


def test_runs_that_fail_by_chance_are_no_limit():
    rng = np.random.default_rng(2)
    for edge in (800, 1500, 3000):
        cell = search(lambda v, edge=edge: TOO_LARGE if rng.random() < 0.15 else v < edge)
        assert cell.state == "resolved"
        assert cell.result().low <= edge <= cell.result().high


def test_a_limit_is_told_from_chance_by_what_went_well_above_it():
    assert find_limit({}) == (None, False)
    assert find_limit({3: (4, 0), 9: (0, 2)}) == (9, True)
    assert find_limit({3: (4, 0), 9: (0, 1)}) == (9, False)
    assert find_limit({3: (4, 0), 9: (0, 2), 12: (1, 0)}) == (None, False)
    # Where half of what lies below fails too, two more are no news.
    assert find_limit({1: (2, 2), 3: (2, 2), 9: (0, 2)})[1] is False


def test_a_batch_is_spread_and_its_first_run_is_where_one_alone_would_go():
    alone, four = (CellSearch(VALUES, 9, ThresholdOptions("n", "f", batch=b)) for b in (1, 4))
    assert four.asked[0] == alone.asked[0]
    assert len({candidate for candidate, _ in four.asked}) == 4
    # Nothing is known yet: the first run halves the grid.
    assert abs(four.asked[0][0] - 29.5) <= 2
