"""The first minutes: init, new, list, describe, and what the Tab key offers."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from click.shell_completion import ShellComplete

from lawsweep.cli.main import cli
from lawsweep.config.project.catalogue import first_sentence


def offered(*words):
    """What is offered for the last word."""
    complete = ShellComplete(cli, {}, "lawsweep", "_LAWSWEEP_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_a_new_project_runs_as_it_is_and_gives_the_exponent_of_theory(
    lawsweep, folder, monkeypatch
):
    code, out, _ = lawsweep("init", "demo")
    assert code == 0
    assert "cd demo && lawsweep run covariance" in out
    monkeypatch.chdir(folder / "demo")
    code, out, err = lawsweep("run", "covariance")
    assert (code, "50 planned: 50 ok" in out) == (0, True), err
    found = [float(x) for x in re.findall(r"distance ~ n\^(-[\d.]+)", out)]
    assert len(found) == 2
    # Five points over 1.2 decades, five seeds: sd .02 and .05 of the two exponents.
    assert all(abs(x + 0.5) < 0.2 for x in found)
    assert lawsweep("plan", "covariance", "preset=long")[0] == 0
    code, out, _ = lawsweep("list")
    assert out.index("Sweeps of this folder:") < out.index("covariance") < out.index("ntk_width")
    assert "- covariance: 50 of 50 runs" in out
    (one,) = [s for s in json.loads(lawsweep("list", "--json")[1])["sweeps"] if s["states"]]
    assert (one["name"], one["comes_with_lawsweep"], one["presets"]) == (
        "covariance",
        False,
        ["long"],
    )
    assert one["states"] == [
        {"words": ["covariance"], "done": 50, "planned": 50, "failed": 0, "problem": ""}
    ]


def test_nothing_is_written_over(lawsweep, folder):
    (folder / "demo").mkdir()
    (folder / "demo" / "mine.txt").write_text("mine")
    code, _, err = lawsweep("init", "demo")
    assert (code, "is there already" in err) == (11, True)
    assert [p.name for p in (folder / "demo").iterdir()] == ["mine.txt"]
    assert lawsweep("init", "a b")[0] == 11
    assert lawsweep("new", "mine", "--from", "smoke")[0] == 0
    before = (folder / "sweeps" / "mine.yaml").read_text()
    code, _, err = lawsweep("new", "mine", "--from", "ntk_width")
    assert (code, "is there already" in err) == (11, True)
    assert (folder / "sweeps" / "mine.yaml").read_text() == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a/b", "--from", "smoke"], 11, "is no name for a sweep"),
        (["a", "--from", "smoek"], 10, "Did you mean 'smoke'?"),
        (["a", "--experiment", "ntk_mineig"], 10, "ntk_min_eig"),
        (["a"], 11, "takes --from SWEEP or --experiment NAME"),
    ],
)
def test_a_slip_in_new_is_said(lawsweep, folder, words, code, said):
    found, _, err = lawsweep("new", *words)
    assert (found, said in err, (folder / "sweeps").exists()) == (code, True, False)


@pytest.mark.parametrize(
    "experiment", ["ntk_min_eig", "compression", "memorization", "ntk_memorization", "toys:toy"]
)
def test_a_sweep_to_fill_in_names_every_param_with_its_default(lawsweep, folder, experiment):
    assert lawsweep("new", "s", "--experiment", experiment)[0] == 0
    text = (folder / "sweeps" / "s.yaml").read_text()
    told = json.loads(lawsweep("describe", experiment, "--json")[1])
    given = yaml.safe_load(text)["params"] or {}
    # With the comments of the params taken away all are there, at their defaults.
    bare = yaml.safe_load(
        re.sub(r"(?m)^(?:  # |#   )(\w+: )", r"  \1", text).replace("params: {}", "params:")
    )
    assert set(bare["params"]) == {p["name"] for p in told["params"]}
    for p in told["params"]:
        assert (p["name"] in given) == ("default" not in p)
        assert bare["params"][p["name"]] == p.get("default")


def test_an_experiment_is_described_with_all_its_fields(lawsweep):
    code, out, _ = lawsweep("describe", "ntk_min_eig")
    assert code == 0
    assert "reference: arXiv 2205.10217" in out
    assert "n_samples: int; >= 1; must be given" in out
    assert "beta: float; > 0; default 1.0" in out
    told = json.loads(lawsweep("describe", "smoke", "--json")[1])
    assert (told["experiment"], told["sweep"]["name"]) == ("ntk_min_eig", "smoke")
    assert {"lambda_min", "certified"} <= {m["name"] for m in told["metrics"]}
    code, _, err = lawsweep("describe", "ntk_mineig")
    assert (code, "Did you mean 'ntk_min_eig'" in err) == (10, True)


def test_a_broken_file_costs_the_list_nothing(lawsweep, toy_sweep, folder):
    (folder / "sweeps" / "broken.yaml").write_text("a: [\n")
    code, out, _ = lawsweep("list")
    assert code == 0
    words = " ".join(out.split())
    assert re.search(r"broken \S+/broken.yaml line 2 is not YAML", words)
    assert "toys a sweep of toys:toy (presets: big, own)" in words


def test_each_question_that_was_asked_is_listed(lawsweep, toy_sweep):
    assert lawsweep("run", "toys")[0] == 0
    assert lawsweep("run", "toys", "preset=big")[0] == 0
    out = lawsweep("list")[1]
    assert "- toys: 8 of 8 runs" in out
    assert "- toys preset=big: 6 of 6 runs" in out


def test_a_study_of_a_function_is_listed_as_it_is_asked_for(lawsweep, folder):
    (folder / "mine.py").write_text("def square(n: int) -> float:\n    return float(n * n)\n")
    assert lawsweep("run", "mine.py:square", "n=1,2,3", "executor=serial")[0] == 0
    out = lawsweep("list")[1]
    assert "Others with results here:\n  mine.py:square params.n=1,2,3: 3 of 3 runs" in out
    (folder / "mine.py").unlink()
    (other,) = json.loads(lawsweep("list", "--json")[1])["others"]
    assert (other["done"], other["planned"]) == (None, 3)
    assert "mine.py" in other["problem"]


def test_the_first_sentence():
    assert first_sentence("Fig. 1 of it. More.") == "Fig. 1 of it"
    assert first_sentence("Why? So.") == "Why?"


def test_tab_offers_sweeps_keys_values_and_run_ids(lawsweep, toy_sweep, folder, monkeypatch):
    assert lawsweep("run", "toys")[0] == 0
    assert offered("run", "toy") == ["toys"]
    assert offered("run", "toys", "pre") == ["preset="]
    assert offered("plan", "toys", "preset=b") == ["preset=big"]
    assert offered("plan", "toys", "preset", "=", "b") == ["big"]  # as bash cuts it
    assert offered("plan", "toys", "preset", "=") == ["big", "own"]
    assert "params.n=" in offered("status", "toys", "params.")
    assert offered("run", "ntk_width", "params.activation=relu,t") == [
        "params.activation=relu,tanh"
    ]
    assert offered("run", "ntk_width", "params.bias=") == ["params.bias=true", "params.bias=false"]
    assert "executor=serial" in offered("run", "toys", "executor=")
    row = json.loads(lawsweep("sql", "select run_id from toy limit 1", "--json")[1])
    row = row["rows"] if isinstance(row, dict) else row
    run_id = row[0]["run_id"] if isinstance(row[0], dict) else row[0][0]
    assert offered("show", run_id[:6]) == [run_id]
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert offered("run", "toy") == ["toys"]
    for words in (("run", "nope", "pre"), ("show", "zz"), ("run", "toys", "params.nope=")):
        assert offered(*words) == []
