"""``lawsweep diff``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import load, sweep_arguments

if TYPE_CHECKING:
    from lawsweep.study.code.differing import CodeDiff


@dataclass
class Differing(Answer):
    """How the code that made rows differs from today's."""

    found: CodeDiff

    def lines(self) -> Iterator[str]:
        """A unified diff for each code."""
        return self.found.lines()

    def to_dict(self) -> dict[str, Any]:
        """``rows``, ``unknown``, and ``codes`` with the diff of each."""
        return self.found.to_dict()


@verb(65, short_help="The code that made rows against today's: a unified diff.", only_prints=True)
@sweep_arguments
def diff(sweep: str, overrides: tuple[str, ...]) -> Differing:
    """How the code that made rows differs from today's: a unified diff for each such code.

    From the source that the launches kept to the files as they are now.  Comments, blank lines and
    docstrings alone are no difference.  `lawsweep run SWEEP --accept` declares it the same,
    --recompute runs such rows again.  Exit code 0 whatever is found.
    """
    from lawsweep.study.study import Study

    return Differing(Study(load(sweep, overrides)).diff())
