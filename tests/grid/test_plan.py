from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import pair, toy

from lawsweep.core.errors import EmptyPlanError, InvalidValueError, UnknownNameError
from lawsweep.grid.plan import make_plan


def rows(plan):
    return [plan.params_of(i * len(plan.seeds)) for i in range(plan.n_points)]


def test_a_mapping_is_a_product_last_axis_fastest():
    plan = make_plan(toy, axes={"n": [1, 2], "scale": [0.5, 1.5]}, seeds=2)
    assert [tuple(r.values()) for r in rows(plan)] == [(1, 0.5), (1, 1.5), (2, 0.5), (2, 1.5)]
    assert len(plan) == 8
    assert [plan.seed_of(i) for i in range(4)] == [0, 1, 0, 1]


def test_zip_and_lists_of_blocks():
    axes = [{"zip": {"n_target": [4, 8], "n_compressed": [2, 3]}}, {"width": [1, 2]}]
    plan = make_plan(pair, axes=axes)
    assert [(r["n_target"], r["n_compressed"], r["width"]) for r in rows(plan)] == [
        (4, 2, 1), (4, 2, 2), (8, 3, 1), (8, 3, 2)
    ]  # fmt: skip


def test_union_joins_grids_and_runs_shared_points_once():
    axes = {"union": [{"axes": {"n": [1, 2]}}, {"axes": {"n": [2, 3]}, "params": {"scale": 1.0}}]}
    plan = make_plan(toy, axes=axes)
    assert [r["n"] for r in rows(plan)] == [1, 2, 3]
    assert "1 of 4 points are repeated" in plan.notes[0]


def test_points_are_rows_or_columns():
    listed = [{"n": 1, "scale": 0.5}, {"n": 7, "scale": 2}]
    columns = {"n": [1, 7], "scale": [0.5, 2.0]}
    a = make_plan(toy, axes={"points": listed})
    b = make_plan(toy, axes=[{"points": columns}])
    assert a.run_ids == b.run_ids
    assert [tuple(r.values()) for r in rows(a)] == [(1, 0.5), (7, 2.0)]


def test_a_sample_fills_a_box_and_a_longer_one_extends_it():
    box = {"n": [1, 1000], "scale": [1e-3, 10.0, "log"]}
    short = make_plan(toy, axes={"sample": {"n": 16, "box": box}})
    long = make_plan(toy, axes={"sample": {"n": 32, "box": box}})
    assert long.run_ids[:16] == short.run_ids
    assert short.params["scale"].min() >= 1e-3
    assert short.params["scale"].max() <= 10.0
    assert (short.params["scale"] < 0.1).sum() == 8  # half of a Sobol sample, in the logarithm
    lhs = make_plan(toy, axes={"sample": {"n": 10, "method": "lhs", "seed": 3, "box": box}})
    slices = np.sort(np.floor(10 * np.log(lhs.params["scale"] / 1e-3) / np.log(1e4)))
    assert slices.tolist() == list(range(10))


def test_filters_apply_before_what_they_protect():
    plan = make_plan(
        pair,
        params={"n_target": 100, "n_compressed": 2},
        axes={"ratio": [0, 1, 4]},
        derive={"width": "round(12 / ratio)"},
        where=["ratio > 0", "width > 5"],
    )
    assert plan.params["width"].tolist() == [12]
    assert plan.extra["ratio"].tolist() == [1]


def test_generated_floats_carry_no_artefacts():
    spaced = make_plan(toy, params={"n": 1}, axes={"scale": "linspace(0.1, 0.5, 5)"})
    listed = make_plan(toy, params={"n": 1}, axes={"scale": [0.1, 0.2, 0.3, 0.4, 0.5]})
    assert spaced.run_ids == listed.run_ids
    stepped = make_plan(toy, params={"n": 1}, axes={"scale": "range(1, 1.3, 0.1)"})
    assert stepped.params["scale"].tolist() == [1.0, 1.1, 1.2]


