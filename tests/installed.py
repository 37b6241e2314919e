"""What a user gets: wheel and sdist are built, and the wheel is tried far from the checkout.

``make package`` runs this (part of ``make test``).  A full installation would download gigabytes of
torch and Ray at every run: the fresh environment gets the wheel alone, and sees the dependencies
that this environment has, though not the checkout that is installed here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pandas
import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
BUILD = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
TOGETHER = 300  # seconds that nothing here takes: what waits for ever fails


def ran(command, cwd, **more):
    """The output of what must succeed, with nothing of the checkout in its environment."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LAWSWEEP"))}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**outer, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOGETHER,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def only(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    ran([*BUILD, "-w", folder, ROOT], folder)
    return only(folder, "*.whl")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    ran([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], ROOT)
    return only(folder, "*.tar.gz")


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The folder ``bin`` of a fresh environment that has the wheel."""
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    ran([*PIP, "--python", python, "install", "--no-deps", "--no-compile", wheel], home)
    places = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    own = only(home, "lib/python*/site-packages")
    # A folder that a .pth file names is searched, and the .pth files in it are not read: the
    # checkout, which one of those names, stays out of sight.
    (own / "dependencies.pth").write_text("\n".join(places))
    found = ran([python, "-c", "import lawsweep; print(lawsweep.__file__)"], home)
    assert Path(found.strip()).is_relative_to(home)
    return home / "bin"


def names_in(archive):
    """Paths in a wheel, without the file that lists the others."""
    with zipfile.ZipFile(archive) as opened:
        return {n for n in opened.namelist() if not n.endswith("/RECORD")}


def files_in(folder):
    """The files that are to be shipped, relative to the folder."""
    found = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return [p.relative_to(folder) for p in found if ".egg-info" not in str(p)]


def test_the_wheel_holds_what_is_promised(wheel):
    held = names_in(wheel)
    wanted = {str(p) for p in files_in(ROOT / "src")}
    for folder in ("conf", "sweeps", "deploy"):
        wanted |= {f"lawsweep/_data/{folder}/{p}" for p in files_in(ROOT / folder)}
    assert len(wanted) > 300
    assert wanted - held == set()
    assert {"lawsweep/py.typed", "hydra_plugins/lawsweep_sweeper.py"} <= held
    assert not [n for n in held if "__pycache__" in n or n.startswith("tests")]


def test_the_sdist_builds_the_same_wheel(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert {"LICENSE", "README.md", "CHANGELOG.md", "tests", "docs"} <= {
        p.name for p in unpacked.iterdir()
    }
    ran([*BUILD, "-w", tmp_path, unpacked], tmp_path)
    again = only(tmp_path, "*.whl")
    assert (again.name, names_in(again)) == (wheel.name, names_in(wheel))
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        differing = [n for n in names_in(wheel) if one.read(n) != other.read(n)]
    assert differing == []


def test_the_first_commands_of_a_user_work(environment, tmp_path):
    command = environment / "lawsweep"
    assert "replay" in ran([command, "--help"], tmp_path)
    ran([command, "init", "demo"], tmp_path)
    project = tmp_path / "demo"
    words = ["covariance", "params.n=200,400", "params.d=2,4", "seeds=2", "executor=serial"]
    assert "8 planned: 8 ok" in ran([command, "run", *words, "fits=[]", "figures=[]"], project)
    listed = json.loads(ran([command, "list", "--json"], project))
    assert {"covariance", "ntk_width"} <= {s["name"] for s in listed["sweeps"]}


APPLICATION = """
import hydra


@hydra.main(version_base=None, config_path=None, config_name=None)
def main(cfg):
    return cfg.n**2


if __name__ == "__main__":
    main()
"""


def test_hydra_finds_the_sweeper(environment, tmp_path):
    (tmp_path / "app.py").write_text(APPLICATION)
    words = ["-m", "hydra/sweeper=lawsweep", "+n=2,3"]
    ran([environment / "python", "app.py", *words], tmp_path)
    parts = (tmp_path / "results" / "tables").rglob("*.parquet")
    values = [v for part in parts for v in pandas.read_parquet(part)["value"]]
    assert sorted(values) == [4.0, 9.0]


SNIPPET = """
from dataclasses import dataclass
from lawsweep import experiment

@dataclass(frozen=True)
class Params:
    n: int = 3

@dataclass(frozen=True)
class Metrics:
    edge: float

@experiment(version=1)
def wigner_edge(params: Params, seed: int) -> Metrics:
    return Metrics(2.0 * params.n)

@experiment
def plain(n: int, rate: float = 0.5) -> float:
    return n * rate

edge: float = wigner_edge(Params(), 0).edge
value: float = plain(3)
reveal_type(wigner_edge(Params(), 0).edge)
wrong: str = plain(3, rate=1.0)
missing = wigner_edge(Params(), 0).egde
"""


def test_types_survive_the_decorator_in_a_user_s_strict_project(environment, tmp_path):
    (tmp_path / "user.py").write_text(SNIPPET)
    # What the snippet does not touch is left out: a minute of another's code.
    (package,) = environment.parent.glob("lib/python*/site-packages/lawsweep")
    apart = [f"lawsweep.{p.name}.*" for p in package.iterdir() if p.is_dir() and p.name != "core"]
    apart += [f"{name}.*" for name in ("numpy", "pandas", "pyarrow", "ray", "torch", "scipy")]
    config = tmp_path / "mypy.ini"
    config.write_text(f"[mypy]\n[mypy-{','.join(apart)}]\nfollow_imports = skip\n")
    words = ["--strict", "--config-file", "mypy.ini", "--python-executable", environment / "python"]
    command = [sys.executable, "-m", "mypy", *words, "user.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=TOGETHER, check=False
    )
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert "Revealed type" in lines[0]
    assert "float" in lines[0]
    assert "Incompatible types in assignment" in lines[1]
    assert '"Metrics" has no attribute "egde"' in lines[2]
    assert len([line for line in lines if line.startswith("error")]) == 2
