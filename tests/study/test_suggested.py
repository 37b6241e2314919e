"""Commands that are suggested work when they are pasted, wherever sweep and results are."""

from __future__ import annotations

import importlib
import shlex
import sys

from command_fixtures import lawsweep  # noqa: F401

from lawsweep import load_sweep
from lawsweep import open as open_study

CODE = "def f(n: int, seed: int = 0) -> dict:\n    return {'y': 2 * n}\n"
SWEEP = "experiment: erring.py:f\naxes: {n: [1, 2]}\nexecutor: {kind: serial}\n"


def test_rows_of_other_code_are_settled_where_the_sweep_was_given_by_its_path(lawsweep, folder):  # noqa: F811
    (folder / "erring.py").write_text(CODE)
    (folder / "a b").mkdir()
    (folder / "a b/other.yaml").write_text(SWEEP)
    words = ["a b/other.yaml", "params.n=1,2", "results_dir=r 2"]
    try:
        assert lawsweep("run", *words)[0] == 0
        (folder / "erring.py").write_text(CODE.replace("2 * n", "3 * n"))
        sys.modules.pop("erring")
        importlib.invalidate_caches()
        note = lawsweep("status", *words)[2]
        commands = [shlex.split(c) for c in note.split("`")[1::2]]
        assert [c[:2] for c in commands] == [["lawsweep", "diff"], ["lawsweep", "run"]]
        assert "-    return {'y': 2 * n}" in lawsweep(*commands[0][1:])[1]
        assert "accepted: 2 rows" in lawsweep(*commands[1][1:])[1]
        page = open_study(load_sweep(*words)).report().read_text()
        assert "lawsweep run &#x27;a b/other.yaml&#x27; params.n=1,2 &#x27;results_dir=r 2" in page
    finally:
        sys.modules.pop("erring", None)


def test_the_run_to_look_at_is_found_in_another_results_folder(lawsweep, folder):  # noqa: F811
    (folder / "failing.py").write_text(CODE.replace("return", "raise ValueError(n) #"))
    words = ("failing.py:f", "params.n=1", "results_dir=r 2", "executor=serial")
    code, out, _ = lawsweep("run", *words)
    assert code == 3
    (command,) = [line.partition("(lawsweep ")[2] for line in out.splitlines() if "(law" in line]
    code, out, _ = lawsweep(*shlex.split(command.rstrip(")")))
    assert (code, "ValueError: 1" in out) == (0, True)
