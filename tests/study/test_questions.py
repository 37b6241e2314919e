"""A folder of results/sweeps belongs to one question, whatever verb asks it."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from toys import pair, toy

import lawsweep
from lawsweep.cli.main import run_command
from lawsweep.core.errors import InvalidValueError
from lawsweep.store.sweeps.sweep_folder import SweepFolder

SWEEP = """
experiment: toys:toy
axes: {n: [10, 20]}
seeds: 2
executor: serial
fits: [{law: power, x: n, y: y}]
figures: [{kind: scatter, x: n, y: y}]
presets:
  big: {axes: {n: [30, 40, 50]}}
"""


@pytest.fixture
def command(folder, capsys):
    """The command in a folder with a sweep ``toys``."""
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "toys.yaml").write_text(SWEEP)

    def run(*words):
        code = run_command(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def folders(root):
    return sorted(p.name for p in (root / "results" / "sweeps").iterdir())


def contents(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_what_changes_the_question_changes_the_name(command, folder):
    given = ["params.scale=2", "params.n=10,30", "seeds=3", "preset=big", "where='n > 10'",
             "axes.n=[10]", "figures=[]", "fits=[]", "derive.scale='n / 10'", "~params.n",
             "search={axis: n, event: 'y > 0'}"]  # fmt: skip
    names = {lawsweep.load_sweep("toys", o).folder_name for o in given}
    assert len(names) == len(given)
    assert all(n.startswith("toys-") and len(n) == 11 for n in names)


@pytest.mark.parametrize("override", ["seeds=3", "preset=big", "figures=[]"])
def test_what_changes_the_question_has_its_own_folder(command, folder, override):
    assert command("run", "toys")[0] == 0
    before = contents(folder / "results/sweeps/toys")
    code, out, err = command("run", "toys", override)
    assert code == 0, err
    plain, other = folders(folder)
    assert plain == "toys"
    assert other.startswith("toys-")
    assert contents(folder / "results/sweeps/toys") == before  # plan, figures and record stay
    if "figures" not in override:
        assert f"figure: results/sweeps/{other}/figures/scatter_y.png" in out
    # Every verb with the same overrides finds it, and no other is made.
    for words in (["plan"], ["status"], ["report"], ["run"], ["rerun", "--failed"], ["export"]):
        assert command(words[0], "toys", override, *words[1:])[0] == 0
    if "figures" not in override:
        assert command("plot", "toys", override)[0] == 0
    assert contents(folder / "results/sweeps/toys") == before
    assert folders(folder) == [plain, other]
    assert "orphaned" not in command("plan", "toys")[1]
    own = folder / "results/sweeps" / other
    assert (own / "report.html").is_file()
    assert (own / "toys.parquet").is_file()
    assert json.loads(command("status", "toys", override, "--json")[1])["folder"].endswith(other)


@pytest.mark.parametrize(
    "override",
    ["executor=serial", "executor.fuse=false", "store.commit_every_s=1", "on_failure.stop_after=3",
     "results_dir=results", "max_points=100", "seeds=2", "axes.n=[10,20]", "experiment=toys:toy",
     "preset=null"],
)  # fmt: skip
def test_what_does_not_change_it_has_the_plain_one(command, folder, override):
    assert lawsweep.load_sweep("toys", override).folder_name == "toys"


def test_a_signature_knows_neither_order_nor_spelling_nor_the_file(command, folder):
    def name(*overrides):
        return lawsweep.load_sweep("toys", *overrides).folder_name

    one = name("params.scale=2", "seeds=3")
    assert name("seeds=3", "executor=serial", "+params.scale=2") == one
    assert name("seeds=7", "params.scale=2", "seeds=3", "axes.n=[10, 20]") == one
    assert len({one, name("params.scale=2"), name("seeds=3"), name("params.scale=2,2.5")}) == 4
    (folder / "sweeps" / "toys.yaml").write_text(SWEEP.replace("[10, 20]", "[10, 20, 30]"))
    assert name("params.scale=2", "seeds=3") == one
    (folder / "sweeps" / "toys.yaml").write_text(SWEEP.replace("seeds: 2", "seeds: 3"))
    assert name("seeds=3") == "toys"  # what the file says now


def test_an_edited_file_keeps_its_folder(command, folder):
    assert command("run", "toys", "--no-analysis")[0] == 0
    for text in ("[10, 20, 40]", "[30]"):
        (folder / "sweeps" / "toys.yaml").write_text(SWEEP.replace("[10, 20]", text))
        assert command("run", "toys", "--no-analysis")[0] == 0
        assert folders(folder) == ["toys"]
    assert "2 orphaned" not in command("plan", "toys")[1]


def test_status_lists_the_other_questions(command, folder):
    assert "also:" not in command("status", "toys")[1]
    command("run", "toys", "--no-analysis")
    command("run", "toys", "params.scale=2", "seeds=3", "executor=serial", "--no-analysis")
    out = command("status", "toys")[1]
    (other,) = set(folders(folder)) - {"toys"}
    assert f"also: toys params.scale=2 seeds=3 (6 planned, results/sweeps/{other})" in out
    out = command("status", "toys", "params.scale=2", "seeds=3")[1]
    assert "also: toys (4 planned, results/sweeps/toys)" in out
    (found,) = json.loads(command("status", "toys", "--json")[1])["others"]
    assert found["overrides"] == ["params.scale=2", "seeds=3"]


def test_another_file_of_the_same_name_is_refused(command, folder):
    assert command("run", "toys")[0] == 0
    before = contents(folder / "results")
    (folder / "other").mkdir()
    text = SWEEP.replace("[10, 20]", "[10, 70]")
    (folder / "other" / "toys.yaml").write_text(text)
    for words in (["run"], ["plan"], ["status"], ["plot"], ["report"], ["rerun", "--failed"]):
        code, _, err = command(words[0], "other/toys.yaml", *words[1:])
        assert code == 11
        assert "results/sweeps/toys belongs to another sweep, toys (sweeps/toys.yaml)" in err
        assert "this one is other/toys.yaml" in err
    assert contents(folder / "results") == before
    assert command("run", "other/toys.yaml", "results_dir=elsewhere", "--no-analysis")[0] == 0
    (folder / "results/sweeps/toys/question.json").unlink()  # as the sentence says
    assert command("run", "other/toys.yaml", "--no-analysis")[0] == 0
    assert command("run", "toys", "--no-analysis")[0] == 11


def test_a_file_that_moves_is_the_same_while_its_runs_say_so(command, folder):
    assert command("run", "toys", "--no-analysis")[0] == 0
    (folder / "other").mkdir()
    shutil.move(folder / "sweeps/toys.yaml", folder / "other/toys.yaml")
    assert command("status", "other/toys.yaml")[0] == 0
    (folder / "other" / "toys.yaml").write_text(SWEEP.replace("[10, 20]", "[10, 20, 40]"))
    assert command("run", "other/toys.yaml", "--no-analysis")[0] == 0
    (folder / "other" / "toys.yaml").write_text(SWEEP.replace("[10, 20]", "[50]"))
    assert command("run", "other/toys.yaml", "--no-analysis")[0] == 0  # it lives here now
    assert folders(folder) == ["toys"]


def test_a_file_with_fewer_runs_beside_the_other_is_refused(command, folder):
    """It was not moved: both are there, and would take each other's figures."""
    assert command("run", "toys", "--no-analysis")[0] == 0
    (folder / "other").mkdir()
    (folder / "other" / "toys.yaml").write_text(SWEEP.replace("[10, 20]", "[10]"))
    code, _, err = command("run", "other/toys.yaml", "--no-analysis")
    assert code == 11
    assert "belongs to another sweep" in err
    shutil.copy(folder / "sweeps/toys.yaml", folder / "other/toys.yaml")
    assert command("status", "other/toys.yaml")[0] == 0  # a copy asks the same


