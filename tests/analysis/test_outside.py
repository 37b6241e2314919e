"""A law, a kind of figure and a sampler from another package, found by their entry points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from outside import write_package

SUPPORT = Path(__file__).parents[1] / "support"
SWEEP = """
experiment: toys:faulty
axes: {i: [1, 2, 4, 8, 16]}
seeds: 2
executor: serial
fits:
  - {law: approach, x: i, y: 3 + 5 / i**2 + 0 * y, rate: -2}
figures:
  - {kind: histogram, x: y, bins: 4}
  - {kind: curve, x: i, y: 3 + 5 / i + 0 * y, fit: {law: approach, rate: -2}}
"""
# All in one process: to start one takes longer than the verbs.
SCRIPT = """
import contextlib, io, json, sys
from lawsweep.cli.main import run_command

told = {}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = run_command(words)
    told[" ".join(words)] = [code, out.getvalue()]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def verbs(tmp_path_factory):
    """What verbs say in a folder with the package beside it: code and text."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("folder")
    write_package(
        site, "lawsweep-approach", {"approach": (SUPPORT / "approach.py").read_text()},
        {"lawsweep.laws": {"approach": "approach:Approach", "clumsy": "approach:Clumsy"},
         "lawsweep.samplers": {"enough": "enough:Enough"},
         "lawsweep.figures": {"histogram": "approach:Histogram", "broken": "approach:Approach",
                              "bare": "lawsweep.analysis.figures.base:FigureKind"}},
    )  # fmt: skip
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "mine.yaml").write_text(SWEEP)

    def run(*commands):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps([c.split() for c in commands])],
            cwd=folder, capture_output=True, text=True, check=True, timeout=300,
            env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{SUPPORT}"},
        )  # fmt: skip
        return list(json.loads(done.stdout).values())

    run.folder = folder
    return run


def test_they_are_planned_run_fitted_drawn_and_reported(verbs):
    plan, run, fit, plot, report, clumsy = verbs(
        "plan mine", "run mine --no-analysis", "fit mine --json", "plot mine", "report mine",
        "fit mine fits=[{law:clumsy,x:i,y:y}] --json",
    )  # fmt: skip
    assert [code for code, _ in (plan, run, fit, plot, report)] == [0] * 5, (plan, fit, plot)
    (none,) = json.loads(clumsy[1])
    assert none["parameters"] == {}
    assert none["reason"].startswith("law clumsy: KeyError: 'no such parameter' (")
    assert none["reason"].endswith("of package lawsweep-approach 1.0)")
    assert "fitted.py" not in none["reason"]  # the line of the package, not of ours below it
    (law,) = json.loads(fit[1])
    assert law["own"] == {"rate": -2.0}
    assert law["parameters"]["limit"]["estimate"] == pytest.approx(3, rel=1e-9)
    assert law["parameters"]["gap"]["estimate"] == pytest.approx(5, rel=1e-9)
    assert "* i^-2" in law["summary"]
    folder = verbs.folder / "results/sweeps/mine"
    assert (folder / "figures/histogram_y.png").is_file()
    assert (folder / "figures/curve_i_y.pdf").is_file()
    assert "* i^-2" in (folder / "report.html").read_text()


def test_a_sampler_is_found_too(verbs):
    ((code, told),) = verbs("plan mine search={kind:enough,n:1} --json")
    assert code == 0
    assert json.loads(told)["search"] == {"n_asked": 5, "n_expected": 5, "n_most": 10}


def test_plan_checks_what_they_are_given(verbs):
    refused = {
        "plan mine fits=[{law:approach,x:i,y:y,rate:1}]": "fits[0].rate must be a number below 0",
        "plan mine fits=[{law:approach,x:i,y:y,rte:1}]": "Unknown key 'rte' in fits[0]. Did you",
        "plan mine fits=[{law:approach,x:i,y:y,terms:[i]}]": "law approach takes no terms",
        "plan mine fits=[{law:approch,x:i,y:y}]": "Did you mean 'approach'",
        "plan mine fits=[{law:approach,x:j,y:y}]": "Unknown column 'j' in fits[0].x",
        "plan mine figures=[{kind:histogram,x:y,bin:3}]": "Did you mean 'bins'",
        "plan mine figures=[{kind:histogram,x:y,by:i}]": "kind histogram takes no by",
        "plan mine figures=[{kind:curve,x:i,y:y,fit:approch}]": "Did you mean 'approach'",
        "plan mine figures=[{kind:curve,x:i,y:y,fit:{law:approach,rate:1}}]": "fit.rate must be a",
        "plan mine figures=[{kind:curve,x:i,y:y,fit:{law:terms,terms:[i]}}]": "terms takes no x",
        "plan mine figures=[{kind:bare,x:y}]": "got one that lacks paint. Mend the package",
        "plan mine figures=[{kind:broken,x:y}]": "must be a subclass of lawsweep.analysis.figures",
    }
    for (code, told), said in zip(verbs(*refused), refused.values(), strict=True):
        assert code != 0
        assert said in told
        assert "Traceback" not in told
