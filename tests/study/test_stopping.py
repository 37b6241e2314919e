"""Runs that are stopped early, from the sweep file to their rows; serial and in processes."""

from __future__ import annotations

import pytest

import lawsweep
from lawsweep.core.during import curve as curves
from lawsweep.core.errors import InvalidValueError

TRAIN = """
    import time
    import lawsweep

    def train(rank: int, slow: float = 0.0):
        steps = 0
        try:
            for step in range(3000 if slow else 20):
                lawsweep.report(step, loss=float(rank))
                steps = step
                time.sleep(slow)
        except Exception:
            raise AssertionError("what stops a run is no Exception")
        return {"steps": steps}
"""


@pytest.fixture
def opened(module):
    module("ranked", TRAIN)

    def make(executor="serial", **given):
        block = {"rule": "median", "metric": "loss", "grace": 3, "min_runs": 2}
        return lawsweep.open(
            lawsweep.Sweep(
                **{
                    "name": "ranked",
                    "experiment": "ranked.py:train",
                    "axes": {"rank": [1, 2, 3, 4]},
                    "executor": {"kind": executor, "n_workers": 1}
                    if executor == "processes"
                    else {"kind": executor},
                    "stop_runs": block,
                    **given,
                }
            )
        )

    return make


def test_a_stopped_run_has_a_row_that_says_so_and_keeps_its_curve(opened, monkeypatch):
    monkeypatch.setattr(curves, "TELL_S", 0.0)
    study = opened()
    report = study.run()
    stopped = report.statuses["stopped"]
    assert report.statuses["ok"] + stopped == 4
    assert stopped >= 1
    rows = {r["rank"]: r for r in study.rows().to_pylist()}
    bad = [r for r in rows.values() if r["status"] == "stopped"]
    assert all("(stop_runs): its best loss" in r["error"] for r in bad)
    assert all("is worse than the median" in r["error"] for r in bad)
    steps = study.curves().groupby("run_id")["step"].max()
    # Decided at step 3, which is kept when step 4 comes.
    assert {int(steps[r["run_id"]]) for r in bad} == {4}
    assert f"{4 - stopped} ok, {stopped} stopped" in repr(study._shown()) + str(study.status())
    with pytest.raises(InvalidValueError, match=r"was stopped early, and has no answer to repro"):
        lawsweep.replay(bad[0]["run_id"])
    again = opened(axes={"rank": [1, 2, 3, 4, 9]})  # the table tells the rule
    assert dict(again.run().statuses) == {"stopped": 1}
    assert dict(again.run(retry=True).statuses) == {}  # it is an answer, not a failure
    assert dict(opened(stop_runs=None).rerun(status="stopped").statuses) == {"ok": stopped}


def test_a_metric_that_no_run_reports_is_told_of(opened):
    study = opened(stop_runs={"metric": "los"}, axes={"rank": [1, 2]})
    assert study.run().notes == (
        "stop_runs cannot stop any run: none reported 'los', but loss; did you mean 'loss'?",
    )
    assert study.run().notes == ()  # nothing ran
    assert opened(axes={"rank": [3]}).run().notes == ()


def test_a_worker_is_told_in_the_middle_of_a_run(opened):
    """The second run takes a minute, unless it is stopped."""
    block = {"metric": "loss", "grace": 3, "min_runs": 1}
    assert dict(opened(axes={"rank": [1]}).run().statuses) == {"ok": 1}
    both = {"zip": {"rank": [1, 9], "slow": [0.0, 0.02]}}
    study = opened("processes", axes=both, stop_runs=block)
    assert dict(study.run().statuses) == {"stopped": 1}
    (row,) = (r for r in study.rows().to_pylist() if r["status"] == "stopped")
    assert row["error"] == (
        "stopped at step 3 (stop_runs): its best loss, 9, is worse than the median 1 of 1 "
        "that ended"
    )
    assert row["traceback"] is None


def test_what_cannot_be_stopped_is_told_while_planning(opened):
    for given, says in [
        ({"until": {"half_width": 0.1}}, "both stop_runs and until"),
        ({"experiment": None, "axes": {"n": [1]}, "command": "echo {n}"}, "a command is not told"),
        ({"stop_runs": {"metric": "loss", "mod": "min"}}, "Did you mean 'mode'"),
        ({"stop_runs": {"metric": "loss", "factor": 2}}, "factor is a setting of the rule halving"),
        ({"stop_runs": {"metric": "loss", "rule": "halving", "min_runs": 2}}, "say rule: median"),
        ({"stop_runs": [1]}, "stop_runs of sweep ranked must be a mapping"),
    ]:
        with pytest.raises(lawsweep.LawsweepError, match=says):
            opened(**given)
    fused = {"experiment": "ntk_min_eig", "params": {"n_samples": 9, "input_dim": 3, "depth": 2}}
    fused["params"]["activation"] = "tanh"
    with pytest.raises(InvalidValueError, match=r"many at once\. Set executor\.fuse=false"):
        opened(**fused, axes={"width": [5]})
