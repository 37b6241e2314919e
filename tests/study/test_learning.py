"""Metrics that nobody declared: learnt from the rows, in their types, whatever comes later."""

from __future__ import annotations

import numpy as np
import pytest

from lawsweep import Study, Sweep, experiment
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.outcome import Outcome
from lawsweep.core.plain.learning import Learner
from lawsweep.core.plain.observed import observed


@experiment
def measured(n: int, rate: float = 0.5, seed: int = 0) -> dict:
    """The second row has a column more and one less, the third a float, the fourth a text."""
    row = {"loss": n if n < 3 else n + 0.5, "curve": np.arange(n, dtype=np.int32), "rate": rate}
    if n == 2:
        row["note"] = "late"
    else:
        row["count"] = np.int16(n)
    if n == 4:
        row["loss"] = "diverged"
    return row


def study(tmp_path, **settings):
    settings = {"axes": {"n": [1, 2, 3, 4]}, "executor": {"kind": "serial"}, **settings}
    return Study(Sweep("learning", measured, results_dir=str(tmp_path), **settings))


def kinds(study):
    fields = (*study.plan.experiment.metrics, *study.plan.experiment.arrays)
    return {s.name: s.kind for s in fields}


def test_the_first_row_says_which_metrics_there_are_and_later_ones_are_not_lost(tmp_path):
    fits = ({"law": "power", "x": "n", "y": "loss"},)
    figures = ({"kind": "curve", "x": "n", "y": "loss", "title": "the loss of n"},)
    one = study(tmp_path, fits=fits, figures=figures)
    assert one.plan.experiment.supposed == {"loss"}
    report = one.run()
    assert dict(report.statuses) == {"ok": 3, "failed": 1}
    assert kinds(one) == {
        "loss": "float", "count": "int", "note": "str", "curve": "array"
    }  # fmt: skip
    rows = one.frame().set_index("n")
    assert rows["loss"][:3].to_dict() == {1: 1.0, 2: 2.0, 3: 3.5}
    assert rows["loss"].isna().tolist() == [False, False, False, True]
    assert rows["count"].isna().tolist() == [False, True, False, False]  # the failed one's too
    assert rows["note"][2] == "late"
    assert rows["error"][4].startswith(
        "InvalidValueError: loss is a number in the rows before, and text here ('diverged'). Return"
    )
    curves = one.arrays("curve")
    assert {len(curves[r]) for r in curves} == {1, 2, 3}
    assert curves[one.plan.run_ids[2]].tolist() == [0.0, 1.0, 2.0]
    (fit,) = one.fit()
    assert fit.n_rows == 3
    # The next one knows them while planning.
    assert kinds(study(tmp_path)) == kinds(one)
    with pytest.raises(UnknownNameError, match=r"'los' in fits\[0\]\.y\. Did you mean 'loss'"):
        study(tmp_path, fits=({"law": "power", "x": "n", "y": "los"},))


def test_an_array_that_a_figure_asks_for_is_taken_on_trust_before_a_row(tmp_path):
    @experiment
    def square(n: int) -> dict:
        return {"gram": np.eye(n)}

    settings = {"axes": {"n": [3]}, "executor": {"kind": "serial"}, "results_dir": str(tmp_path)}
    figures = ({"kind": "gram", "array": "gram"},)
    one = Study(Sweep("squares", square, figures=figures, **settings))
    assert [s.name for s in one.plan.experiment.arrays] == ["gram"]
    one.run()
    assert one.arrays("gram")[one.plan.run_ids[0]].tolist() == np.eye(3).tolist()
    assert [p.suffix for p in one.plot()] == [".png", ".pdf", ".svg"]
    with pytest.raises(UnknownNameError, match=r"Unknown array 'grma' in .* mean 'gram'"):
        Study(Sweep("squares", square, figures=({"kind": "gram", "array": "grma"},), **settings))


def test_two_launches_learn_of_one_another(tmp_path):
    first = study(tmp_path, axes={"n": [1, 2]})
    second = study(tmp_path, axes={"n": [3]})  # opened before there is a row
    assert first.run().statuses["ok"] + second.run().statuses["ok"] == 3
    third = study(tmp_path, axes={"n": [1, 2, 3]})
    assert kinds(third)["loss"] == "float"  # whole in one launch's rows, not in the other's
    assert third.frame()["loss"].tolist() == [1.0, 2.0, 3.5]


def test_until_and_a_search_may_ask_for_metrics_that_no_row_has_yet(tmp_path):
    until = {"mean": "loss", "within": 0.5}
    one = study(tmp_path, axes={"n": [1, 2]}, until=until, seeds=40)
    one.run()
    assert set(one.frame()["loss"]) == {1, 2}  # alike for every seed, so a few are enough
    assert len(one.frame()) < 80


