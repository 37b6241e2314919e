from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lawsweep.core.errors import InvalidValueError
from lawsweep.launch.costs.simulate import (
    read_machines,
    simulate,
    simulate_kinds,
    simulate_rounds,
)


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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cpus=64", [("cpus", 64, None)]),
        (" gpus=8:H100 ", [("gpus", 8, "H100")]),
        ("gpus=2", [("gpus", 2, "H100")]),
        ("gpus=4:A100,gpus=4:RTX 4090, cpus=2",
         [("gpus", 4, "A100"), ("gpus", 4, "RTX 4090"), ("cpus", 2, None)]),
    ],
)  # fmt: skip
def test_what_machines_are_asked_about(text, found):
    assert [(m.kind, m.n, m.model) for m in read_machines(text)] == found


@pytest.mark.parametrize(
    "text",
    ["", "cpus", "cpus=0", "cpus=-1", "gpus=x", "cpus=4:H100", "gpus=8:", "gpus=8:H100,",
     "tpus=3", "gpus=1e3", "gpus=99999999"],
)  # fmt: skip
def test_what_asks_about_no_machine_is_one_sentence(text):
    with pytest.raises(InvalidValueError, match="--on takes cpus=64, gpus=8:H100 or several"):
        read_machines(text)


def brute(seconds, slots):
    """The least makespan of all ways to give runs to slots of two kinds."""
    import itertools

    where = [k for k, n in enumerate(slots) for _ in range(n)]
    best = float("inf")
    for way in itertools.product(range(len(where)), repeat=len(seconds[0])):
        ends = [0.0] * len(where)
        for run, slot in enumerate(way):
            ends[slot] += seconds[where[slot]][run]
        best = min(best, max(ends))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_slots_of_two_kinds_are_used_nearly_as_well_as_can_be(seed):
    rng = np.random.default_rng(seed)
    fast = rng.uniform(1, 5, 6)
    seconds = [fast, fast * rng.uniform(1, 4, 6)]
    found = simulate_kinds(seconds, [1, 2])
    best = brute(seconds, [1, 2])
    assert found.bound_s <= best * (1 + 1e-12)
    assert best * (1 - 1e-12) <= found.makespan_s <= 2.0 * best
    assert simulate_kinds([fast], [3]) == simulate(fast, 3)
    assert simulate_kinds([fast, fast], [1, 2]).makespan_s == simulate(fast, 3).makespan_s
    assert simulate_kinds([fast[:0], fast[:0]], [1, 2]).makespan_s == 0.0
