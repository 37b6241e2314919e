"""The curve of a run: what is kept, what is refused, and when it is told."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

import lawsweep
from lawsweep.core.commands.reported import Reported
from lawsweep.core.during import curve as curves
from lawsweep.core.during.curve import FULL, Curve
from lawsweep.core.during.under_way import listened, under_way
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import RunSpec


def make(**given):
    return Curve(0, 1, 0.0, **given)


def test_first_and_last_are_kept_and_as_many_of_each_doubling():
    n = 20_000
    made = make()
    for step in range(n):
        made.report(step, {"loss": step})
    told = made.rest()
    steps = [step for step, _ in told.points]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, n - 1)
    assert steps[: 2 * FULL] == list(range(2 * FULL))
    for k in range(1, 4):
        low = 2**k * FULL
        assert sum(low <= s < 2 * low for s in steps) == FULL
    assert all(values == {"loss": step} for step, values in told.points)
    made.report(n, {"loss": 1.0})  # by a thread that outlived its run
    assert made.rest().points[-1][0] == n - 1


def test_what_is_kept_of_a_million_reports_is_known_by_their_number():
    """FULL of each doubling: of 2**20 reports those of 11 doublings."""
    block = range(2**19, 2**19 + 2**14)  # the last of them
    assert sum(map(curves.is_kept, block)) == 2**14 // 2**10
    assert 2**20 // FULL == 2**11


def test_one_step_reported_twice_is_one_point():
    made = make()
    made.report(3, {"loss": 1.0, "a": 1})
    made.report(3, {"loss": 2.0, "b": math.nan})
    made.report(np.int64(5), {"loss": np.float32(0.5)})
    (first, second) = made.rest().points
    assert first[0] == 3
    assert math.isnan(first[1].pop("b"))
    assert first[1] == {"loss": 2.0, "a": 1.0}
    assert second == (5, {"loss": 0.5})


class Tensor:
    def item(self):
        return 7.0


def test_numbers_of_any_kind_are_taken_and_other_values_told():
    made = make()
    values = {"a": np.float64(1.5), "b": np.array([[2]]), "c": Tensor(), "d": True, "e": math.inf}
    made.report(0, {**values, "f": 10**400})
    assert made.rest().points == (
        (0, {"a": 1.5, "b": 2.0, "c": 7.0, "d": 1.0, "e": math.inf, "f": math.inf}),
    )


@pytest.mark.parametrize(
    ("step", "metrics", "says"),
    [
        (1.5, {"a": 1}, r"a step that is a whole number from 0.*got step 1\.5"),
        (True, {"a": 1}, "got step True"),
        (-1, {"a": 1}, "got step -1"),
        ("3", {"a": 1}, "got step '3'"),
        (3, {}, r"no metric at step 3; give some by name: report\(3, loss=0\.5\)"),
        (3, {"a": "low"}, "takes numbers .*got a='low' of type str"),
        (3, {"a": None}, "got a='None' of type NoneType"),
        (3, {"a": 1j}, "of type complex"),
        (3, {"a": np.zeros(2)}, "of type ndarray"),
        (3, {"val loss": 1}, r"named as a variable.*'val loss'"),
        (3, {"Run_Id": 1}, "a column that a row or a curve has already"),
        (3, {"step": 1}, "a column that a row or a curve has already"),
        (3, {"pi": 1}, "'pi' is a constant in expressions"),
        (2, {"loss": 1}, "step 2 after step 3; steps of a run do not go back"),
        (4, {"Loss": 1}, "'Loss' and 'loss', which are one name to SQL"),
        (4, {f"m{i}": 1 for i in range(64)}, "at most 64 different metrics a run, got 65"),
    ],
)
def test_what_is_no_report_is_one_sentence(step, metrics, says):
    made = make()
    made.report(3, {"loss": 1.0})
    with pytest.raises(InvalidValueError, match=says):
        made.report(step, metrics)


def test_a_run_is_told_of_once_a_second_and_not_before():
    now, told = [0.0], []
    made = make(tell=told.append, clock=lambda: now[0])
    for step, at in enumerate((0.1, 0.9, 1.0, 1.1, 2.5)):
        now[0] = at
        made.report(step, {"loss": step})
    assert [[s for s, _ in t.points] for t in told] == [[0, 1], [2, 3]]
    assert [t.latest for t in told] == [(2, {"loss": 2}), (4, {"loss": 4})]
    assert [s for s, _ in made.rest().points] == [4]


def test_outside_a_launch_a_report_is_checked_and_no_more():
    assert lawsweep.report(3, loss=0.5) is None
    assert lawsweep.report(step=3, loss=0.5) is None
    with pytest.raises(InvalidValueError, match="whole number"):
        lawsweep.report(0.5, loss=0.5)
    with pytest.raises(InvalidValueError, match=r"got 0\.25 without one"):
        lawsweep.report(3, 0.25)


def test_a_thread_of_a_run_reports_for_it_and_a_fused_form_for_nobody():
    run = RunSpec(4, "x", {}, 0, 2)
    with listened(lambda told: None), under_way(run, 5.0) as here:
        thread = threading.Thread(target=lawsweep.report, args=(1,), kwargs={"loss": 0.5})
        thread.start()
        thread.join()
    assert here.curve.rest()._asdict() == {
        "index": 4, "attempt": 2, "started_at": 5.0, "points": ((1, {"loss": 0.5}),),
        "latest": None,
    }  # fmt: skip
    with under_way(None), pytest.raises(InvalidValueError, match=r"executor\.fuse=false"):
        lawsweep.report(1, loss=0.5)


def test_a_program_reports_by_lines_of_json_with_a_step():
    made = make()
    heard = Reported(made)
    text = (
        b'{"step": 1, "loss": 0.5, "what": "train", "val/acc": 1}\nhello {"step": 9}\n'
        b'{"loss": 3}\n{"step": 0, "loss": 1}\n {"step": 2.0, "loss": NaN}\r\n{"step": 3, bad}\n'
        b'{"step": "4", "loss": 1}\n[1]\n' + b'{"step": 5, "a": "' + b"x" * 100_000 + b'"}\n'
        b'{"step": 7, "loss": 2}'
    )
    for i in range(0, len(text), 7):
        heard(text[i : i + 7])
    heard.end()
    points = made.rest().points
    assert [s for s, _ in points] == [1, 2, 7]
    assert points[0][1] == {"loss": 0.5}
    assert math.isnan(points[1][1]["loss"])
    assert points[2][1] == {"loss": 2.0}


def test_what_could_not_be_told_is_told_later_and_costs_the_run_nothing():
    clock, told = iter(range(0, 1000, 2)), []

    def tell(news):
        if len(told) < 2:
            told.append(None)
            raise OSError("the head does not answer")
        told.append(news)

    made = make(tell=tell, clock=lambda: next(clock))
    for step in range(4):
        made.report(step, {"loss": step})
    kept = [p for news in told[2:] for p in news.points] + list(made.rest().points)
    assert [step for step, _ in kept] == [0, 1, 2, 3]


def test_the_rest_of_a_run_comes_after_what_a_thread_of_it_tells():
    clock, order = iter(range(0, 1000, 2)), []
    is_telling, may_end = threading.Event(), threading.Event()

    def tell(news):
        is_telling.set()
        assert may_end.wait(30)
        order.append("told")

    made = make(tell=tell, clock=lambda: next(clock))
    reporter = threading.Thread(target=made.report, args=(0, {"loss": 1}))
    ender = threading.Thread(target=lambda: order.append(made.rest()))
    reporter.start()
    assert is_telling.wait(30)
    ender.start()
    ender.join(0.05)
    may_end.set()
    ender.join(30)
    reporter.join(30)
    assert order[0] == "told"


@pytest.mark.parametrize("step", [np.array([1, 2]), np.array([1]), np.array([]), np.array(1.0)])
def test_arrays_of_no_one_integer_are_no_step(step):
    with pytest.raises(InvalidValueError, match="report takes a step that is a whole number"):
        make().report(step, {"loss": 1})


def test_a_run_that_runs_a_sweep_within_goes_on_reporting():
    with under_way(RunSpec(0, "outer", {}, 0)) as outer:
        lawsweep.report(0, loss=1)
        with under_way(RunSpec(0, "inner", {}, 0)):
            lawsweep.report(0, loss=2)
        lawsweep.report(1, loss=3)
    assert [step for step, _ in outer.curve.rest().points] == [0, 1]


def test_a_forked_child_tells_nobody(monkeypatch):
    told = []
    made = make(tell=told.append, clock=iter(range(0, 100, 2)).__next__)
    monkeypatch.setattr(made, "_process", -1)
    made.report(0, {"loss": 1})
    assert told == []
