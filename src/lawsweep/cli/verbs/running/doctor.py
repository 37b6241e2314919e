"""``lawsweep doctor``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.examination import Check, examine
from lawsweep.cli.options import results_dir


@dataclass
class Examined(Answer):
    """What was looked at, and whether it is well."""

    checks: list[Check]

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """0 where all is well, else that of the worst finding."""
        return max((c.exit_code for c in self.checks if not c.ok), default=0)

    def lines(self) -> Iterator[str]:
        """A line a check."""
        for check in self.checks:
            yield f"{'ok ' if check.ok else 'BAD'}  {check.name:<12} {check.text}"

    def to_dict(self) -> list[dict[str, Any]]:
        """Name, verdict and text of each check."""
        found = [dataclasses.asdict(c) for c in self.checks]
        return [{k: v for k, v in c.items() if k != "exit_code"} for c in found]


@verb(50, short_help="What is installed; can Ray start; is the store writable.", only_prints=True)
@click.argument("overrides", nargs=-1)
@click.option("--no-ray", is_flag=True, help="Do not try to start Ray (it takes some seconds).")
def doctor(overrides: tuple[str, ...], no_ray: bool) -> Examined:
    """What is installed, which devices, can Ray start, is the store writable."""
    return Examined(examine(results_dir(overrides), try_ray=not no_ray))
