"""The page "Your own experiment": what stands there runs as it stands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from lawsweep.cli.main import run_command

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(words, language="python", text=PAGE):
    (found,) = (b for b in re.findall(rf"```{language}\n(.*?)```", text, re.S) if words in b)
    return found


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "edges.py").write_text(block("def edge("))
    (tmp_path / "sweeps" / "edges.yaml").write_text(block("edges.py:edge", "yaml"))
    (tmp_path / "train.py").write_text(block("# train.py"))
    (tmp_path / "sweeps" / "train.yaml").write_text(block("command:", "yaml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("edges", None)


@pytest.fixture
def lawsweep(capsys):
    """A line of the page, in this process: what it says."""

    def run(line):
        words = shlex.split(line, comments=True)
        assert words.pop(0) == "lawsweep"
        code = run_command(words)
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return run


def test_the_functions_and_the_command_of_the_page_run(project, lawsweep, capsys):
    run, plan = block("edges.py:edge dim=", "sh").splitlines()
    assert "20 planned: 20 ok" in lawsweep(run)
    assert "12 new" in lawsweep(plan)
    out = lawsweep("lawsweep run edges executor=serial")
    assert "nothing to run" in out  # the sweep file asks for the runs that there are
    assert "fit:    power_top: 2 - top ~ dim^" in out
    out = lawsweep(block("run train", "sh"))
    assert "12 planned: 12 ok" in out
    assert "loss ~ width^-0.5" in out
    exec(compile(block("def area("), "page", "exec"), {"__name__": "__main__"})
    assert "1.414214" in capsys.readouterr().out


def test_the_function_of_the_readme_runs(project, lawsweep):
    (project / "edges.py").write_text(block("# edges.py", text=README))
    (line,) = re.findall(r"`(lawsweep run edges\.py:edge .*?)`", README)
    assert "15 planned: 15 ok" in lawsweep(f"{line} executor=serial")
