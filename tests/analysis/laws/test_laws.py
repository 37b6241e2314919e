"""Every law by what it promises: it finds itself, says itself, and predicts what it was made of."""

import json

import numpy as np
import pandas as pd
import pytest

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import LAWS, find_law, parse_fits
from lawsweep.core.errors import InvalidValueError

X = np.repeat([1.0, 2.0, 3.0, 5.0, 8.0], 2)
MADE = {
    "power": ({"x": "n"}, 3 * X**1.5, {"C": 3, "exponent": 1.5}, "y ~ n^1.5"),
    "exponential": (
        {"x": "n"},
        2 * np.exp(-0.5 * X),
        {"C": 2, "rate": -0.5},
        "y ~ exp(a*n), a = ",
    ),
    "linear": ({"x": "n"}, 4 + 2 * X, {"intercept": 4, "slope": 2}, "y = 4"),
    "terms": ({"terms": ["1/n", 1]}, 6 / X + 1, {"1/n": 6, "1": 1}, "y = 6"),
}
# Each has a file of its own: they are not linear, or not over this one x.
ELSEWHERE = {"power_offset", "two_powers", "power_log", "rate", "joint", "collapse"}


def test_every_law_is_here():
    assert set(MADE) | ELSEWHERE == set(LAWS)


@pytest.mark.parametrize("name", MADE)
def test_a_law_finds_the_coefficients_it_was_made_of_and_predicts(name):
    keys, y, parameters, said = MADE[name]
    frame = pd.DataFrame({"n": X, "y": y, "seed": [0, 1] * 5, "status": "ok"})
    (spec,) = parse_fits([{"law": name, "y": "y", **keys}], ["n", "y"])
    (found,) = fit(frame, spec)
    # Ten numbers of a few ulps each through a well-conditioned design of two columns.
    for parameter, value in parameters.items():
        assert found[parameter].estimate == pytest.approx(value, rel=1e-12)
    assert found.summary().startswith(f"{spec.name}: {said}")
    at = np.array([1.5, 4.0, 10.0])
    inputs = {"n": at, "1/n": 1 / at, "1": np.ones(3)}
    expected = {
        "power": 3 * at**1.5,
        "exponential": 2 * np.exp(-0.5 * at),
        "linear": 4 + 2 * at,
        "terms": 6 / at + 1,
    }[name]
    np.testing.assert_allclose(found.predict(inputs), expected, rtol=1e-11)
    if spec.x is not None:
        np.testing.assert_allclose(found.predict(X), y, rtol=1e-11)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["law"] == name
    assert not {"own", "evidence"} & set(told)  # ours have neither


@pytest.mark.parametrize("name", MADE)
def test_a_law_takes_no_key_of_another(name):
    keys = MADE[name][0]
    for key, value in (("x", "n"), ("terms", ["n"]), ("local", True)):
        if key not in find_law(name).takes:
            with pytest.raises(InvalidValueError, match=f"law {name} takes no {key}"):
                parse_fits([{"law": name, "y": "y", **keys, key: value}], ["n", "y"])
