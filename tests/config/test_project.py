"""A project: its root is found from below, and its conf/config.yaml is what sweeps start from."""

from __future__ import annotations

import pytest
from command_fixtures import lawsweep, toy_sweep, write  # noqa: F401

from lawsweep.cli.shell.standing import in_project
from lawsweep.config.compose import load_sweep
from lawsweep.config.project.defaults import project_defaults
from lawsweep.config.project.root import project_root
from lawsweep.core.errors import InvalidValueError


@pytest.fixture
def conf(folder):
    def write_conf(text):
        (folder / "conf").mkdir(exist_ok=True)
        (folder / "conf" / "config.yaml").write_text(text)

    return write_conf


def test_a_root_is_the_nearest_folder_with_sweep_files_or_conf(tmp_path):
    deep = tmp_path / "p" / "results" / "sweeps" / "toys"
    deep.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    assert project_root(deep) == deep  # folders in results/sweeps are no sweep files
    (tmp_path / "p" / "sweeps").mkdir()
    assert project_root(deep) == deep
    (tmp_path / "p" / "sweeps" / "s.yml").write_text("")
    assert project_root(deep) == tmp_path / "p"
    inner = tmp_path / "p" / "inner"
    (inner / "conf" / "executor").mkdir(parents=True)
    (inner / "src").mkdir()
    assert project_root(inner / "src") == inner


def test_nothing_is_looked_for_above_a_repository(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "s.yaml").write_text("")
    (tmp_path / "clone" / ".git").mkdir(parents=True)
    (tmp_path / "clone" / "a").mkdir()
    assert project_root(tmp_path / "clone" / "a") == tmp_path / "clone" / "a"
    assert project_root(tmp_path / "clone").name == "clone"


def test_paths_are_meant_from_where_a_person_stands(tmp_path, monkeypatch, capsys):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "s.yaml").write_text("")
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    (here / "rows.csv").write_text("")
    (here / "job.py").write_text("")
    (here / "s").write_text("")  # a sweep's name is none of a file without an ending
    monkeypatch.chdir(here)
    words = ["import", "rows.csv", "../../sweeps/s.yaml", "s", "job.py:run", "params.x=1.5",
             "-o", "t.csv", "--output=u.csv", "-ov.csv", "s3://b/rows.csv"]  # fmt: skip
    with in_project(words) as found:
        from pathlib import Path

        assert Path.cwd() == tmp_path
        assert found == [
            "import", f"{here}/rows.csv", f"{tmp_path}/sweeps/s.yaml", "s", f"{here}/job.py:run",
            "params.x=1.5", "-o", f"{here}/t.csv", f"--output={here}/u.csv", f"-o{here}/v.csv",
            "s3://b/rows.csv",
        ]  # fmt: skip
    assert Path.cwd() == here
    assert f"note: working in {tmp_path}" in capsys.readouterr().err
    for words in ([], ["--help"], ["init", "x"]):
        with in_project(words) as found:
            assert (Path.cwd(), found) == (here, words)


def test_a_verb_below_the_root_does_what_it_does_there(lawsweep, toy_sweep, folder, monkeypatch):  # noqa: F811
    assert lawsweep("run", "toys", "seeds=1")[0] == 0
    (folder / "notes").mkdir()
    monkeypatch.chdir(folder / "notes")
    assert "4 ok" in lawsweep("status", "toys", "seeds=1")[1]
    assert lawsweep("export", "toys", "seeds=1", "-o", "rows.csv")[0] == 0
    assert (folder / "notes" / "rows.csv").exists()
    assert not (folder / "notes" / "results").exists()


def test_defaults_of_a_project_come_before_its_sweeps(toy_sweep, conf, folder):  # noqa: F811
    conf("defaults: [{executor: ray_local}, _self_]\nresults_dir: out\nseeds: 7\n"
         "on_failure: {max_attempts: 9}\nmax_points: 50\n")  # fmt: skip
    sweep = load_sweep("toys")
    assert (sweep.results_dir, sweep.executor["kind"], sweep.max_points) == ("out", "serial", 50)
    assert (sweep.on_failure.max_attempts, sweep.on_failure.stop_after) == (9, 10)
    assert len(sweep.plan().seeds) == 2
    (folder / "sweeps" / "bare.yaml").write_text("experiment: toys:toy\naxes: {n: [1, 2]}\n")
    bare = load_sweep("bare")
    assert (bare.executor["kind"], len(bare.plan().seeds)) == ("ray_local", 7)
    assert load_sweep("bare", "seeds=1", "executor=serial").executor["kind"] == "serial"


def test_a_results_folder_of_the_project_is_every_verbs(lawsweep, toy_sweep, conf):  # noqa: F811
    conf("results_dir: out\n")
    assert lawsweep("run", "toys", "seeds=1")[0] == 0
    assert lawsweep("sql", "select count(*) as n from toy")[1].split() == ["n", "4"]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("lr: 0.1\nmodel: small\n", None),
        ("defaults: [model: small]\n", None),
        ("seeds: 3\nlr: 0.1\n", "'lr' is no key of one"),
        ("exectuor: serial\n", "'exectuor' is no key of one"),
    ],
)
def test_another_programs_config_is_let_be(conf, text, note):
    conf(text)
    found, notes = project_defaults()
    assert found == {}
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [\n", "is not YAML"),
        ("params: {n: 3}\n", "says params of all sweeps"),
        ("seeds: 3\nexecutor: [serial]\n", "executor"),
        (
            "defaults: [{executor: serial}, {model: small}]\n",
            "choose a member of",
        ),
    ],
)
def test_a_slip_in_a_projects_defaults_is_said(conf, text, said):
    conf(text)
    with pytest.raises(InvalidValueError, match=said):
        project_defaults()


def test_bytes_that_are_no_text_are_said(folder):
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_bytes(b"seeds: \xff\n")
    with pytest.raises(InvalidValueError, match="is not YAML"):
        project_defaults()
