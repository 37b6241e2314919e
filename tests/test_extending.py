"""The page "Extending lawsweep": each example is added as it says, and a sweep runs with it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from outside import write_package
from pages import as_it_was

from lawsweep.cli.main import run_command
from lawsweep.cli.verbs import homes, running
from lawsweep.grid.axes import node
from lawsweep.kernels.eigmin import solvers

PAGE = (Path(__file__).parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")
STUDY = """
experiment: trial:trial
axes: {n: [4, 8, 16, 32]}
seeds: 6
"""
TRIAL = """
from dataclasses import dataclass

from lawsweep import experiment, stream


@dataclass(frozen=True, kw_only=True)
class Params:
    n: int


@dataclass(frozen=True, kw_only=True)
class Metrics:
    loss: float


@experiment(version=1)
def trial(params: Params, seed: int) -> Metrics:
    noise = stream(seed, "noise").standard_normal()
    return Metrics(loss=2.0 + 3.0 * params.n**-2.0 * (1.0 + 0.01 * noise))
"""


def blocks(title, language):
    """The code blocks of one language in a section of the page."""
    (section,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return re.findall(rf"```{language}\n(.*?)```", section, re.S)


def command(*words):
    """``lawsweep words...``, in this process; what it said."""
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = run_command([*words])
    assert code == 0, said.getvalue()
    return said.getvalue()


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """What a test writes is importable, is imported anew, and is forgotten afterwards."""
    (tmp_path / "study").mkdir()
    (tmp_path / "site").mkdir()
    monkeypatch.delenv("LAWSWEEP_RESULTS_DIR", raising=False)
    monkeypatch.setattr(node, "KINDS", {**node.KINDS})
    pages = re.findall(r"^(\w+) = \"(\w+):|`(?:sweeps/)?(\w+)\.py`", PAGE, re.M)
    for module in {m for names in pages for m in names if m}:  # tests/support has some of the name
        monkeypatch.delitem(sys.modules, module, raising=False)
    with as_it_was(tmp_path / "study", all_of=tmp_path):
        sys.path[:0] = ["", str(tmp_path / "site")]
        yield


@contextmanager
def imported_anew(package):
    """Whoever imports it inside gets it as at a start; afterwards it is the one of before."""
    parent, _, leaf = package.rpartition(".")

    def mine():
        return {n: m for n, m in sys.modules.items() if n == package or n.startswith(f"{package}.")}

    before = mine()
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in mine():
            del sys.modules[name]
        sys.modules.update(before)
        if package in before:
            setattr(sys.modules[parent], leaf, before[package])
        elif hasattr(sys.modules.get(parent), leaf):
            delattr(sys.modules[parent], leaf)


@pytest.fixture
def study(tmp_path):
    """A working folder with an experiment of one file and the sweep ``trial`` of 24 runs."""
    folder = tmp_path / "study"
    (folder / "sweeps").mkdir()
    (folder / "trial.py").write_text(TRIAL)
    (folder / "sweeps" / "trial.yaml").write_text(STUDY)
    return folder


def add(study, text):
    with (study / "sweeps" / "trial.yaml").open("a") as file:
        file.write(text)


def installed(tmp_path, title):
    """The folder in which the package of a section is installed, as it stands on the page."""
    (entry,) = blocks(title, "toml")
    group = re.search(r'entry-points\."([\w.]+)"', entry)[1]
    offers = dict(re.findall(r'^(\w+) = "([\w.:]+)"', entry, re.M))
    sources = {}
    for target, source in zip(offers.values(), blocks(title, "python"), strict=False):
        sources[target.partition(":")[0]] = source
    place = tmp_path / "site"
    write_package(place, next(iter(sources)), sources, {group: offers})
    return place


def test_an_experiment(study):
    title = "An experiment, from outside"
    (source,) = blocks(title, "python")
    (study / "growth.py").write_text(source)
    sweep, group = blocks(title, "yaml")
    (study / "sweeps" / "growth.yaml").write_text(sweep)
    (commands,) = blocks(title, "sh")
    for line in commands.strip().splitlines():
        assert "15 planned: 15 ok" in command(*shlex.split(line, comments=True)[1:])
    (study / "conf" / "experiment").mkdir(parents=True)
    (study / "conf" / "experiment" / "growth.yaml").write_text(group)
    # Another rate: other runs.
    assert "ran 15" in command("run", "growth", "executor=serial", "--no-analysis")
    assert ".75" in command("sql", "select distinct rate from growth order by rate")


def test_an_activation(study):
    title = "An activation"
    bent, hard = blocks(title, "python")
    (study / "bent.py").write_text(bent)
    (study / "hard.py").write_text(hard)
    (study / "sweeps" / "bent.yaml").write_text(blocks(title, "yaml")[0])
    run = ("run", "bent", "executor=serial")
    assert "4 planned: 4 ok" in command(*run)
    assert "2 planned: 2 ok" in command(*run, "params.activation=hard:hard")


@pytest.mark.parametrize(
    "title", ["An eigen-solver", "A layer kind of the network", "An optimiser"]
)
def test_what_kernels_take(tmp_path, monkeypatch, title):
    monkeypatch.setattr(solvers, "TABLE", solvers.TABLE)
    first, *more = blocks(title, "python")
    (tmp_path / "study" / "inverse.py").write_text(first)
    with imported_anew("lawsweep.experiments.ntk_min_eig"):
        exec(compile("\n".join([first, *more]), title, "exec"), {"__name__": "__main__"})


def test_an_axis_kind(study):
    title = "An axis kind"
    (study / "my_study.py").write_text(blocks(title, "python")[0])
    (study / "sweeps" / "halved.yaml").write_text(blocks(title, "yaml")[0])
    (commands,) = blocks(title, "sh")
    lines = (shlex.split(x, comments=True) for x in commands.strip().splitlines())
    ran, planned = (command(*line[1:]) for line in lines)
    assert "6 planned: 6 ok" in ran
    assert "4 planned" in planned


def test_a_law(study, tmp_path):
    installed(tmp_path, "A law")
    add(study, blocks("A law", "yaml")[0])
    out = command("run", "trial", "executor=serial")
    limit = re.search(r"fit: .*loss = (\S+) \[", out)[1]
    assert abs(float(limit) - 2.0) < 0.01  # n^-2 is what TRIAL is made of
    assert "figure:" in out
    assert "one approach law is supported: no bend is seen" in out
    (found,) = json.loads(command("fit", "trial", "--json"))
    gap = found["parameters"]["gap"]
    # A seed's one draw moves the whole gap: the scatter about the law is rounding.
    assert gap["scatter"][1] - gap["scatter"][0] < 1e-9
    assert gap["seeds"][1] - gap["seeds"][0] > 1e-3
    assert [gap["low"], gap["high"]] == gap["seeds"]
    assert gap["low"] < 3 < gap["high"]
    assert [c["law"] for c in found["checks"]["candidates"]] == ["approach", "power_offset"]
    held = found["checks"]["hold_out"]  # the band's interval of a new point
    assert held["holds"]
    assert held["low"] < held["predicted"] < held["high"]


def test_a_kind_of_figure(study, tmp_path):
    installed(tmp_path, "A kind of figure")
    add(study, blocks("A kind of figure", "yaml")[0])
    out = command("run", "trial", "executor=serial")
    assert "profile_loss.png" in out
    assert "histogram_loss.png" in out


def test_a_sampler(study, tmp_path):
    installed(tmp_path, "A sampler")
    (asked,) = (b for b in blocks("A sampler", "yaml"))
    text = (study / "sweeps" / "trial.yaml").read_text().replace("seeds: 6", asked)
    (study / "sweeps" / "trial.yaml").write_text(text)
    out = command("run", "trial", "executor=serial", "--no-analysis")
    assert "ran 20" in out  # 5 of 20 seeds of 4 points


def test_an_executor(study, tmp_path):
    site = installed(tmp_path, "An executor")
    words = ["run", "trial", "executor=crew", "executor.n_workers=3", "--no-analysis"]
    # Its forkserver would stay with this process.
    path = os.pathsep.join(p for p in (str(site), os.environ.get("PYTHONPATH", "")) if p)
    done = subprocess.run(
        [sys.executable, "-m", "lawsweep", *words], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert "24 planned: 24 ok" in done.stdout


def test_a_sink(study, tmp_path):
    installed(tmp_path, "A sink")
    words = ("run", "trial", "executor=serial", "sinks=[counter]", "--no-analysis")
    assert "24 planned: 24 ok" in command(*words)
    assert (study / "count.txt").read_text() == "24 of 24"


def test_a_store_place(study, tmp_path):
    installed(tmp_path, "A store place")
    where = "results_dir=shelf://study.shelf/results"
    words = ("run", "trial", "executor=serial", where, "--no-analysis")
    assert "24 planned: 24 ok" in command(*words)
    assert "24 planned: 24 ok" in command("status", "trial", where)
    assert not (study / "results").exists()


def test_a_verb(study, tmp_path, monkeypatch):
    # As a file among the verbs: here in a folder that stands for the section's.
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "count.py").write_text(blocks("A verb", "python")[0])
    monkeypatch.setattr(running, "__path__", [*running.__path__, str(tmp_path / "more")])
    homes.cache_clear()
    try:
        assert json.loads(command("count", "trial", "--json")) == {"n": 24}
    finally:
        homes.cache_clear()


def test_every_row_of_the_table_has_its_section_and_its_test():
    titles = re.findall(r"^## (.*)$", PAGE, re.M)
    anchors = {t.lower().replace(",", "").replace(" ", "-") for t in titles}
    linked = set(re.findall(r"\]\(#([\w-]+)\)", PAGE))
    assert linked == anchors
    told = Path(__file__).read_text(encoding="utf-8")
    assert not [t for t in titles if f'"{t}"' not in told]
