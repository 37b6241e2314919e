"""Rows that other code made are told of: the function, its helpers, a notebook's functions."""

from __future__ import annotations

import dataclasses
import importlib
import io
import sys
import warnings
import zipfile
from pathlib import Path

import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.core.code.source import OtherCode, Source, meaning, source_of
from lawsweep.core.registry import find_experiment
from lawsweep.store.sweeps.skipping import OtherCodeWarning
from lawsweep.store.sweeps.sweep_folder import SweepFolder, find_launch
from lawsweep.study.code.rows import other_rows
from lawsweep.tools.archive_check import verify_archive
from lawsweep.tools.keeping import verify

OWN = '''
from toys import *
FACTOR = 2

@experiment(version=1)
def own(params: Params, seed: int) -> Metrics:
    """What it does."""
    from helper import shift
    return Metrics(y=FACTOR * params.n + shift(), draws=1)
'''
HELPER = "import deeper\ndef shift():\n    return deeper.BY\n"
DEEPER = "BY = 0.5\n"


@pytest.fixture
def edit(folder, monkeypatch):
    """Write a module anew, as after an edit and a fresh start of Python."""
    names = ("own", "helper", "deeper")
    monkeypatch.syspath_prepend(str(folder))

    def write(**texts):
        for name, text in texts.items():
            (folder / f"{name}.py").write_text(text)
        for name in names:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()

    write(own=OWN, helper=HELPER, deeper=DEEPER)
    yield write
    for name in names:
        sys.modules.pop(name, None)


def sweep(n_seeds=2):
    return Sweep(
        name="own",
        experiment="own:own",
        axes={"n": [3, 4]},
        seeds=n_seeds,
        executor={"kind": "serial"},
        fits=({"law": "power", "x": "n", "y": "y"},),
    )


@pytest.mark.parametrize(
    ("texts", "changed"),
    [
        ({"own": OWN.replace("FACTOR = 2", "FACTOR = 4")}, ("own.py",)),
        ({"helper": HELPER.replace("BY", "BY * 9")}, ("helper.py",)),
        ({"deeper": "BY = 1.5\n"}, ("deeper.py",)),
        ({"helper": "def shift():\n    return 1\n"}, ("deeper.py", "helper.py")),
    ],
)
def test_an_edit_is_told_by_plan_run_load_and_verify(edit, texts, changed):
    lawsweep.run(sweep())
    assert other_rows(lawsweep.open(sweep())) is None
    edit(**texts)
    found = other_rows(lawsweep.open(sweep(3)))
    assert (found.n_rows, found.n_of, found.files) == (4, 4, changed)
    words = f"4 of 4 rows were made by other code of own than today's .changed since: {changed[0]}"
    assert str(found) in lawsweep.open(sweep(3)).preview().plan.notes
    with pytest.warns(OtherCodeWarning, match=words):
        lawsweep.run(sweep(3))
    with pytest.warns(OtherCodeWarning, match="4 of 6 rows"):
        lawsweep.fit(sweep(3))
    told = [f for f in verify(sweep(3))[0]["own"] if f.check == "code"]
    assert [f.severity for f in told] == ["note", "note", "ok"]
    assert any("4 of 6 rows" in f.message for f in told)
    with pytest.warns(OtherCodeWarning):
        page = lawsweep.report(sweep(3))
    assert "4 of 6 rows were made by other code" in Path(page).read_text()


