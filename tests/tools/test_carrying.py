"""A raised version: which rows come along, what they say of themselves, what is left to compute."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

import lawsweep
from lawsweep import Carry, Sweep, experiment
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.registry import find_experiment
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.upkeep.verify import verify
from lawsweep.tools.carrying import carry_rows


def raised(chosen, carries, version=2):
    made = {k: c if isinstance(c, Carry) else Carry(c) for k, c in carries.items()}
    return dataclasses.replace(chosen, version=version, carries=made)


def newer(sweep, carries, version=2):
    return dataclasses.replace(sweep, experiment=raised(sweep.find_experiment(), carries, version))


def test_rows_that_mean_the_same_come_along_and_the_others_are_computed_again(toys, folder):
    before = lawsweep.load(toys)
    sweep = newer(toys, {1: "n > 15 and y > 0"})
    view = lawsweep.open(sweep).preview()
    assert (view.count("changed"), view.count("new")) == (8, 0)
    assert any("lawsweep import toys --from-version 1 carries over" in n for n in view.plan.notes)
    dry = carry_rows(sweep, 1, dry=True)
    assert (len(dry.run_ids), dry.n_affected, dry.launch_id) == (6, 2, None)
    assert lawsweep.open(sweep).preview().count("done") == 0
    done = carry_rows(sweep, 1, command="lawsweep import toys --from-version 1")
    assert done.run_ids == dry.run_ids
    view = lawsweep.open(sweep).preview()
    assert (view.count("done"), view.count("changed")) == (6, 2)
    report = lawsweep.run(sweep)
    assert (report.done_before, dict(report.statuses)) == (6, {"ok": 2})
    after = lawsweep.load(sweep)
    assert set(after["version"]) == {2}
    for name in ("n", "seed", "y", "draws"):
        assert after[name].to_list() == before[name].to_list()
    carried = after[after["n"] > 15]
    assert set(carried["device"]) == {"imported"}
    assert carried["wall_s"].to_list() == before[before["n"] > 15]["wall_s"].to_list()
    launch = lawsweep.show(done.run_ids[0])["launch"]
    assert (launch["kind"], launch["from_version"]) == ("import", 1)
    assert launch["condition"] == "n > 15 and y > 0"
    assert launch["command"] == "lawsweep import toys --from-version 1"
    then = dict(zip(launch["run_ids"], launch["from_run_ids"], strict=True))
    assert set(then.values()) < set(before["run_id"])
    assert launch["from_launches"] == sorted(set(before["launch_id"]))
    # The old rows stay, and again nothing is left to carry.
    assert lawsweep.load(toys).equals(before)
    again = carry_rows(sweep, 1)
    assert (again.run_ids, len(again.kept), again.launch_id) == ((), 6, None)
    table = ParquetTable("results/tables", sweep.find_experiment())
    assert not [f for f in verify(table) if f.severity == "problem"]


def test_arrays_come_along(spectra, folder):
    before = {k: v.copy() for k, v in lawsweep.load_arrays(spectra, "eigenvalues").items()}
    plan = spectra.plan()
    sweep = newer(spectra, {1: "n == 5"})
    done = carry_rows(sweep, 1)
    assert len(done.run_ids) == 2
    found = lawsweep.load_arrays(sweep, "eigenvalues")
    places = [i for i in range(len(plan)) if plan.params_of(i)["n"] == 5]
    for i in places:
        np.testing.assert_array_equal(found[sweep.plan().run_ids[i]], before[plan.run_ids[i]])
    table = ParquetTable("results/tables", sweep.find_experiment())
    assert not [f for f in verify(table) if f.severity == "problem"]


def test_only_ok_rows_of_the_plan_come_and_of_an_experiment_all(toys, folder):
    smaller = dataclasses.replace(newer(toys, {1: "True"}), axes={"n": [10, 20]})
    elsewhere = newer(toys, {1: "device != 'cpu' or n_threads < 1"})
    assert carry_rows(elsewhere, 1).n_affected == 8
    assert len(carry_rows(smaller, 1).run_ids) == 4
    whole = carry_rows(smaller.find_experiment(), 1, results_dir="results")
    assert (len(whole.run_ids), len(whole.kept)) == (4, 4)


def test_a_condition_on_a_missing_metric_carries_nothing(folder):
    chosen = find_experiment("toys:toy")
    sweep = Sweep(name="odd", experiment=chosen, axes={"n": [10], "mode": ["missing", "nan", "ok"]},
                  seeds=1, executor={"kind": "serial"})  # fmt: skip
    lawsweep.run(sweep)
    rows = lawsweep.load(sweep)
    n_ok = int((rows["status"] == "ok").sum())
    n_number = int((rows["y"] > 0).fillna(False).sum())
    done = carry_rows(newer(sweep, {1: "y > 0"}), 1)
    assert len(done.run_ids) == n_number
    assert done.n_affected == n_ok - n_number


def test_rows_whose_params_were_changed_by_hand_stay_behind(toys, folder):
    (part,) = (folder / "results/tables/toy").glob("part-*")
    table = pa.parquet.read_table(part)
    n = table["n"].to_pylist()
    n[0] += 1
    changed = table.set_column(table.schema.get_field_index("n"), table.schema.field("n"),
                               pa.array(n))  # fmt: skip
    pa.parquet.write_table(changed, part)
    done = carry_rows(newer(toys, {1: "n > 0"}), 1)
    assert len(done.run_ids) == 7
    assert done.notes == ("1 rows were left: they are not the run that their id names",)


def test_what_cannot_be_carried_is_said(toys, folder):
    with pytest.raises(InvalidValueError, match="does not say which rows of version 1 mean the"):
        carry_rows(newer(toys, {}), 1)
    for version in (0, 2, 7):
        with pytest.raises(InvalidValueError, match=f"names an older version .* got {version}"):
            carry_rows(newer(toys, {1: "n > 0"}), version)


def test_conditions_are_checked_where_an_experiment_is_defined():
    chosen = find_experiment("toys:toy")

    def made(**options):
        return experiment(name="again", **options)(chosen.function)

    assert made(version=2, carries={1: "n > 3"}).carries == {1: Carry("n > 3")}
    with pytest.raises(TypeError, match="versions before 2 to conditions, got 2"):
        made(version=2, carries={2: "n > 3"})
    with pytest.raises(UnknownNameError, match="carries of again"):
        made(version=2, carries={1: "m > 3"})
    with pytest.raises(UnknownNameError, match="carries of again"):
        made(version=2, carries={1: Carry("n > 3", defaults={"scales": 1.0})})
    with pytest.raises(InvalidValueError, match="scale"):
        made(version=2, carries={1: Carry("n > 3", defaults={"scale": "x"})})


def test_a_row_of_a_default_that_changed_is_one_of_todays_default(toys, folder):
    explicit = dataclasses.replace(toys, params={"scale": 2.0}, axes={"n": [10]})
    lawsweep.run(explicit)
    before = {r["n"]: r["y"] for r in lawsweep.load(toys).to_dict("records") if r["seed"] == 0}
    chosen = toys.find_experiment()
    params = tuple(
        dataclasses.replace(s, default=3.0) if s.name == "scale" else s for s in chosen.params
    )
    carry = Carry("n <= 20", defaults={"scale": 1.0})
    today = dataclasses.replace(raised(chosen, {1: carry}), params=params)
    sweep = dataclasses.replace(toys, experiment=today)
    assert lawsweep.open(sweep).preview().count("changed") == 8
    assert len(carry_rows(sweep, 1).run_ids) == 4
    found = lawsweep.load(sweep)
    done = found[found["status"] == "ok"]
    assert set(done["scale"]) == {3.0}
    assert {r["n"]: r["y"] for r in done.to_dict("records") if r["seed"] == 0} == {
        10: before[10], 20: before[20],
    }  # fmt: skip
    # Of the whole table: the explicit ones stay explicit, and both have today's ids.
    rest = carry_rows(today, 1, results_dir="results")
    assert (len(rest.run_ids), len(rest.kept)) == (2, 4)
    asked = dataclasses.replace(sweep, params={"scale": 2.0}, axes={"n": [10]})
    assert lawsweep.open(asked).preview().count("done") == 2
    # What was the default of then is an explicit value today.
    asked = dataclasses.replace(sweep, params={"scale": 1.0}, axes={"n": [10]})
    assert lawsweep.open(asked).preview().count("changed") == 2
    assert len(carry_rows(asked, 1).run_ids) == 2
    assert lawsweep.open(asked).preview().count("done") == 2
