from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import pair, toy

from lawsweep import experiment
from lawsweep.core.identity import run_id
from lawsweep.core.registry import experiment_names, find_experiment
from lawsweep.grid.older import as_of
from lawsweep.grid.plan import make_plan

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "run_ids.json").read_text())


def test_golden_ids_of_toys():
    for case in GOLDEN["toys"]:
        chosen = {"toy": toy, "pair": pair}[case["experiment"]]
        values = {s.name: s.cast(case["params"][s.name])
                  for s in chosen.params if s.name in case["params"]}  # fmt: skip
        assert run_id(chosen, values, case["seed"]) == case["run_id"], case


@pytest.mark.parametrize("name", sorted(GOLDEN["defaults"]))
def test_golden_defaults_of_the_built_in_experiments(name):
    """A default is never changed: raise the version and make a new golden entry."""
    found = find_experiment(name)
    defaults = {s.name: s.default for s in found.params if s.has_default}
    golden = GOLDEN["defaults"][name]
    assert found.version == golden["version"]
    assert json.loads(json.dumps(defaults)) == golden["params"]
    values = {s.name: s.cast(golden["example"][s.name])
              for s in found.params if s.name in golden["example"]}  # fmt: skip
    assert run_id(found, values, 0) == golden["example_run_id"]


def test_every_built_in_experiment_has_golden_defaults():
    assert set(GOLDEN["defaults"]) == set(experiment_names())


@pytest.mark.parametrize(
    ("name", "version"), [(n, v) for n, old in GOLDEN["older"].items() for v in old]
)
def test_golden_ids_of_older_versions_stay(name, version):
    """Their rows are in tables, and are carried over by these ids."""
    then, golden = as_of(find_experiment(name), int(version)), GOLDEN["older"][name][version]
    values = {s.name: s.cast(golden["example"][s.name])
              for s in then.params if s.name in golden["example"]}  # fmt: skip
    assert run_id(then, values, 0) == golden["example_run_id"]
    assert run_id(then, then.with_defaults(values), 0) == golden["example_run_id"]
    defaults = {s.name: s.default for s in then.params if s.has_default}
    assert {n: defaults[n] for n in golden["defaults"]} == golden["defaults"]


def test_a_value_equal_to_the_default_is_left_out():
    assert run_id(toy, {"n": 3}, 0) == run_id(toy, {"n": 3, "scale": 1.0, "mode": "ok"}, 0)
    assert run_id(toy, {"n": 3}, 0) != run_id(toy, {"n": 3, "scale": 2.0}, 0)
    assert run_id(toy, {"n": 3}, 0) != run_id(toy, {"n": 3}, 1)


def test_a_new_field_with_a_default_keeps_old_ids():
    @dataclass(frozen=True, kw_only=True)
    class Params:
        n: int

    @dataclass(frozen=True, kw_only=True)
    class Wider:
        n: int
        extra: float = 0.25

    @dataclass(frozen=True, kw_only=True)
    class Metrics:
        y: float

    def old(params: Params, seed: int) -> Metrics: ...
    def new(params: Wider, seed: int) -> Metrics: ...

    old.__annotations__ = {"params": Params, "seed": int, "return": Metrics}
    new.__annotations__ = {"params": Wider, "seed": int, "return": Metrics}
    before = experiment(version=1, name="grown")(old)
    after = experiment(version=1, name="grown")(new)
    assert run_id(before, {"n": 3}, 0) == run_id(after, {"n": 3, "extra": 0.25}, 0)
    assert run_id(before, {"n": 3}, 0) != run_id(replace(after, version=2), {"n": 3}, 0)


@given(
    st.integers(1, 1000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["ok", "nan"]),
    st.integers(0, 2**63 - 1),
)
def test_ids_by_column_equal_ids_one_by_one(n, scale, mode, seed):
    plan = make_plan(toy, axes={"n": [n], "scale": [scale, 1.0], "mode": [mode]}, seeds=[seed])
    expected = [run_id(toy, plan.params_of(i), seed) for i in range(len(plan))]
    assert plan.run_ids == expected


def test_ids_by_column_of_objects():
    axes = {"widths": [[1, 2], [2, 2], []], "rate": [None, 0.5], "kernel": ["full", 'q"\u00e9']}
    plan = make_plan(pair, params={"n_target": 4, "n_compressed": 2}, axes=axes, seeds=2)
    expected = [run_id(pair, plan.params_of(i), plan.seed_of(i)) for i in range(len(plan))]
    assert plan.run_ids == expected
    assert len(set(plan.run_ids)) == 24
