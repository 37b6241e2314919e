"""The README is the front door: its own experiment, sweep and readers are run as they stand."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from pages import as_it_was, call

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory):
    """A folder outside the repository with the README's experiment and sweep, swept."""
    folder = tmp_path_factory.mktemp("user")
    source = next(b for b in blocks("python") if "@experiment" in b)
    assert len([x for x in source.splitlines() if x.strip()]) < 30
    (folder / "wigner.py").write_text(source)
    (folder / "sweeps").mkdir()
    sweep = next(b for b in blocks("yaml") if "wigner" in b)
    (folder / "sweeps" / "wigner.yaml").write_text(sweep)
    (folder / "conf").mkdir()  # for the tests: what Ray does with a sweep, tests of Ray say
    (folder / "conf" / "config.yaml").write_text("executor: serial\n")
    with as_it_was(folder):
        code, said = call("lawsweep run wigner seeds=4")
        assert code == 0, said
        assert "24 planned: 24 ok" in said
        assert "fit:    power_edge: 2 - edge ~ input_dim^" in said
        yield folder


def test_a_users_own_experiment_leaves_figure_and_table(user_folder):
    (figure,) = user_folder.glob("results/sweeps/wigner-*/figures/curve_edge.png")  # of 4 seeds
    assert figure.stat().st_size > 1000
    assert list((user_folder / "results/tables/wigner_edge").glob("part-*.parquet"))


@pytest.mark.parametrize("library", ["pandas", "duckdb", "lawsweep"])
def test_the_readers_of_the_readme_run(user_folder, monkeypatch, capsys, library):
    source = next(b for b in blocks("python") if f"import {library}" in b.split("\n")[0])
    monkeypatch.chdir(user_folder)
    exec(compile(source, "README", "exec"), {"__name__": "__main__"})
    assert re.search(r"\b20\b|input_dim", capsys.readouterr().out)


def test_every_file_the_readme_links_to_exists():
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / target.partition("#")[0]).exists(), target


def test_every_command_of_the_readme_is_understood(folder):
    from lawsweep.cli.main import cli
    from lawsweep.config.compose import load_sweep

    for line in "\n".join(blocks("console")).splitlines():
        words = line.removeprefix("$ ").split("#")[0].replace("'", "").split()
        if words[:1] != ["lawsweep"] or words[1] in ("doctor", "show"):
            continue
        assert words[1] in cli.list_commands(None)
        if words[1] in ("sql", "init", "new", "list", "describe"):  # of no sweep that is there
            continue
        # An option takes the word after it.
        pairs = itertools.pairwise(["", *words[2:]])
        plain = [w for before, w in pairs if not (w.startswith("-") or before.startswith("-"))]
        sweep, *overrides = plain
        assert load_sweep(sweep, *overrides).plan().n_points > 0
