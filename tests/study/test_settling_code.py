"""Rows of other code: the difference is shown, declared none, or the rows are made again."""

from __future__ import annotations

import functools
import importlib
import json
import sys
import threading
import warnings
from pathlib import Path

import pytest

import lawsweep
from lawsweep.cli.main import run_command
from lawsweep.core import registry
from lawsweep.core.errors import InvalidValueError
from lawsweep.store.sweeps.accepted import Acceptance, Accepted, read_accepted, write_accepted
from lawsweep.store.sweeps.skipping import OtherCodeWarning
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.study.code.lacking import code_notes
from lawsweep.study.code.rows import code_of_rows, other_rows
from lawsweep.tools.keeping import verify

CODE = """
from dataclasses import dataclass
from lawsweep import experiment
import part

@dataclass(frozen=True, kw_only=True)
class Params:
    n: int
    scale: float = 1.0

@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float

@experiment(version=1)
def made(params: Params, seed: int) -> Metrics:
    if params.n in part.FAILING:
        raise ValueError("no")
    return Metrics(y=FACTOR * params.n + part.SHIFT)
"""
PART = "SHIFT = 0.5\nFAILING = ()\n"
SWEEP = """
experiment: made:made
axes: {n: [3, 4, 5]}
seeds: 2
executor: {kind: serial}
fits: [{law: power, x: n, y: y}]
presets:
  few: {seeds: 1}
"""


