"""Replays on what rounds otherwise: what is compared, and what rounding explains."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.core.randomness.nudges import nudged
from lawsweep.tools.replay import replay_row

LOGISTIC = """
from toys import *

@dataclass(frozen=True, kw_only=True)
class Found:
    start: float
    path: Annotated[tuple[float, ...], Field("x", chaotic=True, steps=(1, 10, 30, 100))]
    end: Annotated[float, Field("x after n steps", chaotic=True)]
    high: Annotated[bool, Field("whether it ended above 1/2", chaotic=True)]

@experiment(version=1)
def logistic(params: Params, seed: int) -> Found:
    start = x = float(stream(seed, "start").random())
    path = []
    for step in range(1, params.n + 1):
        x = 4.0 * x * (1.0 - x)
        if step in (1, 10, 30, 100):
            path.append(x)
    return Found(start=start, path=tuple(path), end=x, high=x > 0.5)
"""


def logistic(module, n, seed=0, text=LOGISTIC):
    """A row of ``n`` steps of a chaotic map, as a machine that rounds otherwise would leave it."""
    find = module("logistic", text)
    sweep = Sweep(name="l", experiment=find("logistic"), axes={"n": [n]}, seeds=[seed],
                  executor={"kind": "serial"})  # fmt: skip
    with nudged(2.0**-52, 99):
        lawsweep.run(sweep)
    row = lawsweep.show(lawsweep.load(sweep)["run_id"].iloc[0])
    row["n_threads"] += 1
    return find("logistic"), row


def test_a_chaotic_row_is_compared_as_far_as_it_goes(module, folder):
    found, row = logistic(module, 100)
    done = replay_row(row, "results", experiment=found)
    assert done.reproduced
    assert not done.exact
    assert {a.name for a in done.amplified} >= {"path", "end"}
    # Rounding doubles in a step: 2^-52 is 1e-13 after 10 steps, 2e-7 after 30, all after 52.
    assert done.chaotic_from == 30
    assert "start" in done.compared
    assert not {"path", "end"} & set(done.compared)
    (end,) = [a for a in done.amplified if a.name == "end"]
    assert end.moved > 1e-3


def test_a_jump_that_few_nudges_make_is_chaotic_where_the_run_is(module, folder):
    # With seed 28 the row ended above 1/2; none of the first nudges does, and later ones do.
    many = LOGISTIC.replace(".random())", ".random(8).cumsum()[-1]) / 8")
    found, row = logistic(module, 100, seed=28, text=many)
    done = replay_row(row, "results", experiment=found)
    assert row["high"]
    assert done.reproduced
    assert "high" in {a.name for a in done.amplified}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"start": 0.3}, {"start"}),
        ({"path": (0.25, 0.5, 0.75, 0.5)}, {"path"}),  # another one from the first step on
        ({"path": ()}, {"path"}),
    ],
)
def test_a_chaotic_row_that_is_wrong_from_the_start_is_found(module, folder, change, names):
    found, row = logistic(module, 100)
    done = replay_row({**row, **change}, "results", experiment=found)
    assert {d.name for d in done.differences} == names


def test_a_row_too_short_for_chaos_must_agree(module, folder):
    found, row = logistic(module, 10)
    assert replay_row(row, "results", experiment=found).amplified == ()
    done = replay_row({**row, "end": row["end"] * (1 + 1e-6)}, "results", experiment=found)
    assert [d.name for d in done.differences] == ["end"]
    assert not done.amplified


def test_what_changes_each_time_is_not_laid_to_rounding(module, folder):
    text = LOGISTIC.replace(
        "start = x =", "import secrets; start = x = secrets.randbelow(2**30) / 2**30 + 0 *"
    )
    find = module("logistic", text)
    sweep = Sweep(name="l", experiment=find("logistic"), axes={"n": [100]},
                  executor={"kind": "serial"})  # fmt: skip
    lawsweep.run(sweep)
    row = lawsweep.show(lawsweep.load(sweep)["run_id"].iloc[0])
    row["n_threads"] += 1
    done = replay_row(row, "results", experiment=find("logistic"))
    assert {"start", "end"} <= {d.name for d in done.differences}
    assert "gives other values each time" in done.notes[-1]


def test_a_metric_that_newer_code_added_is_not_held_against_an_old_row(toys):
    row = lawsweep.show(lawsweep.load(toys)["run_id"].iloc[0])
    row["y"] = None
    assert [d.name for d in replay_row(row, "results").differences] == ["y"]
    row["launch"]["git"] = {"commit": "0123abc", "dirty": False}
    done = replay_row(row, "results")
    assert done.reproduced
    assert "null in the row, perhaps newer than it, so not compared: y" in done.notes


def test_float32_rows_are_held_to_float32s_digits(module, folder):
    text = LOGISTIC.replace("from toys import *", "from toys import *\n\n@dataclass(frozen=True, "
                            "kw_only=True)\nclass Params:\n    n: int\n    dtype: str")  # fmt: skip
    find = module("logistic", text)
    for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-9)):
        sweep = Sweep(name="l", experiment=find("logistic"), axes={"n": [1], "dtype": [dtype]},
                      executor={"kind": "serial"})  # fmt: skip
        lawsweep.run(sweep)
        row = lawsweep.show(lawsweep.load(sweep)["run_id"].iloc[0])
        row |= {"n_threads": row["n_threads"] + 1, "start": row["start"] * (1 + 1e-5)}
        done = replay_row(row, "results", experiment=find("logistic"))
        assert done.tolerance == tolerance
        assert done.reproduced is (dtype == "float32")


SETTINGS = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE")
LONG = """
experiment: memorization
params: {n_samples: 150, input_dim: 16, width: 16, learning_rate: 0.05, max_steps: 1000,
         stop_rule: none}
seeds: [1, 2]
executor: serial
"""


@pytest.mark.slow
def test_memorization_made_under_other_instructions_reproduces(folder):
    (folder / "sweeps").mkdir()
    (folder / "sweeps/long.yaml").write_text(LONG)
    plain = {k: v for k, v in os.environ.items() if k not in SETTINGS} | {"OMP_NUM_THREADS": "1"}

    done = subprocess.run(
        [sys.executable, "-m", "lawsweep.cli.main", "run", "long"], cwd=folder, check=False,
        env={**plain, "MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"},
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [lawsweep.show(i) for i in lawsweep.load(lawsweep.load_sweep("long"))["run_id"]]
    replays = [replay_row(row, "results") for row in rows]
    assert not any(r.differences for r in replays), replays
    for replay in replays:
        if replay.exact:  # this processor has one way to round
            continue
        assert any("MKL_CBWR=COMPATIBLE" in why for why in replay.circumstances)
        assert {"initial_loss", "n_params"} <= set(replay.compared)
        # Seen, on an Intel Xeon: from steps 300 and 100, and then no digit of a loss of 1e-14.
        assert replay.chaotic_from is None or 30 <= replay.chaotic_from <= 1000
        assert not {"initial_loss", "n_params"} & {a.name for a in replay.amplified}
        assert all(a.moved is None or a.moved > 1e-10 for a in replay.amplified)
    if not all(r.exact for r in replays):
        assert any(r.amplified for r in replays)

    # A row that trained otherwise (it has another seed's losses) is found all the same.
    wrong, right = rows
    names = ("initial_loss", "early_losses", "final_loss")
    done = replay_row({**wrong, **{n: right[n] for n in names}}, "results")
    assert {"initial_loss", "early_losses"} <= {d.name for d in done.differences}
