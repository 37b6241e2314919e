"""The worked notebook runs from top to bottom, in one process and without a kernel."""

from __future__ import annotations

import ast
import itertools
import json
import linecache
from pathlib import Path

import numpy as np
import pytest
from pages import as_it_was

NOTEBOOK = Path(__file__).parents[1] / "docs" / "edge.ipynb"


def execute(source, name, space):
    """A cell, as IPython has it: its source is known, its last expression is what it shows."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    tree = ast.parse(source, name)
    last = tree.body[-1] if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(ast.Module(tree.body[: -1 if last else None], []), name, "exec"), space)
    return eval(compile(ast.Expression(last.value), name, "eval"), space) if last else None


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What each cell of code showed, and the namespace at the end."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(c.get("outputs", []) == [] for c in cells), "strip the outputs of the notebook"
    space, shown = {"__name__": "__main__"}, []
    with as_it_was(tmp_path_factory.mktemp("notebook")):
        for count, cell in zip(itertools.count(1), cells, strict=False):
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                shown.append(execute(source, f"<ipython-input-{count}>", space))
        yield shown, space


def test_the_notebook_runs_and_shows_itself(ran):
    shown, space = ran
    reports = [s for s in shown if hasattr(s, "outcomes") or type(s).__name__ == "RunReport"]
    assert len(reports) == 2
    assert "80" in space["study"]._repr_html_()
    assert len(space["frame"]) == 80
    assert len(space["rows"]) == 160


def test_the_notebook_finds_what_its_words_say(ran):
    shown, _ = ran
    # (2 - top) n^(2/3): means of 40 seeds with their standard errors.  The law's mean is 1.2065,
    # and at n = 160 corrections of order n^(-1/3) remain.
    gap = shown[-2]
    assert abs(gap.loc[160, "mean"] - 1.2065) < 4 * gap.loc[160, "sem"] + 1.2065 * 160 ** (-1 / 3)
    # The share in [-1, 1] of a spectrum fluctuates by O(log n / n) about the semicircle's.
    assert shown[-1] == pytest.approx(1 / 3 + 3**0.5 / (2 * np.pi), abs=5 / 160)
