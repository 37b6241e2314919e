"""Promises about the house that a linter cannot hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lawsweep

HEAVY = ("torch", "ray", "hydra", "omegaconf", "pyarrow", "pandas", "scipy", "matplotlib")


def loaded_by(statement):
    code = f"{statement}\nimport sys\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import lawsweep", ()),
        ("from lawsweep import experiment, Field, Cost, stream, Sweep", ()),
        ("import lawsweep.grid.plan, lawsweep.grid.sweep, lawsweep.launch.loop", ()),
        ("from lawsweep.experiments import ntk_min_eig, compression, memorization", ()),
        ("import lawsweep.cli.main; lawsweep.cli.main.sections()", ()),
        ("import lawsweep.store.table.parquet", ("pyarrow", "pandas")),
        ("import lawsweep.executors.make", ()),
        (
            "import lawsweep; lawsweep.open('ntk_width').preview()",
            ("hydra", "omegaconf", "pyarrow", "pandas"),
        ),
    ],
)
def test_heavy_imports_are_local(statement, allowed):
    heavy = loaded_by(statement) & set(HEAVY)
    assert heavy <= set(allowed)


def test_public_names_exist():
    for name in lawsweep.__all__:
        assert getattr(lawsweep, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lawsweep.nothing  # noqa: B018
    assert "run" in dir(lawsweep)


SOURCE = Path(lawsweep.__file__).parent


def test_a_folder_shows_what_a_person_takes_in_at_a_glance():
    """About 15 files a folder, and files about one thing; the exceptions are named here."""
    rooms = {p.parent for p in SOURCE.rglob("*.py") if "_data" not in p.parts}
    crowded = {
        str(r.relative_to(SOURCE)): n for r in rooms if (n := len(list(r.glob("*.py")))) > 19
    }
    assert crowded == {}
    long = {
        str(p.relative_to(SOURCE)): n
        for p in SOURCE.rglob("*.py")
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > 340
    }
    assert long == {}


def test_no_module_hides_behind_an_underscore():
    hidden = [p for p in SOURCE.rglob("_*.py") if p.name not in ("__init__.py", "__main__.py")]
    assert hidden == []
