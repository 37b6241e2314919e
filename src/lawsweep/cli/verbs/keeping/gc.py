"""``lawsweep gc``."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import results_dir
from lawsweep.cli.text import size

if TYPE_CHECKING:
    from lawsweep.store.upkeep.gc import Rubbish


@dataclass
class Collected(Answer):
    """What dead writers left, and what was removed of it; ``overrides`` as typed."""

    found: Sequence[Rubbish]
    overrides: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """A line a thing, and how to remove what could go."""
        for r in self.found:
            state = "removed" if r.removed else "kept" if r.kept else "could go"
            reason = f"; {r.kept}" if r.kept else ""
            yield f"{state:<8}  {r.kind}: {r.where}: {r.message} ({size(r.n_bytes)}){reason}"
        left = [r for r in self.found if not r.removed and not r.kept]
        if not self.found:
            yield "nothing to remove"
        elif left:
            command = shlex.join(["lawsweep", "gc", *self.overrides, "--delete"])
            yield f"{len(left):,} could go, {size(sum(r.n_bytes for r in left))}: {command}"

    def to_dict(self) -> list[dict[str, Any]]:
        """Every field of each."""
        return [dataclasses.asdict(r) for r in self.found]


@verb(60, short_help="What dead writers left: list it, or remove it.")
@click.argument("overrides", nargs=-1)
@click.option("--delete", is_flag=True, help="Remove what is listed; without it nothing is.")
@click.option("--orphans", is_flag=True, help="List rows of no known sweep too (never removed).")
def gc(overrides: tuple[str, ...], delete: bool, orphans: bool) -> Collected:
    """List what writers that died have left behind; --delete removes it.  Never a row."""
    from lawsweep.tools.keeping import gc as collect

    return Collected(collect(results_dir(overrides), delete=delete, orphans=orphans), overrides)
