from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import qmc

from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.designs import design, sobol


@pytest.mark.parametrize("n_dims", [1, 2, 7, 16])
def test_sobol_is_the_published_sequence(n_dims):
    reference = qmc.Sobol(n_dims, scramble=False, bits=52).random(512)[1:]
    assert np.array_equal(sobol(511, n_dims), reference)
    with pytest.raises(InvalidValueError, match="at most 16 axes, got 17"):
        sobol(3, 17)


@pytest.mark.parametrize("method", ["random", "lhs", "sobol"])
def test_designs_are_in_the_cube_and_reproducible(method):
    points = design(method, 64, 3, 5)
    assert points.shape == (64, 3)
    assert points.min() >= 0
    assert points.max() < 1
    assert np.array_equal(points, design(method, 64, 3, 5))
    assert not np.array_equal(points, design(method, 64, 3, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = {"random": 0.05, "lhs": 0.02, "sobol": 0.01}[method]
        assert qmc.discrepancy(points) < limit