@pytest.fixture
def write(folder, monkeypatch):
    """Write the modules, as after an edit and a fresh start of Python; by default as they were."""
    monkeypatch.syspath_prepend(str(folder))
    (folder / "sweeps").mkdir()
    (folder / "sweeps/own.yaml").write_text(SWEEP)

    def edit(factor=2, part=PART, code=CODE):
        (folder / "made.py").write_text(code.replace("FACTOR", str(factor)))
        (folder / "part.py").write_text(part)
        for name in ("made", "part"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()

    edit()
    yield edit
    for name in ("made", "part"):
        sys.modules.pop(name, None)


@pytest.fixture
def said(capsys):
    """What a command prints: exit code, stdout, stderr."""

    def run(*words):
        code = run_command(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@functools.cache
def read(folder, *overrides):
    return lawsweep.load_sweep("own", *overrides)


def own(*overrides):
    """The sweep, opened anew; its file is read once."""
    return lawsweep.open(read(Path.cwd(), *overrides))


def quiet(call, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OtherCodeWarning)
        return call(*args, **options)


def values():
    rows = quiet(own().frame)
    return sorted(set(zip(rows["n"].tolist(), rows["y"].tolist(), strict=True)))


OLD = [(3, 6.5), (4, 8.5), (5, 10.5)]
NEW = [(3, 9.5), (4, 12.5), (5, 15.5)]


def test_every_verb_says_it_and_the_diff_is_shown(write, said):
    own().run()
    write(factor=3, part=PART.replace("0.5", "0.25"))
    words = "6 of 6 rows were made by other code of made than today's (changed since: made.py, part"
    hint = (
        "`lawsweep diff own` shows what changed, `lawsweep run own --accept` declares it the same"
    )
    for verb in ("plan", "status", "run", "fit", "report", "verify"):
        code, out, err = said(verb, "own")
        assert code == 0
        assert words in out + err, verb
        assert hint in out + err, verb
    assert words in said("describe", "own")[1]
    assert json.loads(said("status", "own", "--json")[1])["notes"]
    code, out, _ = said("diff", "own")
    assert code == 0
    assert "6 rows by code " in out
    assert "--- made.py  (code " in out
    assert "-    return Metrics(y=2 * params.n + part.SHIFT)" in out
    assert "+    return Metrics(y=3 * params.n + part.SHIFT)" in out
    assert "-SHIFT = 0.5\n+SHIFT = 0.25" in out
    (found,) = json.loads(said("diff", "own", "--json")[1])["codes"]
    assert (found["rows"], found["files"], found["missing"]) == (6, ["made.py", "part.py"], None)
    kept = SweepFolder("results/sweeps/own").launches
    kept.delete(f"code-{found['digest']}.zip")
    code, out, _ = said("verify", "own")
    assert code == 6
    assert f"problem  code      6 rows were made by code {found['digest'][:8]}: its source" in out
    assert "no diff of it: its source is not kept: code-" in str(own().diff())
    kept.write(f"code-{found['digest']}.zip", b"torn")
    assert "cannot be read from" in str(own().diff())
    write()
    assert str(own().diff()) == "6 rows were made by today's code of made"


def test_a_module_that_went_or_came_is_shown_whole(write, folder):
    own().run()
    write(code=CODE.replace("import part", "import other as part"))
    (folder / "other.py").write_text("SHIFT = 1\nFAILING = ()\n")
    (folder / "part.py").unlink()
    out = str(own().diff())
    assert "--- part.py  (code " in out
    assert "+++ /dev/null" in out
    assert "--- /dev/null\n+++ other.py  (today)" in out


def test_accepted_once_it_is_not_asked_again_and_a_further_edit_is(write, said):
    own().run()
    write(factor="1 + 1")
    code, out, err = said("run", "own", "--accept")
    assert code == 0
    assert "accepted: 6 rows by one code (made.py) count as made by today's" in out
    assert "other code" not in out + err
    assert other_rows(own()) is None
    nothing = "nothing to accept: no row is known to be of other code than today's"
    assert str(own().accept()) == nothing
    assert any("count as today's: accepted" in f.message for f in verify(own())[0]["made"])
    assert len(list(Path("results/sweeps/own/accepted").iterdir())) == 1
    assert "nothing to recompute" in said("run", "own", "--recompute")[1]
    assert values() == OLD
    assert ", accepted 2" in str(own().diff())
    other = own("preset=few")  # another question, with a folder of its own
    assert other_rows(other).n_rows == 3
    assert "3 rows by one code" in str(other.accept())
    assert other_rows(other) is None
    write(factor=3)
    assert other_rows(own()).n_rows == 6
    write(factor="1 + 1")
    assert other_rows(own()) is None


def test_codes_are_the_same_that_declarations_connect(tmp_path):
    assert read_accepted(tmp_path).each == ()
    a = Acceptance("1", (("x", "y"), ("u", "v")))
    b = Acceptance("2", (("z", "y"),))
    found = Accepted((a, b))
    assert found.same("x", "y") == found.same("y", "x") == a
    assert found.same("x", "z") == found.same("z", "x") == b
    assert found.same("x", "u") is None
    assert found.same("?", "y") is None
    n = 20
    threads = [
        threading.Thread(target=write_accepted, args=(tmp_path, [(f"{i}", "now")], {}))
        for i in range(n)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    (tmp_path / "accepted/torn.json").write_text('{"pairs": [["0"')
    (tmp_path / "accepted/odd.json").write_text('{"pairs": [["0"], 3, ["0", 1]]}')
    every = read_accepted(tmp_path)
    assert len(every.each) == n
    assert all(every.same("0", f"{i}") for i in range(1, n))


def test_recompute_makes_such_rows_again_says_what_it_costs_and_keeps_the_old(write, said):
    own("seeds=1").run()
    write(factor=3)
    code, out, _ = said("plan", "own", "--recompute")
    assert "recompute: 3 runs again, 3 made by other code (made.py), besides 3 that have no" in out
    assert json.loads(said("plan", "own", "--recompute", "--json")[1])["again"] == 3
    code, out, err = said("run", "own", "--recompute")
    assert code == 0
    assert "recompute: 3 runs again" in out
    assert out.index("expected: ") < out.index("ran 6 in ")
    assert "of work" in out
    assert "6 planned: 6 ok" in out
    assert "other code" not in err
    assert values() == NEW
    study = own()
    attempts = study.table.attempts(study.plan.run_ids)["attempt"].to_pylist()
    assert sorted(attempts) == [1] * 6 + [2] * 3  # the old ones are there still
    found = verify(study)[0]["made"]
    assert not [f for f in found if f.severity == "problem"]
    assert any("3 runs were made again by other code" in f.message for f in found)
    code, _, err = said("run", "own", "--recompute", "--accept")
    assert code == 11
    assert "Give one of them" in err


def test_a_recompute_that_was_killed_goes_on(write):
    own().run()
    write(factor=3)
    study = own()
    before = set(study.table.parts())
    study.run(recompute=True)
    rows = study.table.attempts(study.plan.run_ids).to_pylist()
    for part in set(study.table.parts()) - before:  # as a kill after four of the six leaves it
        study.table.folder.delete(part)
    study.table.append([row for row in rows if row["attempt"] == 2][:4])
    assert other_rows(own()).n_rows == 2
    assert own().run(recompute=True).statuses == {"ok": 2}
    assert other_rows(own()) is None
    assert values() == NEW


def test_a_run_that_fails_when_it_is_made_again_leaves_the_older_row(write):
    own().run()
    write(part=PART.replace("()", "(4,)"))
    report = own().run(recompute=True)
    assert report.statuses == {"ok": 4, "failed": 2}
    assert "2 runs gave no metrics: where an earlier attempt did, by other code" in report.notes[0]
    assert values() == OLD
    assert other_rows(own()).n_rows == 2


def test_rows_whose_code_is_unknown_are_neither_accepted_nor_made_again(write, said):
    own().run()
    folder = SweepFolder("results/sweeps/own")
    (record,) = folder.launch_records()
    del record["code"]
    folder.write_launch(record["launch_id"], record)
    write(factor=3)
    unknown = "6 of 6 rows are of launches that do not say which code ran (older ones, imports)"
    assert str(own().diff()) == unknown
    assert unknown in str(own().accept())
    out = said("run", "own", "--recompute")[1]
    assert f"{unknown}; they stay" in out
    assert "nothing to run" in out
    assert code_of_rows(own()).n_unknown == 6


def test_rows_without_a_metric_that_came_since_are_told_of_and_made_again(write, said):
    own().run()
    more = CODE.replace("    y: float\n", "    y: float\n    z: float\n").replace(
        "(y=", "(z=1.0, y="
    )
    write(code=more)
    told = "6 of 6 rows lack the metric z, which came since: they count as done"
    for verb in ("plan", "run", "fit"):
        assert told in said(verb, "own")[2], verb
    own().accept()
    out = said("run", "own", "--recompute", "--no-analysis")[1]
    assert "recompute: 6 runs again, 6 without the metric z\n" in out
    assert not list(code_notes(own()))
    assert set(own().frame()["z"]) == {1.0}


PLAIN = "def made(n: int, seed: int = 0):\n    return {'y': 1.0 * n}\n"


def test_a_plain_function_that_returns_more_than_before(write, folder):
    (folder / "sweeps/own.yaml").write_text(SWEEP.replace("made:made", "made.py:made"))
    write(code=PLAIN)
    own("seeds=1").run()
    write(code=PLAIN.replace("{'y'", "{'z': n if n > 3 else None, 'y'"))
    quiet(own().run)
    assert "3 of 6 rows lack the metric z, which came since" in list(code_notes(own()))[1]
    own().accept()
    (note,) = code_notes(own())
    assert "lack the metric z" in note
    assert own().run(recompute=True).statuses == {"ok": 3}
    assert list(code_notes(own())) == []
    assert own().frame()["z"].fillna(0).tolist() == [0, 0, 4, 4, 5, 5]


def test_a_search_decides_anew_by_rows_that_count(write):
    own().run()
    write(factor=3)
    study = own("seeds=4", "until={mean: y, within: 100.0, first: 3}")
    report = quiet(study.run, recompute=True)
    assert report.statuses == {"ok": 9}
    assert other_rows(study) is None


def test_show_says_it_of_a_row_whose_experiment_is_installed(write, said, monkeypatch):
    own().run()
    write(factor=3)
    run_id = own().plan.run_ids[0]
    assert "other than today's" not in said("show", run_id)[1]  # what a record names is not run
    experiment = own().plan.experiment
    monkeypatch.setattr(registry, "experiment_at_hand", lambda name: experiment)
    assert "code  other than today's, changed since: made.py\n" in said("show", run_id)[1]
    assert json.loads(said("show", run_id, "--json")[1])["changed_since"] == "made.py"


def test_code_that_is_not_at_hand_is_not_compared(write):
    own().run()
    study = own()
    study.plan.experiment.function.cannot_run = "made is not to be had here."
    assert str(study.diff()) == "nothing can be compared: made is not to be had here."
    with pytest.raises(InvalidValueError, match="not to be had"):
        study.accept()
