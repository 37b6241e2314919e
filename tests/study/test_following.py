"""What to run next: right for what is missing, what failed, what bends and what seeds decide."""

from __future__ import annotations

import math
import shlex

import pytest
from scipy.stats import t
from toys import toy

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import LawsweepError
from lawsweep.study.progress import status
from lawsweep.study.reading.gathering import following
from lawsweep.study.reading.reporting import gather

TEXT = """
import math
from dataclasses import dataclass
from pathlib import Path
from lawsweep import experiment, stream

@dataclass(frozen=True, kw_only=True)
class Params:
    n: int
    bend: bool = False

@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float

@experiment(version=1)
def curve(params: Params, seed: int) -> Metrics:
    \"\"\"n^(1 + 0.1 z) of each seed's own z, or n + n^3/1e4, which bends.\"\"\"
    if params.n == 80 and Path("broken").exists():
        raise ValueError("broken on purpose")
    noise = stream(seed, "noise").standard_normal(1 + params.n)
    slope, factor = 1 + 0.1 * float(noise[0]), math.exp(1e-3 * float(noise[-1]))
    law = params.n + params.n**3 / 1e4 if params.bend else params.n**slope
    return Metrics(y=law * factor)
"""


@pytest.fixture
def curves(folder, module):
    """A sweep of them, by what is changed of it."""
    found = module("curves_next", TEXT)("curve")

    def make(**changes):
        given = {
            "name": "curves", "experiment": found, "axes": {"n": [10, 20, 40, 80, 160]},
            "seeds": 3, "executor": {"kind": "serial"}, "results_dir": str(folder / "results"),
            "fits": ({"law": "power", "x": "n", "y": "y"},),
        }  # fmt: skip
        return Sweep(**{**given, **changes})

    return make


def said(sweep, typed="curves"):
    study = lawsweep.open(sweep)
    try:
        fits = study.fit()
    except LawsweepError:
        fits = []
    return list(following(study, typed, status(study), fits))


def test_what_is_missing_comes_first_and_alone(curves):
    lawsweep.run(curves(axes={"n": [10, 20, 40]}))
    assert said(curves()) == [("6 planned runs have no row.", "lawsweep run curves")]


def test_what_failed_is_to_be_looked_at_and_tried_again(curves, folder):
    (folder / "broken").touch()
    lawsweep.run(curves())
    ((why, command),) = said(curves())
    assert why.startswith("3 runs failed; look at why first")
    assert command == "lawsweep rerun curves --failed"


def test_missing_and_failed_are_both_said(curves, folder):
    (folder / "broken").touch()
    lawsweep.run(curves(axes={"n": [10, 20, 40, 80]}))
    assert [what for _, what in said(curves())] == [
        "lawsweep run curves", "lawsweep rerun curves --failed",
    ]  # fmt: skip


@pytest.mark.parametrize("seeds", [2, 3, 12])
def test_more_seeds_are_said_to_narrow_an_interval_as_much_as_students_t_does(curves, seeds):
    lawsweep.run(curves(seeds=seeds))
    ((why, command),) = said(curves(seeds=seeds), f"curves seeds={seeds}")
    assert command == f"lawsweep run curves seeds={4 * seeds}"
    half = [t.ppf(0.975, n - 1) / math.sqrt(n) for n in (seeds, 4 * seeds)]
    assert f"make it {half[0] / half[1]:.2g} times narrower" in why
    assert f"comes from {seeds} seeds" in why


def test_seeds_that_are_there_are_among_those_asked_for(curves):
    """Eight seeds from 0 on would leave what seeds 10 and 11 cost behind."""
    lawsweep.run(curves(seeds=[10, 11]))
    for typed in ("curves seeds=[10,11]", "'a b/curves.yaml' 'seeds=[10,11]' 'params.x=\"a  b\"'"):
        ((_, command),) = said(curves(seeds=[10, 11]), typed)
        words = shlex.split(command)
        assert words[-1] == "seeds=[10,11,0,1,2,3,4,5]"
        assert words[2:-1] == [w for w in shlex.split(typed) if w != "seeds=[10,11]"]


def test_a_bend_asks_for_a_wider_range_and_not_for_seeds(curves):
    sweep = curves(params={"bend": True})
    lawsweep.run(sweep)
    ((why, command),) = said(sweep)
    assert "wider range of n" in why
    assert command == "lawsweep plan curves params.n=10,20,40,80,160,320,640"


def test_one_seed_asks_for_eight(curves):
    sweep = curves(seeds=1, axes={"n": [10, 20, 40]})  # three points tell of no bend
    lawsweep.run(sweep)
    ((why, command),) = said(sweep)
    assert why.startswith("One seed does not tell")
    assert command == "lawsweep run curves seeds=8"


def test_without_fits_a_complete_sweep_asks_for_nothing(folder):
    sweep = Sweep(name="s", experiment=toy, axes={"n": [1, 2]}, seeds=1,
                  executor={"kind": "serial"}, results_dir=str(folder / "results"))  # fmt: skip
    lawsweep.run(sweep)
    assert said(sweep) == []


def test_the_page_has_it(curves):
    lawsweep.run(curves(axes={"n": [10, 20, 40]}))
    opened = lawsweep.open(curves())
    made = gather(opened, None, opened.frame(), [])
    assert [what for _, what in made.following] == ["lawsweep run curves"]
