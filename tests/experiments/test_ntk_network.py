"""Shapes, widths, betas and kernels: one spelling each, and a sentence for every other."""

import pytest

from lawsweep import LawsweepError
from lawsweep.experiments.ntk_min_eig import Params, ntk_min_eig
from lawsweep.experiments.ntk_min_eig.network import hidden_widths, kernel_layers, layer_betas
from lawsweep.grid.plan import make_plan

POINT = {"n_samples": 10, "input_dim": 5, "width": 12, "depth": 4, "activation": "tanh"}


def test_shapes():
    assert hidden_widths(12, 4) == (12, 12, 12)
    assert hidden_widths(12, 4, "pyramid") == (12, 6, 3)
    assert hidden_widths(3, 4, "pyramid") == (3, 2, 1)
    assert hidden_widths(12, 5, "bottleneck") == (12, 3, 3, 12)
    assert hidden_widths(5, 4, "bottleneck") == (5, 2, 5)
    assert hidden_widths(12, 4, "rectangle", (12, 7, 5)) == (12, 7, 5)
    assert Params(**POINT, shape="pyramid").network.widths == (5, 12, 6, 3, 1)


def test_every_network_has_one_spelling():
    """No two accepted spellings give the same hidden widths."""
    seen = {}
    for width in (1, 2, 4, 5):
        for depth in (2, 3, 4):
            lists = [()] + [(width, *rest) for rest in _lists(depth - 2, (1, 2, 3, 4, 5))]
            for shape in ("rectangle", "pyramid", "bottleneck"):
                for widths in lists:
                    try:
                        found = hidden_widths(width, depth, shape, widths)
                    except ValueError:
                        continue
                    assert found not in seen, (found, seen[found], (shape, widths))
                    seen[found] = (shape, widths)
    # And every network has one: 4 first widths, then any of five.
    assert len(seen) == 4 * (1 + 5 + 25)


def _lists(n, values):
    return [()] if n == 0 else [(v, *rest) for v in values for rest in _lists(n - 1, values)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": [12, 6]}, r"widths \[12, 6\] needs depth=3 and width=12 .*got depth=4"),
        ({"widths": [9, 6, 3]}, r"needs depth=4 and width=9 \(its first entry\), got .* width=12"),
        ({"widths": [12, 0, 3]}, "widths must be at least 1"),
        ({"widths": [12, 12, 12]}, r"is the rectangle \[12, 12, 12\]; write shape='rectangle'"),
        ({"widths": [12, 6, 3]}, "is the pyramid .* write shape='pyramid' and no widths"),
        ({"widths": [12, 7, 3], "shape": "pyramid"}, "both set the hidden layers; leave one"),
        ({"depth": 2, "shape": "pyramid"}, "shape='pyramid' at width=12, depth=2 is the rectangle"),
        ({"shape": "diamond"}, "shape must be one of rectangle, pyramid, bottleneck"),
        ({"betas": [1.0, 2.0]}, "betas must have one entry for each of the depth=4 layers"),
        ({"betas": [1.0, 2.0, 0.0, 1.0]}, "betas must be greater than 0"),
        ({"betas": [1.0, 2.0, 1.0, 1.0], "beta": 2.0}, "leave beta at 1, got beta=2.0"),
        ({"betas": [2, 2, 2, 2]}, "are all equal; write beta=2.0 and no betas"),
        ({"kernel": "5"}, "kernel must be 'full' or a layer from 1 to depth=4, several joined by"),
        ({"kernel": "1+5"}, "a layer from 1 to depth=4.* got '1.5'"),
        ({"kernel": "3+1"}, "once, in ascending order, got '3.1'"),
        ({"kernel": "1+1"}, "once, in ascending order"),
        ({"kernel": "1+2+3+4"}, "has all 4 layers; write 'full'"),
        ({"kernel": "1+"}, "kernel must be"),
        ({"parameterisation": "mup"}, "parameterisation must be one of standard, ntk"),
        ({"kernel": "conjugate", "parameterisation": "ntk"}, "the same in every parameterisation"),
        ({"n_lowest": 11}, "n_lowest must be at most n_samples=10, got 11"),
    ],
)
def test_refusals_are_one_sentence(changes, message):
    with pytest.raises(LawsweepError, match=message):
        ntk_min_eig(**{**POINT, **changes})


def test_betas_and_layers():
    assert layer_betas(2.0, (), 3) == (2.0, 2.0, 2.0)
    assert layer_betas(1.0, (1.0, 2.0, 3.0), 3) == (1.0, 2.0, 3.0)
    assert kernel_layers("full", 3) is None
    assert kernel_layers("1+3", 3) == (1, 3)
    assert kernel_layers("12", 12) == (12,)


def test_a_sweep_over_widths_zips_them():
    axes = {"zip": {"widths": [[], [12, 5, 7], [24, 5, 7]], "width": [12, 12, 24]}}
    fixed = {k: v for k, v in POINT.items() if k != "width"}
    plan = make_plan(ntk_min_eig, params=fixed, axes=axes, seeds=2)
    assert len(plan) == 6
    assert len(set(plan.run_ids)) == 6