def test_comments_blanks_and_docstrings_are_no_edit_and_a_change_taken_back_is_none(edit):
    lawsweep.run(sweep())
    said = OWN.replace("What it does.", "In other words.").replace(
        "FACTOR = 2", "FACTOR  =  2  # x"
    )
    edit(own=said, helper=f"# a comment\n\n\n{HELPER}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lawsweep.load(sweep())
    edit(own=OWN.replace("FACTOR = 2", "FACTOR = 3"))
    assert other_rows(lawsweep.open(sweep())).files == ("own.py",)
    edit(own=OWN)
    assert other_rows(lawsweep.open(sweep())) is None


def test_rows_whose_launch_does_not_say_are_unknown_and_not_other(edit):
    lawsweep.run(sweep())
    edit(own=OWN.replace("FACTOR = 2", "FACTOR = 4"))
    folder = SweepFolder(sweep().folder)
    for record in folder.launch_records():
        for code in (None, "?", {"digest": 3}, {"digest": "x"}):
            folder.write_launch(record["launch_id"], {**record, "code": code})
            assert other_rows(lawsweep.open(sweep())) is None
        del record["code"]
        folder.write_launch(record["launch_id"], record)
    (told,) = [f for f in verify(sweep())[0]["own"] if f.check == "code"]
    assert told.message == "4 rows are of launches that do not say which code ran"


def test_the_source_of_each_launch_is_kept_once_and_archived(edit, folder):
    lawsweep.run(sweep(1))
    lawsweep.run(sweep(2))
    edit(own=OWN.replace("FACTOR = 2", "FACTOR = 4"))
    with pytest.warns(OtherCodeWarning):
        lawsweep.run(sweep(3))
    with pytest.warns(OtherCodeWarning):
        lawsweep.archive(sweep(3), "out")
    for place in (folder, folder / "out"):
        kept = sorted(place.glob("results/sweeps/own/launches/code-*.zip"))
        factors = set()
        for path in kept:
            with zipfile.ZipFile(path) as file:
                assert {"own.py", "helper.py", "deeper.py"} <= set(file.namelist())
                factors.add(file.read("own.py").decode().partition("FACTOR = ")[2][0])
        assert factors == {"2", "4"}
        assert len(kept) == 2
    assert "FACTOR = 4" in (folder / "out/own.py").read_text()
    assert verify_archive("out") == []


def test_an_archive_has_what_was_accepted_and_says_which_code_is_not_kept(edit, folder):
    lawsweep.run(sweep())
    edit(own=OWN.replace("FACTOR = 2", "FACTOR = 2 + 0"))
    study = lawsweep.open(sweep())
    study.accept()
    assert lawsweep.archive(study, "whole").notes == ()
    assert len(list((folder / "whole").glob("results/sweeps/own/launches/code-*.zip"))) == 2
    assert len(list((folder / "whole").glob("results/sweeps/own/accepted/*.json"))) == 1
    assert verify_archive("whole") == []
    digest = study.diff().codes[0].digest
    SweepFolder(sweep().folder).launches.delete(f"code-{digest}.zip")
    for place in ("bare", "bare.zip"):
        (note,) = lawsweep.archive(study, place).notes
        assert f"the archive lacks the code {digest[:8]} of launches of own" in note
        ((name, reason),) = verify_archive(place)
        assert name == f"results/sweeps/own/launches/code-{digest}.zip"
        assert reason.startswith("missing: the code of ")


def notebook(text, **given):
    """What a notebook's cells define."""
    scope = {"__name__": "__main__", **given}
    exec("from toys import *\n" + text, scope)
    return scope["cell"]


CELL = """
def helper():
    return SCALE
SCALE = {scale}
@experiment(version=1)
def cell(params: Params, seed: int) -> Metrics:
    return Metrics(y=helper() * {factor}, draws=1)
"""


def test_a_notebooks_function_and_what_it_refers_to(folder, edit):
    def digest(scale=1, factor=2, **given):
        return source_of(notebook(CELL.format(scale=scale, factor=factor), **given)).digest

    assert digest() == digest()
    assert len({digest(), digest(factor=4), digest(scale=9), digest(scale="'a'")}) == 4
    import helper as edited

    calls = CELL.replace("return SCALE", "return kit.shift()")
    before = source_of(notebook(calls.format(scale=1, factor=2), kit=edited))
    assert {"helper.py", "deeper.py"} <= set(before.files)
    secret = source_of(notebook(CELL.format(scale="'s3cr3t'", factor=2)))
    assert not any(b"s3cr3t" in data for data in secret.files.values())


def test_a_function_that_exec_made_is_of_no_file(folder):
    def rows(factor):
        made = {}
        exec(f"def f(n: int, seed: int = 0): return {{'y': {factor} * n}}", made)
        return lawsweep.open(made["f"], name="made", axes={"n": [1]}, executor="serial")

    assert rows(1).run().statuses == {"ok": 1}
    assert other_rows(rows(1)) is None
    assert other_rows(rows(2)).n_rows == 1


def test_lawsweeps_own_kernels_are_code_too_and_nothing_is_imported_for_it():
    found = source_of(find_experiment("memorization"))
    assert {
        "lawsweep/experiments/memorization/__init__.py",
        "lawsweep/kernels/training/train.py",
    } <= set(found.files)
    assert not [n for n in found.files if n.startswith("lawsweep/core")]
    assert not [n for n in found.files if not n.startswith("lawsweep/")]
    edited = found.files["lawsweep/kernels/training/train.py"] + b"\nMORE = 1\n"
    other = Source({**found.files, "lawsweep/kernels/training/train.py": edited})
    compare = OtherCode(find_experiment("memorization"))
    assert compare.changed(found.record()) == ()
    assert compare.changed(other.record()) == ("lawsweep/kernels/training/train.py",)


def test_what_code_says_has_no_places():
    said = meaning(b"def f(a):\n    return a + 1\n")
    assert said == meaning(b"# c\ndef f( a ):\n    'doc'\n\n    return (a + 1)\n")
    assert said != meaning(b"def f(a):\n    return a - 1\n")
    assert meaning(b"x = 1") != meaning(b"x = 1.0") != meaning(b"x = None")
    assert meaning(b"this is no Python") != meaning(b"nor is this")


def test_the_record_names_the_code_and_the_kept_file(toys):
    row = lawsweep.show(lawsweep.load(toys)["run_id"].iloc[0])
    code = find_launch("results", row["launch_id"])["code"]
    assert code["digest"] == source_of(toys.find_experiment()).digest
    data = SweepFolder(toys.folder).launches.read(f"code-{code['digest']}.zip")
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert sorted(file.namelist()) == sorted(code["files"])
    fused = dataclasses.replace(toys.find_experiment(), fused=OtherCode)
    assert "lawsweep/core/code/source.py" not in source_of(fused).files
