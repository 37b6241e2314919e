"""The page on kernels runs as it stands, from top to bottom, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lawsweep.kernels
from lawsweep.kernels import smallest_eigenvalue

PAGE = (Path(__file__).parent.parent / "docs" / "kernels.md").read_text(encoding="utf-8")


def test_the_examples_run(capsys):
    said = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, said)
    assert said["found"].reason == "numerically_singular"
    assert not said["found"].converged
    value = smallest_eigenvalue(said["gram"], start=said["rng"]).throw().value
    assert value == pytest.approx(float(lawsweep.kernels.spectrum(said["gram"])[0]), rel=1e-9)
    assert said["ends"].converged.any()
    assert said["fitted"].best_loss < 1e-20 < said["trained"].final_loss[0]
    assert said["small"].v.shape == (4, 8)
    told = capsys.readouterr().out
    assert "MinEigenvalue ended with numerically_singular: lambda_min lies at" in told


def test_every_public_name_stands_on_the_page():
    table = PAGE[: PAGE.index("```python")]
    assert {*re.findall(r"`(\w+)`", table)} == {*lawsweep.kernels.__all__}
