"""What the package says of itself agrees, and what a wheel is to hold is named and there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

import lawsweep

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_versions_agree():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == PROJECT["project"]["version"] == lawsweep.__version__
    assert cited["license"] == PROJECT["project"]["license"]
    assert f"## {lawsweep.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_what_the_wheel_holds_is_there():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    for place in (*wheel["packages"], *wheel["force-include"]):
        assert any((ROOT / place).iterdir()), place
    assert (ROOT / "src/lawsweep/py.typed").exists()


def test_every_dependency_has_a_reason_and_a_pin():
    text = (ROOT / "pyproject.toml").read_text()
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    extras = PROJECT["project"]["optional-dependencies"].values()
    for wanted in (*PROJECT["project"]["dependencies"], *(w for extra in extras for w in extra)):
        (line,) = {ln.strip() for ln in text.splitlines() if f'"{wanted}"' in ln}
        assert "#" in line or wanted.startswith("lawsweep"), f"no reason for {wanted}"
        name = wanted.split("[")[0].split(">")[0].split("=")[0].lower().replace("_", "-")
        assert name.startswith("lawsweep") or f"{name}==" in pins, f"no pin for {name}"
