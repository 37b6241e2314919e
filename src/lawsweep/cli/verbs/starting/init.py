"""``lawsweep init``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lawsweep.cli.answers import Answer, verb


@dataclass
class Begun(Answer):
    """A project that was written."""

    folder: Path
    files: list[Path]

    def lines(self) -> Iterator[str]:
        """Its files, and what to type next."""
        for path in self.files:
            yield f"wrote {path}"
        yield f"next: cd {self.folder} && lawsweep run covariance"

    def to_dict(self) -> dict[str, Any]:
        """``folder`` and ``files``."""
        return {"folder": str(self.folder), "files": [str(p) for p in self.files]}


@verb(10, short_help="A small project of your own that runs at once.")
@click.argument("name")
def init(name: str) -> Begun:
    """Write a small project into the new folder NAME: an experiment, a sweep of it, its conf.

    It runs as it is, in seconds; change it into your own.
    """
    from lawsweep.config.project.beginnings import begin_project

    folder = Path(name)
    return Begun(folder, begin_project(folder))