def test_conditional_axes_apply_where_they_are_meant():
    axes = {"mode": ["ok", "nan"], "when": {"if": "mode == 'ok'", "axes": {"scale": [2.0, 3.0]}}}
    plan = make_plan(toy, params={"n": 1}, axes=axes)
    assert [(r["mode"], r.get("scale")) for r in rows(plan)] == [
        ("ok", 2.0), ("ok", 3.0), ("nan", 1.0)
    ]  # fmt: skip
    plain = make_plan(toy, params={"n": 1, "mode": "nan"})
    assert plan.run_ids[2] == plain.run_ids[0]


def test_significant_figures():
    plan = make_plan(toy, axes={"n": [1], "scale": "signif(logspace(1e-3, 1, 7), 2)"})
    assert plan.params["scale"].tolist() == [0.001, 0.0032, 0.01, 0.032, 0.1, 0.32, 1.0]
    few = make_plan(toy, axes={"n": [1], "scale": "signif(linspace(1, 2, 50), 1)"})
    assert few.params["scale"].tolist() == [1.0, 2.0]
    assert "48 of 50 values coincide" in few.notes[0]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("linspace(50, 500, 4)", [50, 200, 350, 500]),
        ("range(1, 10, 3)", [1, 4, 7]),
        ("range(3)", None),
        ("logspace(10, 1000, 3)", [10, 100, 1000]),
        ("logspace(1, 1000, 4)", [1, 10, 100, 1000]),
        ("floor(sqrt(1000 * range(5, 200, 50)))", [70, 234, 324, 393]),
        (7, [7]),
        ([3, 2, 3], [3, 2]),
    ],
)
def test_axes(axis, expected):
    if expected is None:
        with pytest.raises(InvalidValueError, match="n must be at least 1, got 0"):
            make_plan(toy, axes={"n": axis})
        return
    assert [r["n"] for r in rows(make_plan(toy, axes={"n": axis}))] == expected


def test_a_geometric_integer_axis_rounds_and_says_what_collapsed():
    plan = make_plan(toy, axes={"n": "logspace(1, 10, 20)"})
    values = [r["n"] for r in rows(plan)]
    assert values == sorted(set(np.rint(np.geomspace(1, 10, 20)).astype(int)))
    assert any("rounded" in n for n in plan.notes)
    assert any("10 of 20 values coincide after rounding; 10 are left" in n for n in plan.notes)


def test_derived_fields_follow_each_other_and_filters_see_them():
    plan = make_plan(
        pair,
        axes={"ratio": [0.5, 2.0], "width": [2, 4]},
        derive={"n_compressed": "n_target // 2", "n_target": "round(ratio * width**2)"},
        where=["n_target > 2"],
    )
    assert [(r["n_target"], r["n_compressed"]) for r in rows(plan)] == [(8, 4), (8, 4), (32, 16)]
    assert plan.extra["ratio"].tolist() == [0.5, 2.0, 2.0]


def test_spelling_of_numbers_and_order_do_not_change_ids():
    a = make_plan(toy, axes={"n": [1, 2], "scale": [2]}, seeds=3)
    b = make_plan(toy, params={"scale": 2.0}, axes={"n": [2.0, 1.0]}, seeds=[2, 1, 0])
    assert set(a.run_ids) == set(b.run_ids)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=5, unique=True),
    st.lists(st.floats(-10, 10, allow_nan=False), min_size=1, max_size=4, unique=True),
    st.integers(1, 3),
)
def test_a_product_has_every_pair_once(ns, scales, seeds):
    plan = make_plan(toy, axes={"n": ns, "scale": scales}, seeds=seeds)
    pairs = [(r["n"], r["scale"]) for r in rows(plan)]
    assert pairs == [(n, s) for n in ns for s in scales]
    assert len(set(plan.run_ids)) == len(ns) * len(scales) * seeds


grids = st.fixed_dictionaries(
    {"n": st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
     "scale": st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=1, max_size=3, unique=True)}
)  # fmt: skip


def ids(axes):
    return set(make_plan(toy, axes=axes).run_ids)