def test_a_value_of_none_says_nothing_of_the_type():
    learner = Learner(measured)
    learner.take(Outcome(0, "ok", {"a": None, "b": ()}))
    assert {s.name: s.kind for s in learner.experiment.metrics} == {"a": "null", "b": "null"}
    learner.take(Outcome(1, "ok", {"a": "x", "b": (1, 2)}))
    assert {s.name: s.kind for s in learner.experiment.metrics} == {"a": "str", "b": "int"}
    learner.take(Outcome(2, "ok", {"a": None, "b": ()}))
    assert {s.name: s.kind for s in learner.experiment.metrics} == {"a": "str", "b": "int"}
    odd = learner.take(Outcome(3, "ok", {"a": True, "b": 3}))
    assert odd.status == "failed"
    assert odd.metrics == {}
    assert "a is text in the rows before, and true or false here (True); b is a list of int" in str(
        odd.error
    )


class Tensor:
    """What torch's do, without it."""

    def __init__(self, value):
        self.value = np.asarray(value)

    def detach(self):
        return self

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return self.value


@pytest.mark.parametrize(
    ("returned", "row", "arrays"),
    [
        (3, {"value": 3}, {}),
        (np.float32(0.5), {"value": 0.5}, {}),
        ({"a": np.bool_(True), "b": np.uint8(7)}, {"a": True, "b": 7}, {}),
        ({"val": {"loss": 1.5}, "train/acc": 0.25}, {"val_loss": 1.5, "train_acc": 0.25}, {}),
        ({"a": [1, 2.5], "b": ("x", "y")}, {"a": (1.0, 2.5), "b": ("x", "y")}, {}),
        ({"a": [[1, 2], [3, 4]]}, {}, {"a": [[1.0, 2.0], [3.0, 4.0]]}),
        ({"a": Tensor([1, 2]), "b": Tensor(2.5)}, {"b": 2.5}, {"a": [1.0, 2.0]}),
        ({"a": np.array([True, False]), "lr": 0.1, "seed": 4, "n": None}, {"n": None},
         {"a": [1.0, 0.0]}),
        ({"a": np.zeros((2, 0, 3), np.float16)}, {}, {"a": np.zeros((2, 0, 3)).tolist()}),
        ({}, {}, {}),
    ],
)  # fmt: skip
def test_what_a_function_returned_becomes_a_row(returned, row, arrays):
    found, large = observed("f", returned, {"lr": 0.1}, 4)
    assert (found, {n: a.tolist() for n, a in large.items()}) == (row, arrays)
    assert all(type(v) in (bool, int, float, str, tuple, type(None)) for v in found.values())
    assert all(a.dtype == np.float64 for a in large.values())


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (None, "f returned None; return a dict of metrics, a number or a dataclass"),
        ("text", "f must return a dict of metrics, a number or a dataclass, got str"),
        ({"a": object()}, "a is an object, which no table holds"),
        ({"a": 1j}, "a is a complex, which no table holds"),
        ({"a": np.array([1j])}, "a must be an array of real numbers, got one of complex128"),
        ({"a": 2**70}, "a is a whole number of more than 64 bits"),
        ({"a": np.array([2**60 + 1])}, r"a holds whole numbers beyond 2\*\*53"),
        ({"a": [1, "x"]}, "a is a list of different things"),
        ({"a": [[1], [2, 3]]}, "a is a list that numpy cannot read|a must be an array"),
        ({3: 1}, "f returned a metric called 3"),
        ({"lr": 0.2}, "f returned 'lr', the name of a param, with another value"),
        ({"seed": 5}, "f returned 'seed', another seed"),
        ({"status": 1}, "f returned 'status', a column every row has already"),
        ({"pi": 1}, "f returned 'pi', a constant in expressions"),
        ({"A": 1, "a": 2}, "f returned 'a', which is one name with 'A' to SQL"),
        ({"a/b": 1, "a_b": 2}, "f returned 'a_b' twice"),
    ],
)
def test_what_is_no_metric_is_one_sentence(returned, sentence):
    with pytest.raises(InvalidValueError, match=sentence):
        observed("f", returned, {"lr": 0.1}, 4)


def test_two_spellings_of_a_metric_in_two_runs_are_told_by_the_second_run():
    """SQL answers with either of ``y`` and ``Y``: a table with both could not be read."""
    learner = Learner(measured)
    assert learner.take(Outcome(0, "ok", {"y": 1.0})).status == "ok"
    odd = learner.take(Outcome(1, "ok", {"Y": 1.0, "z": 2.0}))
    assert (odd.status, odd.metrics) == ("failed", None)
    assert "'Y' is one name with 'y', as the rows before call it, to SQL" in odd.error
    assert [s.name for s in learner.experiment.metrics] == ["y"]
    assert learner.take(Outcome(2, "ok", {"y": 2.0})).status == "ok"
