"""A sweep's table as an xarray Dataset."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import lawsweep
from lawsweep.core.errors import InvalidValueError


def measured(n: int, d: int, seed: int, act: str = "relu", fails: bool = False, ratio: float = 1.0):
    if fails and n == 2:
        raise ValueError("no")
    return {"y": n + 10.0 * d + 100 * seed, "k": n, "spectrum": np.arange(n, dtype=float)}


def opened(folder, **settings):
    given = {"results_dir": str(folder), "executor": "serial", "name": "measured", **settings}
    return lawsweep.open(measured, **given)


def test_dims_are_the_axes_with_seeds_last(folder):
    study = opened(folder, axes={"d": [3, 1], "n": [4, 2]}, seeds=2, params={"act": "tanh"})
    study.run()
    found = study.to_xarray()
    assert found["y"].dims == ("d", "n", "seed")
    assert found["n"].dtype == np.int64
    assert found["act"].item() == "tanh"
    assert found["k"].dtype == np.int64  # nothing is missing
    for d in (1, 3):
        for n in (2, 4):
            for seed in (0, 1):
                at = found.sel(d=d, n=n, seed=seed)
                assert at["y"].item() == n + 10 * d + 100 * seed
                values = at["spectrum"].values
                np.testing.assert_array_equal(values, [0, 1, *([2, 3] if n == 4 else [np.nan] * 2)])
    assert found["spectrum"].dims == ("d", "n", "seed", "spectrum_index")
    assert (found.attrs["sweep"], found.attrs["version"]) == ("measured", 1)


def test_what_is_missing_is_nan_and_the_status_says_why(folder):
    study = opened(folder, axes={"n": [1, 2, 3], "d": [1, 2]}, where="n + d < 5", seeds=1,
                   params={"fails": True})  # fmt: skip
    empty = study.to_xarray()
    assert set(empty["status"].values.ravel().tolist()) == {"missing", "unplanned"}
    study.run()
    found = study.to_xarray().isel(seed=0)
    assert found["status"].sel(n=1, d=1).item() == "ok"
    assert found["status"].sel(n=2, d=2).item() == "failed"
    assert found["status"].sel(n=3, d=2).item() == "unplanned"
    assert np.isnan(found["y"].sel(n=2).values).all()
    assert np.isnan(found["y"].sel(n=3, d=2))
    assert found["k"].dtype == np.float64
    assert found["k"].sel(n=3, d=1) == 3


def test_axes_that_advance_together_are_one_dim_and_derived_ones_lie_along_it(folder):
    study = opened(
        folder,
        axes={"zip": {"n": [4, 2, 3], "act": ["b", "a", "b"]}, "s": [1.5, 0.5]},
        derive={"d": "2 * n", "ratio": "n * s"},
        seeds=[7],
    )
    study.run()
    found = study.to_xarray()
    assert dict(found.sizes) == {"n": 3, "s": 2, "seed": 1, "spectrum_index": 4}
    assert found["n"].values.tolist() == [2, 3, 4]
    assert (found["act"].dims, found["act"].values.tolist()) == (("n",), ["a", "b", "b"])
    assert (found["d"].dims, found["d"].values.tolist()) == (("n",), [4, 6, 8])
    assert found["ratio"].sel(n=3, s=0.5).item() == 1.5
    assert found["seed"].values.tolist() == [7]


def test_texts_keep_their_order_and_grids_of_a_union_are_told_apart(folder):
    union = [{"params": {"act": a}, "axes": {"n": [1, 2]}} for a in ("tanh", "relu")]
    found = opened(folder, axes={"union": union}, params={"d": 1}).to_xarray()
    assert found["status"].dims == ("n", "act", "seed")
    assert found["act"].values.tolist() == ["tanh", "relu"]
    assert (found["status"] == "missing").all()


def test_explicit_points_lie_along_one_dim(folder):
    points = {"points": {"n": [2, 9, 4], "d": [3, 1, 2]}}
    found = opened(folder, axes=points).to_xarray()
    assert dict(found.sizes) == {"n": 3, "seed": 1}
    assert found["d"].sel(n=9).item() == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"axes": {"sample": {"n": 8, "box": {"n": [1, 90], "d": [1, 90]}}}}, "a sample of d, n"),
        (
            {"axes": {"n": "range(1, 30)", "d": "range(1, 30)"}, "where": "n == d"},
            "got 29 points in a box of 841 cells (n x d)",
        ),
    ],
)
def test_points_that_form_no_grid_are_refused(folder, settings, said):
    with pytest.raises(InvalidValueError, match="needs points that form a grid") as error:
        opened(folder, **settings).to_xarray()
    assert said in str(error.value)
    assert "study.frame()" in str(error.value)


def test_without_xarray_a_sentence_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InvalidValueError, match=r"pip install 'lawsweep\[xarray\]'"):
        opened(folder, axes={"n": [1]}, params={"d": 1}).to_xarray()