@given(grids, grids)
def test_union_is_the_union_and_product_does_not_mind_the_order(a, b):
    union = {"union": [{"axes": a}, {"axes": b}]}
    assert ids(union) == ids(a) | ids(b)
    assert ids({"union": [{"axes": a}, {"axes": a}]}) == ids(a)
    assert ids([{"scale": a["scale"]}, {"n": a["n"]}]) == ids(a)
    assert ids({"zip": {"n": a["n"]}, "scale": a["scale"]}) == ids(a)
    points = [{"n": n, "scale": s} for n in a["n"] for s in a["scale"]]
    assert ids({"points": points}) == ids(a)
    split = [{"axes": {"n": [n], "scale": a["scale"]}} for n in a["n"]]
    assert ids({"union": split}) == ids(a)
    kept = make_plan(toy, axes={"union": [{"axes": a, "where": ["n >= 1"]}]})
    assert set(kept.run_ids) == ids(a)


@pytest.mark.slow
def test_a_million_runs_have_a_million_ids():
    axes = {"n": "range(1, 1001)", "scale": "linspace(0, 1, 100)"}
    plan = make_plan(toy, axes=axes, seeds=10)
    assert len(plan) == 1_000_000
    assert len(set(plan.run_ids)) == 1_000_000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"axes": {"m": [1]}}, UnknownNameError, "Unknown param 'm'"),
        ({"axes": {"n": [1]}, "params": {"scal": 1}}, UnknownNameError, "Did you mean 'scale'"),
        ({"axes": {"n": [1]}, "derive": {"scal": "n"}}, UnknownNameError, "Did you mean 'scale'"),
        ({"axes": {}}, InvalidValueError, "toy needs a value for n; got none"),
        ({"axes": {"n": []}}, EmptyPlanError, "axis 'n' is empty"),
        ({"axes": {"n": [0, 1]}}, InvalidValueError, "n must be at least 1, got 0"),
        ({"axes": {"n": [-3]}}, InvalidValueError, "n must be at least 1, got -3"),
        ({"axes": {"n": ["a"]}}, InvalidValueError, "n must be int, got 'a'"),
        ({"axes": {"n": [1.5]}}, InvalidValueError, "n must be int, got 1.5"),
        ({"axes": {"n": "linspce(1, 2, 3)"}}, UnknownNameError, "Did you mean 'linspace'"),
        ({"axes": {"n": "logspace(0, 2, 3)"}}, InvalidValueError, "positive ends"),
        ({"axes": {"n": "linspace(1, 2, 0)"}}, InvalidValueError, "whole number from 1"),
        ({"axes": {"n": "scale * 2"}}, InvalidValueError, "an axis stands alone"),
        ({"axes": {"n": "range(5, 1)"}}, EmptyPlanError, "axis 'n' is empty"),
        ({"axes": [{"n": [1]}, {"n": [2]}]}, InvalidValueError, "'n' is given twice"),
        ({"axes": 3}, InvalidValueError, "axes must be a mapping"),
        ({"axes": {"zip": {"n": [1, 2], "scale": [1]}}}, InvalidValueError, "axes of one length"),
        ({"axes": {"points": [{"n": 1}, {"m": 2}]}}, InvalidValueError, "must name n; got"),
        ({"axes": {"points": "here.csv"}}, InvalidValueError, "points must be a list"),
        ({"axes": {"sample": {"n": 3}}}, InvalidValueError, "box of sample must map names"),
        ({"axes": {"sample": {"n": 0, "box": {"n": [1, 2]}}}}, InvalidValueError, "from 1, got 0"),
        ({"axes": {"sample": {"n": 3, "box": {"n": [2, 1]}}}}, InvalidValueError, "low <= high"),
        (
            {"axes": {"sample": {"n": 3, "box": {"n": [1, 9]}, "method": "sobl"}}},
            UnknownNameError,
            "Did you mean 'sobol'",
        ),
        ({"axes": {"when": {"if": "n > 1"}}}, InvalidValueError, "needs the keys if and axes"),
        ({"axes": {"y": [1, 2]}, "derive": {"n": "y"}}, InvalidValueError, "name of a metric"),
        ({"axes": {"seed": [1]}, "derive": {"n": "seed"}}, InvalidValueError, "every row has"),
        ({"axes": {"n": [1]}, "params": {"n": 2}}, InvalidValueError, "fixed under params and an"),
        ({"axes": {"points": [5]}}, InvalidValueError, "Each point of points must map names"),
        ({"axes": {"union": [{"params": 5}]}}, InvalidValueError, "params of a union must be"),
        ({"axes": {"q": [10**30]}, "derive": {"n": "q"}}, InvalidValueError, "at most 64 bits"),
        ({"axes": {"q": [1, "a"]}, "derive": {"n": "q"}}, InvalidValueError, "mixes numbers and"),
        ({"params": {1: 2}, "axes": {"n": [1]}}, UnknownNameError, "Unknown param '1'"),
        (
            {"axes": {"n": [1]}, "seeds": 100_000_000},
            InvalidValueError,
            "from 1 to 5,000,000, .* 100000000",
        ),
        ({"axes": {"union": [{"axs": {}}]}}, UnknownNameError, "Did you mean 'axes'"),
        ({"axes": {"n": [1]}, "where": ["n > 5"]}, EmptyPlanError, "leaves none of 1 points"),
        ({"axes": {"n": [1]}, "where": ["n + 5"]}, InvalidValueError, "needs true or false"),
        ({"axes": {"n": [1]}, "where": ["m > 5"]}, UnknownNameError, "Unknown name 'm'"),
        ({"axes": {"n": [1]}, "seeds": 0}, EmptyPlanError, "seeds is empty"),
        ({"axes": {"n": [1]}, "seeds": -1}, InvalidValueError, "a count from 1 to .* got -1"),
        ({"axes": {"n": [1]}, "seeds": [1, 1]}, InvalidValueError, "seeds must differ"),
        ({"axes": {"n": [1]}, "seeds": "5"}, InvalidValueError, "seeds must be a count"),
        ({"axes": {"n": [1]}, "seeds": [-1]}, InvalidValueError, "from 0 to"),
        ({"axes": {"scale": [4]}, "derive": {"n": "scale / 3"}}, InvalidValueError, "round()"),
        ({"axes": {"scale": [0]}, "derive": {"n": "1 / scale"}}, InvalidValueError, "gives inf"),
        (
            {"axes": {"mode": ["ok"]}, "derive": {"n": "scale", "scale": "n"}},
            InvalidValueError,
            "goes in a circle",
        ),
        (
            {"axes": {"n": [1]}, "params": {"scale": 1}, "derive": {"scale": "n"}},
            InvalidValueError,
            "both fixed under params and derived",
        ),
    ],
)
def test_bad_grids_get_one_clear_sentence(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        make_plan(toy, **arguments)
    assert "\n" not in str(caught.value)


def test_constraints_are_checked_over_all_points_and_count_them():
    axes = {"n_target": [2, 4, 8], "n_compressed": [3]}
    message = "requires n_compressed <= n_target, which fails at 1 of 3 points; the first has"
    with pytest.raises(InvalidValueError, match=message):
        make_plan(pair, axes=axes)


def test_a_slip_is_caught_before_it_is_built():
    axes = {"n": "range(1, 1000)", "scale": "linspace(0, 1, 1000000)"}
    with pytest.raises(InvalidValueError, match="span 999,000,000 points, more than the limit"):
        make_plan(toy, axes=axes)


def test_tuples_and_optionals_are_values():
    axes = {"widths": [[1, 2], [3]], "rate": [None, 0.5]}
    plan = make_plan(pair, params={"n_target": 4, "n_compressed": 2, "kernel": 2}, axes=axes)
    assert rows(plan)[0]["widths"] == (1, 2)
    assert [r["rate"] for r in rows(plan)] == [None, 0.5, None, 0.5]
    assert rows(plan)[0]["kernel"] == "2"
    with pytest.raises(InvalidValueError, match="must be a list of lists"):
        make_plan(pair, params={"n_target": 4, "n_compressed": 2}, axes={"widths": [1, 2]})
