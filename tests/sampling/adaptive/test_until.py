"""A sweep with an until block, run for real: targets, failures, budgets, resuming."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from until_toys import until_sweep

import lawsweep
from lawsweep.cli.main import run_command
from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.core.outcome import Outcome
from lawsweep.sampling.samplers import choose

AXIS = [10, 20, 40, 80, 160, 320, 640]
FIT = ({"law": "power", "x": "n", "y": "y"},)


def made(until, **given):
    return until_sweep(until, AXIS, **given)


def told(sweep):
    """Settings with their last state, and all decisions."""
    found = lawsweep.open(sweep).decisions()
    return dict(zip(found["setting"], found["state"], strict=True)), found


def test_a_mean_is_sampled_until_it_is_known(folder):
    sweep = made({"mean": "log(y)", "within": 0.1}, axes={"n": [10, 20]}, params={"own": 0.2})
    report = lawsweep.run(sweep)
    states, decided = told(sweep)
    assert states == {"n=10": "resolved", "n=20": "resolved"}
    frame = lawsweep.open(sweep).frame()
    assert len(frame) == report.statuses["ok"] < 120
    for n, rows in frame.groupby("n"):
        values = np.log(rows["y"].to_numpy(dtype=float))
        assert values.std(ddof=1) / math.sqrt(len(values)) * 1.96 < 0.1
        # 4.5 standard errors: what is true is near
        assert abs(values.mean() - 1.5 * math.log(n)) < 4.5 * 0.2 / math.sqrt(len(values))
    assert decided["reason"].str.len().min() > 5
    assert (sweep.folder / "decisions.parquet").exists()


def test_a_quantile_is_sampled_until_it_is_known(folder):
    sweep = made({"quantile": "y", "q": 0.3, "within": 0.4, "relative": True}, axes={"n": [10]})
    lawsweep.run(sweep)
    _, decided = told(sweep)
    assert decided["state"].iloc[-1] == "resolved"
    assert decided["low"].iloc[-1] < decided["estimate"].iloc[-1] < decided["high"].iloc[-1]


def test_an_exponent_is_known_by_whole_seeds_over_few_values(folder):
    sweep = made({"within": 0.05})
    lawsweep.run(sweep)
    states, _ = told(sweep)
    assert states == {"": "resolved"}
    study = lawsweep.open(sweep)
    frame, (found,) = study.frame(), study.fit()
    exponent = found["exponent"]
    assert (exponent.high - exponent.low) / 2 <= 0.05
    assert abs(exponent.estimate - 1.5) < 0.1
    values = sorted(set(frame["n"]))
    assert len(values) >= 5
    assert {values[0], values[-1]} == {10, 640}
    per_value = {tuple(sorted(rows["seed"])) for _, rows in frame.groupby("n")}
    assert len(per_value) == 1  # whole seeds
    assert len(frame) < 7 * 60


def test_where_the_law_does_not_hold_more_seeds_are_not_asked_for(folder):
    sweep = made({"within": 0.02}, params={"bend": 0.15, "own": 0.03})
    lawsweep.run(sweep)
    states, decided = told(sweep)
    assert states == {"": "bound"}
    assert "more seeds do not narrow it" in decided["reason"].iloc[-1]
    assert decided["n_seeds"].iloc[-1] < 60


def test_a_value_of_x_that_cannot_be_run_is_dropped_and_another_comes_in(folder):
    sweep = made({"within": 0.06}, params={"too_large": 600.0})
    lawsweep.run(sweep)
    states, decided = told(sweep)
    assert states == {"": "resolved"}
    statuses = lawsweep.open(sweep).frame().groupby("n")["status"].apply(lambda s: set(s))
    assert statuses[640] == {"oom"}
    assert sum(s == {"ok"} for s in statuses) >= 5
    assert (lawsweep.open(sweep).frame()["n"] == 640).sum() == 2
    assert decided["reason"].str.contains("640").any()


def test_points_that_never_answer_fail_after_two_seeds(folder):
    sweep = made({"mean": "bad", "within": 0.1}, axes={"n": [10, 20]})
    report = lawsweep.run(sweep)
    assert report.statuses["ok"] == 4
    states, decided = told(sweep)
    assert set(states.values()) == {"failed"}
    assert "no value" in decided["reason"].iloc[-1]


def test_values_without_scatter_are_called_so(folder):
    sweep = made({"mean": "one", "within": 1e-3}, axes={"n": [10]})
    lawsweep.run(sweep)
    assert told(sweep)[0] == {"": "alike"}


def test_when_no_seed_is_left_it_says_so(folder):
    sweep = made({"mean": "y", "within": 1e-6}, axes={"n": [10]}, seeds=12)
    lawsweep.run(sweep)
    states, decided = told(sweep)
    assert states == {"": "spent"}
    assert "no seed is left of 12" in decided["reason"].iloc[-1]


def test_failed_seeds_are_replaced(folder):
    (folder / "broken").touch()
    sweep = made({"mean": "log(y)", "within": 0.2}, axes={"n": [10]}, params={"own": 0.05})
    lawsweep.run(sweep)
    states, decided = told(sweep)
    assert states == {"": "resolved"}
    assert decided["n_seeds"].iloc[-1] >= 6


def test_a_budget_of_predicted_seconds_is_kept(folder):
    sweep = made({"within": 1e-4, "budget": "3 s"})
    lawsweep.run(sweep)
    states, decided = told(sweep)
    assert states == {"": "budget"}
    # 2 ms a run, and 4e7 n operations at 40e9 a second
    n = lawsweep.open(sweep).frame()["n"].to_numpy(dtype=float)
    assert np.sum(2e-3 + 1e-3 * n) == pytest.approx(decided["predicted_s"].sum())
    assert decided["predicted_s"].sum() <= 3.0
    assert "of the budget" in decided["reason"].iloc[-1]
    assert len(set(n)) >= 5


def outcomes(sweep):
    """Answers by run, of a run over all that was asked for."""
    study = lawsweep.open(sweep)
    place = {r: i for i, r in enumerate(study.plan.run_ids)}
    rows = study.frame().to_dict("records")
    return study.plan, {place[r["run_id"]]: (r["status"], {"y": r["y"]}) for r in rows}


@pytest.mark.parametrize("until", [{"within": 0.06}, {"within": 0.01, "budget": 2.0}])
def test_decisions_are_a_function_of_the_rows_whatever_their_order(folder, until):
    sweep = made(until, fits=({**FIT[0], "by": "slope"},), axes={"n": AXIS, "slope": [0.0, 0.05]})
    lawsweep.run(sweep)
    plan, answers = outcomes(sweep)
    chosen = choose(sweep)
    wanted = [list(d.values()) for d in _plain(chosen.open(plan, answers))]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        # A kill after any number of rows, then one row after the other in any order.
        n_known = int(rng.integers(len(answers)))
        known = {r: answers[r] for r in rng.permutation(sorted(answers))[:n_known].tolist()}
        sampler = chosen.open(plan, known)
        while waiting := sampler.wanted():
            run = int(rng.choice(waiting))
            sampler.tell(Outcome(run, *answers[run]))
        assert [list(d.values()) for d in _plain(sampler)] == wanted


def _plain(sampler):
    columns = sampler.decisions().columns
    values = [c.values for c in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def test_a_tighter_target_goes_on_from_the_rows_that_are_there(folder):
    lawsweep.run(made({"within": 0.08}))
    finer = made({"within": 0.05}, name="finer")
    report = lawsweep.run(finer)
    assert report.statuses["ok"] < len(lawsweep.open(finer).frame())


def test_plan_says_what_it_expects_and_run_what_it_decided(folder, capsys):
    (folder / "u.yaml").write_text(
        "experiment: until_toys:noisy\naxes: {n: [10, 20, 40, 80, 160, 320]}\nseeds: 40\n"
        "fits: [{law: power, x: n, y: y}]\nexecutor: serial\n"
    )
    words = ["u.yaml", "until={fit: power_y, within: 0.06}"]
    assert run_command(["plan", *words]) == 0
    said = capsys.readouterr().out
    assert "until the exponent of power_y is known to ± 0.06" in said
    assert "predicted s" in said
    assert run_command(["run", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decisions"][-1]["state"] == "resolved"
    assert run_command(["run", "u.yaml", "until.within=0.06", "until.parameter=C"]) == 0
    capsys.readouterr()
    assert run_command(["status", *words]) == 0
    assert "1 resolved" in capsys.readouterr().out
    assert run_command(["plan", *words, "params.n=10"]) == 0
    assert "until is left out, and the whole grid is meant" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("until", "says"),
    [
        ({"maen": "y", "within": 0.1}, "Did you mean 'mean'"),
        ({"mean": "yy", "within": 0.1}, "yy"),
        ({"mean": "n", "within": 0.1}, "must say something of a metric"),
        ({"mean": "y"}, "needs within"),
        ({"mean": "y", "within": 0}, "until.within must be a number above 0"),
        ({"mean": "y", "median": "y", "within": 0.1}, "one of mean, median, quantile"),
        ({"quantile": "y", "within": 0.1}, "until.q says which quantile"),
        ({"mean": "y", "q": 0.5, "within": 0.1}, "until.q says which quantile"),
        ({"fit": "power_z", "within": 0.1}, "power_y"),
        ({"fit": "power_y", "parameter": "exponant", "within": 0.1}, "exponent"),
        ({"within": 0.1, "budget": "3 weeks"}, "until.budget must be seconds"),
        ({"within": 0.1, "budget": 0}, "until.budget must be"),
        ({"within": 0.1, "first": 8, "most": 4}, "until.most must be until.first"),
        ({"mean": "y", "within": 0.1, "keep": 5}, "keep"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_runs(folder, until, says):
    with pytest.raises(LawsweepError, match=says):
        lawsweep.open(made(until))


def test_what_does_not_fit_the_sweep_is_refused(folder):
    good = made({"within": 0.1})
    for change, says in [
        ({"axes": {"n": [10, 20]}}, "3 values of x"),
        ({"seeds": 2}, "Give seeds"),
        ({"fits": ()}, "needs fit"),
        ({"fits": ({**FIT[0], "where": "y > 1"},)}, "must be known before a run"),
        ({"search": {"axis": "n", "event": "y > 3"}}, "search or until"),
        ({"until": "mean"}, "until of sweep u must be a mapping"),
    ]:
        with pytest.raises(InvalidValueError, match=says):
            lawsweep.open(dataclasses.replace(good, **change))
