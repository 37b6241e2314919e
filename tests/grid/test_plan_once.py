from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from toys import faulty, toy

from lawsweep import Sweep


def test_a_plan_is_made_once_as_long_as_it_is_held():
    axes = {"n": [1, 2, 3]}
    sweep = Sweep(name="s", experiment=toy, axes=axes, seeds=2)
    held = sweep.plan()
    assert sweep.plan() is held
    assert Sweep(name="other", experiment=toy, axes={"n": [1, 2, 3]}, seeds=2).plan().run_ids == (
        held.run_ids
    )
    axes["n"].append(4)  # in place: another plan
    assert len(sweep.plan()) == 8
    other = Sweep(name="s", experiment=faulty, axes={"i": [1]}).plan()
    assert other.experiment is faulty
    gone = weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None  # nobody holds it, and neither does this
    assert len(Sweep(name="s", experiment=faulty, axes={"i": [1]}).plan()) == 1


def test_the_shared_plan_cannot_be_written_to():
    given = np.array([1, 2, 3])
    sweep = Sweep(name="s", experiment=toy, axes={"n": given})
    held = sweep.plan()
    with pytest.raises(ValueError, match="read-only"):
        held.params["n"][0] = 9
    with pytest.raises(ValueError, match="read-only"):
        held.grid[0] = 9
    given[0] = 7  # the caller's own can be
    assert held.params["n"].tolist() == [1, 2, 3]


def test_what_cannot_be_pickled_is_planned_all_the_same():
    class Local(float):
        """Of no module."""

    sweep = Sweep(name="s", experiment=toy, params={"scale": Local(2.0)}, axes={"n": [1]})
    assert sweep.plan().run_ids == sweep.plan().run_ids
