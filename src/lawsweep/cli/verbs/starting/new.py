"""``lawsweep new``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lawsweep.cli.answers import Answer, verb
from lawsweep.core.errors import InvalidValueError


@dataclass
class Written(Answer):
    """A sweep file that was written."""

    path: Path
    to_fill_in: bool

    def lines(self) -> Iterator[str]:
        """Its path, and what to type next."""
        yield f"wrote {self.path}"
        first = "fill it in, then: " if self.to_fill_in else "next: "
        yield f"{first}lawsweep plan {self.path.stem}"

    def to_dict(self) -> dict[str, Any]:
        """``path``."""
        return {"path": str(self.path)}


@verb(20, short_help="A sweep of your own: a copy of another, or one to fill in.")
@click.argument("name")
@click.option("--from", "source", metavar="SWEEP", help="Copy this sweep, with its comments.")
@click.option("--experiment", help="One to fill in, of this experiment: its params as comments.")
def new(name: str, source: str | None, experiment: str | None) -> Written:
    """Write sweeps/NAME.yaml: a copy of another sweep, or one of an experiment to fill in."""
    from lawsweep.config.files import find_sweep_file, read_sweep_file
    from lawsweep.config.project.beginnings import begin_sweep, skeleton
    from lawsweep.core.registry import find_experiment

    if (source is None) == (experiment is None):
        raise InvalidValueError(
            "new takes --from SWEEP or --experiment NAME, one of them. `lawsweep list` names both."
        )
    if experiment is not None:
        return Written(begin_sweep(name, skeleton(find_experiment(experiment), experiment)), True)
    path = find_sweep_file(str(source))
    read_sweep_file(path)
    return Written(begin_sweep(name, path.read_text(encoding="utf-8")), False)
