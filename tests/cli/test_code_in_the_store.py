"""Nothing that is found in the store is run, and no file of the folder hides what we import."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lawsweep as library
from lawsweep.core.code.clashes import clashes, refuse_clashes
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.registry import experiment_names
from lawsweep.executors.make import make_executor
from lawsweep.store.places.find import open_folder
from lawsweep.store.table.stored import stored_experiment

EVIL = """
import pathlib
pathlib.Path({marker!r}).write_text("ran")
from toys import toy
"""
NAMES = ("results.evil:toy", "evil:toy", "evil:loaded")


@pytest.fixture
def received(lawsweep, toy_sweep, folder):
    """A folder with results whose records, and whose metadata, name modules that leave a mark."""
    assert lawsweep("run", "toys", "--no-analysis")[0] == 0
    marker = folder / "marker"
    for path in (folder / "evil.py", folder / "results/evil.py", folder / "results/__init__.py"):
        path.write_text(EVIL.format(marker=str(marker)))
    launches = folder / "results/sweeps/toys/launches"
    (record,) = launches.glob("*.json")
    told = json.loads(record.read_text())
    for i, name in enumerate(NAMES):
        config = {**told["config"], "experiment": name}
        place = record if i == 0 else launches / f"2099010{i}T000000-0000000{i}.json"
        place.write_text(json.dumps({**told, "config": config, "launch_id": place.stem}))
    metadata = folder / "evil-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[lawsweep.experiments]\ntoy = evil:toy\nntk_min_eig = evil:toy\n"
    )
    importlib.invalidate_caches()
    yield folder
    for name in ("evil", "results", "results.evil"):
        assert name not in sys.modules
    assert not marker.exists()


def test_no_verb_imports_what_a_record_names(lawsweep, received):
    run_id = library.load_sweep("toys").plan().run_ids[0]
    (received / "theirs.csv").write_text("n,seed,y,draws\n5,0,1.0,5\n")
    for code, words in (
        (0, ("show", run_id)), (0, ("plan", "toys")), (0, ("status", "toys")),
        (0, ("fit", "toys")), (0, ("plot", "toys")), (0, ("export", "toys", "-o", "a.csv")),
        (0, ("report", "toys")), (0, ("sql", "SELECT count(*) FROM toy")), (0, ("verify",)),
        (0, ("verify", "toy")), (0, ("verify", "toys")), (0, ("compact",)),
        (0, ("compact", "toy")), (0, ("gc", "--orphans")), (0, ("gc", "--delete")),
        (0, ("archive", "toys", "-o", "a.zip")), (0, ("archive", "toys", "-o", "a")),
        (0, ("verify", "a.zip")), (0, ("import", "theirs.csv", "toys")),
        (0, ("replay", "--sample", "2", "toys")), (10, ("replay", run_id)),
        (0, ("compare", "toys", "--against", "results_dir=a/results")),
    ):  # fmt: skip
        found, out, err = lawsweep(*words)
        assert found == code, (words, out, err)
        assert not (received / "marker").exists(), words
    assert len(library.load(library.load_sweep("toys"))) == 8
    assert experiment_names()["ntk_min_eig"].startswith("lawsweep.")
    assert "toy" not in experiment_names()


def test_replay_runs_what_the_user_names(lawsweep, received):
    run_id = library.load_sweep("toys").plan().run_ids[0]
    code, _, err = lawsweep("replay", run_id)
    assert code == 10
    assert "name it with --experiment module:function (its launch says results.evil:toy)." in err
    assert lawsweep("replay", run_id, "--experiment", "toys:toy")[0] == 0


def test_a_table_is_checked_by_what_its_parts_say(lawsweep, received):
    found = stored_experiment(open_folder("results") / "tables", "toy")
    toy = library.load_sweep("toys").find_experiment()
    assert (found.name, found.version) == (toy.name, toy.version)
    assert [(s.name, s.kind, s.default) for s in found.params] == [
        (s.name, s.kind, s.default) for s in toy.params
    ]
    assert [s.name for s in found.metrics] == [s.name for s in toy.metrics]
    code, out, _ = lawsweep("verify", "toy")
    assert code == 0
    assert "8 run ids are those of their params and seed" in out


CLASHING = {
    "types.py": "Python's standard library", "numbers.py": "Python's standard library",
    "queue.py": "Python's standard library", "token.py": "Python's standard library",
    "random/__init__.py": "Python's standard library", "ray.py": "ray", "yaml.py": "PyYAML",
    "pandas/__init__.py": "pandas", "dateutil.py": "python-dateutil", "lawsweep.py": "lawsweep",
    "grpc.py": "grpcio", "aiohttp.py": "aiohttp",  # of ray[default]
}  # fmt: skip


@pytest.mark.parametrize(("file", "whose"), CLASHING.items())
def test_a_file_that_hides_a_module_is_refused_by_name(lawsweep, write, folder, file, whose):
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('imported')\n")
    name = file.partition("/")[0]
    write("toys", "experiment: toys:toy\naxes: {n: [1]}\nexecutor: ray_local\n")
    code, out, err = lawsweep("run", "toys")
    assert (code, out) == (11, "")
    assert err == (
        f"lawsweep: {name} in the working folder hides a module of {whose}, since the folder is "
        "imported from first. Rename it, or start from another folder.\n"
    )
    assert not (folder / "results").exists()
    code, out, err = lawsweep("doctor")  # and Ray is not started
    assert code == 11
    assert f"{name} hides a module of {whose}" in out
    assert "starts and runs a task" not in out
    # An installed experiment is not looked for here, but Ray has its workers import from here.
    with pytest.raises(InvalidValueError, match=f"{name} in the working folder hides"):
        make_executor("ray_local").start(library.load_sweep("toys"))
    assert lawsweep("plan", "ntk_width")[0] == 0


def test_other_names_are_free(folder):
    for name in ("mine.py", "helpers.py", "toys.py", "queue.txt", "types.yaml", "tests.py"):
        (folder / name).write_text("")
    (folder / "queue").mkdir()  # no package: the real one goes first
    (folder / "queue" / "x.py").write_text("")
    assert clashes(folder) == []
    refuse_clashes(folder)
    assert clashes(Path(library.__file__).parents[1]) == []  # lawsweep itself, in a checkout
    assert clashes(folder / "none") == []


@pytest.mark.slow
def test_replays_fresh_start_imports_nothing_from_the_folder(lawsweep, toy_sweep, folder):
    assert lawsweep("run", "toys", "--no-analysis")[0] == 0
    run_id = library.load_sweep("toys").plan().run_ids[0]
    threads = library.show(run_id)["n_threads"]
    (folder / "click.py").write_text("open('marker', 'w')\n")
    env = {**os.environ, "OMP_NUM_THREADS": str(threads + 1)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lawsweep.cli.main", "replay", run_id],
        cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 10, done.stderr
    assert not (folder / "marker").exists()
