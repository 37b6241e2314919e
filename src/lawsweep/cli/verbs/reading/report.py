"""``lawsweep report``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.cli.text import typed


@dataclass
class Reported(Answer):
    """Where the page is."""

    path: str

    def lines(self) -> Iterator[str]:
        """One line."""
        yield f"report: {self.path}"

    def to_dict(self) -> dict[str, str]:
        """``path``."""
        return {"path": self.path}


@verb(50)
@sweep_arguments
def report(sweep: str, overrides: tuple[str, ...]) -> Reported:
    """One HTML page: completeness, fits, figures, provenance."""
    from lawsweep.study.study import Study

    return Reported(str(Study(load(sweep, overrides)).report(typed(sweep, overrides))))
