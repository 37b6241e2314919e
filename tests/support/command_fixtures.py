from __future__ import annotations

import textwrap

import pytest

from lawsweep.cli.main import run_command


@pytest.fixture
def write(folder):
    """Write a sweep file of dedented YAML under ``sweeps/``."""

    def write_sweep(name, text):
        path = folder / "sweeps" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write_sweep


@pytest.fixture
def lawsweep(folder, capsys):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def run(*words):
        code = run_command(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def toy_sweep(write):
    return write(
        "toys",
        """
        experiment: toys:toy
        axes: {n: [10, 20, 40, 80]}
        seeds: 2
        executor: serial
        fits: [{law: power, x: n, y: y}]
        figures: [{kind: curve, x: n, y: y, band: sd, formats: [svg]}]
        presets:
          big: {axes: {n: [100, 200]}, seeds: 3}
          own: {executor: ray_local}
        """,
    )