def test_a_folder_goes_with_its_file_also_where_nothing_is_to_run(command, folder):
    assert command("run", "toys", "--no-analysis")[0] == 0
    (folder / "other").mkdir()
    shutil.move(folder / "sweeps/toys.yaml", folder / "other/toys.yaml")
    assert command("run", "other/toys.yaml", "--no-analysis")[0] == 0
    (folder / "other" / "toys.yaml").write_text(SWEEP.replace("[10, 20]", "[50]"))
    assert command("run", "other/toys.yaml", "--no-analysis")[0] == 0


def test_another_experiment_under_a_name_is_refused_in_python_too(folder):
    first = lawsweep.Sweep("s", toy, params={"n": 3}, results_dir="results")
    lawsweep.run(first, executor="serial")
    lawsweep.run(dataclasses.replace(first, params={"n": 4}), executor="serial")
    second = lawsweep.Sweep("s", pair, params={"n_target": 3, "n_compressed": 2})
    with pytest.raises(InvalidValueError, match=r"belongs to another sweep, s \(built in Python\)"):
        lawsweep.run(second, executor="serial")


def test_a_sweep_with_the_name_of_anothers_variant_is_refused(command, folder):
    command("run", "toys", "seeds=3", "--no-analysis")
    (name,) = folders(folder)
    shutil.copy(folder / "sweeps/toys.yaml", folder / f"sweeps/{name}.yaml")
    code, _, err = command("run", name, "--no-analysis")
    assert code == 11
    assert "belongs to another sweep, toys" in err


@pytest.mark.parametrize("text", [None, "{torn", "[1]"])
def test_older_folders_are_adopted(command, folder, text):
    command("run", "toys", "--no-analysis")
    path = folder / "results/sweeps/toys/question.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    (folder / "other").mkdir()
    (folder / "other" / "toys.yaml").write_text(SWEEP)
    assert command("run", "other/toys.yaml", "--no-analysis")[0] == 0
    assert json.loads(path.read_text())["file"] == "other/toys.yaml"


def test_an_archive_has_the_sweep_under_its_plain_name(command, folder):
    command("run", "toys", "seeds=3")
    assert command("archive", "toys", "seeds=3", "-o", "out")[0] == 0
    assert [p.name for p in (folder / "out/results/sweeps").iterdir()] == ["toys"]
    assert list((folder / "out/results/sweeps/toys/launches").glob("*.json"))
    assert (folder / "out/results/sweeps/toys/figures/scatter_y.png").is_file()
    said = json.loads((folder / "out/results/sweeps/toys/question.json").read_text())
    assert (said["variant"], said["overrides"], said["file_hash"]) == ("", [], None)


def test_jobs_are_found_under_the_overrides_they_were_sent_with(command, folder):
    sweep = lawsweep.load_sweep("toys", "seeds=3")
    own = SweepFolder(sweep.folder)
    own.write_question({"sweep": "toys", "overrides": ["seeds=3"], "variant": sweep.variant,
                        "experiment": "toy",
                        "n_planned": 6})  # fmt: skip
    own.write_job("toys-1", {"job": "toys-1", "sweep": "toys", "folder": sweep.folder_name,
                             "address": "http://127.0.0.1:1", "state": "SUCCEEDED"})  # fmt: skip
    assert "job toys-1: SUCCEEDED" in command("status", "toys", "seeds=3")[1]
    assert "job toys-1" not in command("status", "toys")[1]
    code, _, err = command("logs", "toys")
    assert code == 10
    assert "there are some under other overrides: seeds=3" in err
