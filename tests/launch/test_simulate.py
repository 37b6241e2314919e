from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lawsweep.launch.costs.simulate import read_machine, simulate, simulate_rounds


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60), st.integers(1, 8))
def test_a_simulated_schedule_keeps_grahams_bound(seconds, n_slots):
    found = simulate(np.array(seconds), n_slots)
    assert found.work_s == pytest.approx(sum(seconds))
    # Longest first is within 4/3 of the best (Graham 1969), which is at least the bound.
    assert found.bound_s <= found.makespan_s * (1 + 1e-12)
    assert found.makespan_s <= found.work_s / n_slots + found.longest_s * (1 + 1e-12)
    assert simulate(np.array(seconds), 1).makespan_s == pytest.approx(sum(seconds))


@pytest.mark.parametrize(
    ("chains", "n_slots", "makespan", "bound"),
    [
        ([[[1, 1], [2], [2]], [[3]]], 8, 5, 5),  # slots are no help: 1 + 2 + 2
        # By hand, longest first: 3 and 1; at 1 the other 1; at 2 the second round, and so on.
        ([[[1, 1], [2], [2]], [[3]]], 2, 6, 5),
        ([[[1, 1], [2], [2]], [[3]]], 1, 9, 9),
        ([[[4.0]], [[2.5]], [[1.5]]], 2, 4, 4),  # single rounds: as the same runs alone
        ([[[]], []], 2, 0, 0),
    ],
)
def test_a_round_of_a_search_waits_for_the_one_before(chains, n_slots, makespan, bound):
    found = simulate_rounds(chains, n_slots)
    assert (found.makespan_s, found.bound_s) == (makespan, bound)
    alone = np.array([s for chain in chains for r in chain for s in r], dtype=float)
    plain = simulate(alone, n_slots)
    assert (found.work_s, found.longest_s) == (plain.work_s, plain.longest_s)
    assert makespan >= plain.makespan_s


def test_a_schedule_of_nothing():
    assert simulate(np.zeros(0), 4).makespan_s == 0.0
    assert read_machine("gpus=2:a100").model == "A100"
