"""``until`` where things go wrong: kills, failures, other launches, targets out of reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from until_toys import until_sweep

import lawsweep
from lawsweep.cli.main import run_command

SUPPORT = Path(__file__).parents[2] / "support"
AXIS = [10, 20, 40, 80, 160, 320]


def made(until, **given):
    return until_sweep(until, AXIS, **given)


def book(sweep):
    """All decisions as rows of plain values."""
    return lawsweep.open(sweep).decisions().to_dict("records")


def rows(sweep):
    frame = lawsweep.open(sweep).frame()
    return sorted(zip(frame["n"], frame["seed"], frame["y"], strict=True))


@pytest.mark.parametrize("after", [3, 24])
@pytest.mark.parametrize("until", [{"within": 0.03}, {"mean": "log(y)", "within": 0.04}])
def test_a_launch_that_is_cut_off_goes_on_to_the_same_decisions(folder, until, after):
    """Within a round, or between two: what is decided depends on the rows alone."""
    whole = made(until, results_dir="whole")
    lawsweep.run(whole)
    cut = made(until, results_dir="cut")
    launch = lawsweep.open(cut).start()
    for k, _ in enumerate(launch):
        if k == after:
            launch.cancel()
    launch.wait()
    assert len(rows(cut)) < len(rows(whole))
    lawsweep.run(cut)
    assert book(cut) == book(whole)
    assert rows(cut) == rows(whole)


@pytest.mark.slow
def test_two_launches_at_once_come_to_the_decisions_of_one(folder):
    (folder / "u.yaml").write_text(
        "experiment: until_toys:noisy\naxes: {n: [10, 20, 40, 80, 160, 320]}\nseeds: 60\n"
        "params: {pause_s: 0.01}\nuntil: {within: 0.04}\nfits: [{law: power, x: n, y: y}]\n"
        "executor: serial\nstore: {commit_every_s: 0.1}\n"
    )
    words = [sys.executable, "-m", "lawsweep.cli.main", "run", "u.yaml", "--no-analysis", "--json"]
    env = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    drivers = [
        subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [json.loads(p.communicate(timeout=200)[0]) for p in drivers]
    assert [p.returncode for p in drivers] == [0, 0]
    alone = made({"within": 0.04}, params={"pause_s": 0.01}, results_dir="alone")
    lawsweep.run(alone)
    shared = lawsweep.open("u.yaml").decisions().to_dict("records")
    assert shared == book(alone)
    assert all(t["decisions"][-1]["state"] == "resolved" for t in told)


@pytest.mark.parametrize("until", [{"within": 0.06}, {"mean": "log(y)", "within": 0.05}])
def test_failed_seeds_that_are_tried_again_count_and_nothing_is_left_to_run(folder, until):
    (folder / "broken").touch()  # every other seed fails
    sweep = made(until)
    first = lawsweep.run(sweep)
    assert first.statuses["failed"]
    assert {d["state"] for d in book(sweep)} <= {"open", "resolved"}
    (folder / "broken").unlink()
    again = lawsweep.open(sweep).run(retry=True)
    assert again.statuses["ok"] >= first.statuses["failed"]
    frame = lawsweep.open(sweep).frame()
    assert set(frame["status"]) == {"ok"}
    ends = [d for d in book(sweep) if d["action"] == "stop"]
    assert {d["state"] for d in ends} == {"resolved"}
    # The book is now of seeds that all have values: as if none had failed.
    clean = made(until, results_dir="clean")
    lawsweep.run(clean)
    assert book(sweep) == book(clean)
    assert sum(lawsweep.run(sweep).statuses.values()) == 0


def test_seeds_that_lack_a_value_of_x_are_made_up_for(folder):
    sweep = made({"within": 0.08}, params={"p_fail": 0.35})
    report = lawsweep.run(sweep)
    assert report.statuses["oom"]
    last = book(sweep)[-1]
    assert last["state"] == "resolved"
    seeds = lawsweep.open(sweep).frame()["seed"].nunique()
    assert 6 <= last["n_seeds"] < seeds


def test_a_fit_whose_target_is_out_of_reach_takes_all_seeds_and_says_so(folder):
    sweep = made({"within": 1e-4}, seeds=12)
    lawsweep.run(sweep)
    last = book(sweep)[-1]
    assert last["state"] == "spent"
    assert "no seed is left of 12: half width " in last["reason"]
    assert len(set(lawsweep.open(sweep).frame()["seed"])) == 12


def test_a_budget_below_the_first_look_runs_nothing_and_says_so(folder):
    sweep = made({"within": 0.05, "budget": "10 s", "gflops": 0.01})
    report = lawsweep.run(sweep)
    assert sum(report.statuses.values()) == 0
    (only,) = book(sweep)
    assert only["state"] == "budget"
    assert "and 10 s of the budget are left (a coarse look at 5 values of x)" in only["reason"]


def test_the_fit_quotes_the_interval_that_was_stopped_by(folder):
    sweep = made({"within": 0.03})
    lawsweep.run(sweep)
    last = book(sweep)[-1]
    (found,) = lawsweep.open(sweep).fit()
    p = found["exponent"]
    # The same sums in another order of rows.
    assert (p.low, p.high) == pytest.approx((last["low"], last["high"]), rel=1e-12)
    assert (p.low, p.high) == p.seeds
    assert "interval from the laws of" in found.summary()
    wider = made({"within": 0.03, "interval": "wider"}, results_dir="wider")
    lawsweep.run(wider)
    assert len(rows(wider)) > len(rows(sweep))


def test_the_exponent_does_not_depend_on_how_rows_are_read(folder):
    """The sampler fits answers; the frame, the same rows from the table."""
    sweep = made({"within": 0.08, "parameter": "C", "relative": True, "fit": "power_y"})
    lawsweep.run(sweep)
    last, (found,) = book(sweep)[-1], lawsweep.open(sweep).fit()
    assert found["C"].estimate == pytest.approx(last["estimate"], rel=1e-12)


def test_status_and_the_page_list_the_decisions(folder, capsys):
    (folder / "u.yaml").write_text(
        "experiment: until_toys:noisy\naxes: {n: [10, 20, 40, 80, 160]}\nseeds: 40\n"
        "until: {within: 0.06}\nfits: [{law: power, x: n, y: y}]\nexecutor: serial\n"
    )
    assert run_command(["run", "u.yaml"]) == 0
    capsys.readouterr()
    assert run_command(["status", "u.yaml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["decisions"]
    study = lawsweep.open("u.yaml")
    assert [d["reason"] for d in told] == study.decisions()["reason"].tolist()
    assert run_command(["status", "u.yaml"]) == 0
    assert "\n  exponent of power_y = 1." in capsys.readouterr().out
    page = study.report().read_text()
    assert 'id="decisions"' in page
    assert "5 values of x" in page
    assert f"{len(told)} decisions; " in page
    plain = made(None, axes={"n": [10]}, seeds=1, fits=(), name="plain")
    lawsweep.run(plain)
    assert 'id="decisions"' not in lawsweep.open(plain).report().read_text()


def test_a_misspelt_interval_is_refused_with_the_nearest(folder):
    for until, says in [
        ({"within": 0.1, "interval": "seed"}, "until.interval"),
        ({"within": 0.1, "intervall": "seeds"}, "Did you mean 'interval'"),
        ({"mean": "y", "within": 0.1, "interval": "seeds"}, "interval"),
    ]:
        with pytest.raises(lawsweep.LawsweepError, match=says):
            lawsweep.open(made(until))
    offset = {"law": "power_offset", "x": "n", "y": "y"}
    with pytest.raises(lawsweep.LawsweepError, match="of a law that is straight, and power_offset"):
        lawsweep.open(made({"within": 0.1, "interval": "seeds"}, fits=(offset,)))


def test_few_seeds_of_skewed_values_are_confirmed_by_more(folder):
    sweep = made({"mean": "y", "within": 0.3, "relative": True}, params={"own": 1.0}, seeds=400)
    lawsweep.run(sweep)
    asked = [d for d in book(sweep) if d["action"] == "confirm"]
    assert max(d["n_runs"] for d in asked) > 1
    assert all(d["half_width"] <= d["target"] for d in asked)
    values = lawsweep.open(sweep).frame().query("n == 10")["y"].to_numpy(dtype=float)
    last = next(d for d in reversed(book(sweep)) if d["setting"] == "n=10")
    student = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values))
    assert last["half_width"] > student  # wider than Student's
