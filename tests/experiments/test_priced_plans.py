"""Every experiment's plan is priced as a launch prices it: by columns of floats."""

from __future__ import annotations

import numpy as np
import pytest

from lawsweep import Sweep
from lawsweep.launch.costs.costs import CostModel

POINTS = {
    "ntk_min_eig": {"input_dim": 4, "activation": "tanh"},
    "memorization": {"input_dim": 4, "activation": "tanh", "learning_rate": 1e-3},
    "ntk_memorization": {"input_dim": 4},
    "compression": {"n_target": 12, "n_compressed": 3},
}
AXES = {"width": [4, 5], "n_samples": [3, 9], "depth": [2, 3]}


@pytest.mark.parametrize("name", POINTS)
def test_a_plan_of_it_has_a_price(name):
    axes = {"input_dim": [4, 5]} if name == "compression" else AXES
    plan = Sweep(name="priced", experiment=name, params=POINTS[name], axes=axes).plan()
    model = CostModel(plan, 1e9)
    seconds = [model.seconds(i) for i in range(plan.n_points)]
    assert np.all(np.isfinite(seconds))
    assert min(seconds) > 0
