"""``lawsweep list``."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import results_dir
from lawsweep.core.outcome import FAILURES

if TYPE_CHECKING:
    from lawsweep.config.project.catalogue import Entry
    from lawsweep.grid.sweep import Sweep
    from lawsweep.study.progress import Status

_WIDTH = 100


@dataclass(frozen=True)
class State:
    """How far a sweep is under some overrides; ``problem`` says why that is not known."""

    words: tuple[str, ...]
    done: int | None
    planned: int
    problem: str = ""
    failed: int = 0

    def line(self) -> str:
        """As a person reads it: the words to ask with, and how much is there."""
        if self.problem:
            return f"{shlex.join(self.words)}: {self.problem}"
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{shlex.join(self.words)}: {self.done:,} of {self.planned:,} runs{failed}"


@dataclass
class Catalogue(Answer):
    """The sweeps there are, what each asks, and how far those are that have results."""

    entries: list[Entry]
    states: dict[str, list[State]]
    others: list[State]  # of functions, programs and applications without a sweep file
    experiments: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """A sweep, its question and its results; the folder's own sweeps first."""
        from lawsweep.config.project.catalogue import first_sentence

        titles = {False: "Sweeps of this folder:", True: "Sweeps that come with lawsweep:"}
        width = max((len(e.name) for e in self.entries), default=0)
        before = None
        for one in self.entries:
            if one.comes_with_us != before:
                yield titles[one.comes_with_us]
                before = one.comes_with_us
            said = one.problem or first_sentence(one.question) or f"a sweep of {one.experiment}"
            presets = f" (presets: {', '.join(one.presets)})" if one.presets else ""
            first, *rest = _wrapped(said + presets, _WIDTH - width - 4)
            yield f"  {one.name:<{width}}  {first}"
            yield from (f"  {'':<{width}}  {line}" for line in rest)
            for state in self.states.get(one.name, []):
                yield f"  {'':<{width}}  - {state.line()}"
        if self.others:
            yield "Others with results here:"
            yield from (f"  {state.line()}" for state in self.others)
        yield f"Experiments: {', '.join(self.experiments)} (lawsweep describe NAME)"

    def to_dict(self) -> dict[str, Any]:
        """``sweeps`` and ``experiments``."""
        return {
            "sweeps": [
                {
                    "name": e.name,
                    "path": str(e.path),
                    "comes_with_lawsweep": e.comes_with_us,
                    "question": e.question,
                    "experiment": e.experiment,
                    "presets": list(e.presets),
                    "problem": e.problem,
                    "states": [_plain(s) for s in self.states.get(e.name, [])],
                }
                for e in self.entries
            ],
            "others": [_plain(s) for s in self.others],
            "experiments": list(self.experiments),
        }  # fmt: skip


def _plain(state: State) -> dict[str, Any]:
    return {"words": list(state.words), "done": state.done, "planned": state.planned,
            "failed": state.failed, "problem": state.problem}  # fmt: skip


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


@verb(30, short_help="The sweeps there are, what each asks, and how far it is.", only_prints=True)
@click.argument("overrides", nargs=-1)
def list_(overrides: tuple[str, ...]) -> Catalogue:
    """The sweeps there are, what each asks, and how far those with results are.

    A line for each question that was asked of a sweep (as its file stands, and under presets and
    other overrides).  The only override is results_dir=...
    """
    from lawsweep.config.project.catalogue import entries
    from lawsweep.core.registry import experiment_names

    place = results_dir(overrides)
    found = entries()
    states = {e.name: _states(e, place, overrides) for e in found if not e.problem}
    others = _others({e.name for e in found}, place, overrides)
    return Catalogue(found, states, others, experiment_names())


def _states(one: Entry, place: str, overrides: tuple[str, ...]) -> list[State]:
    """How far the sweep is, for each of its folders under ``place``."""
    from lawsweep.config.compose import load_sweep
    from lawsweep.core.errors import LawsweepError
    from lawsweep.store.places.find import open_folder
    from lawsweep.study.questions import variants

    folders = (open_folder(place) / "sweeps").folders()
    if not any(f"{name}-".startswith(f"{one.name}-") for name in folders):
        return []
    try:
        plain = load_sweep(one.name, *overrides)
        asked: list[tuple[str, ...]] = [v.overrides for v in variants(plain)]
        if plain.folder_name in folders:
            asked.insert(0, ())
    except LawsweepError as error:
        return [State((one.name, *overrides), None, 0, str(error))]
    return [_state(one.name, words, plain, overrides) for words in asked]


def _state(name: str, asked: tuple[str, ...], plain: Sweep, overrides: tuple[str, ...]) -> State:
    from lawsweep.config.compose import load_sweep
    from lawsweep.core.errors import LawsweepError
    from lawsweep.study.study import Study

    elsewhere = [o for o in overrides if o not in asked]
    words = (name, *asked, *elsewhere)
    try:
        sweep = load_sweep(name, *asked, *elsewhere) if asked else plain
        status = Study(sweep).status()
    except LawsweepError as error:
        return State(words, None, 0, str(error))
    return _of(words, status)


def _of(words: tuple[str, ...], status: Status) -> State:
    failed = sum(status.statuses.get(s, 0) for s in FAILURES)
    done = status.planned - status.missing - failed
    return State(words, done, status.planned, failed=failed)


def _others(named: set[str], place: str, overrides: tuple[str, ...]) -> list[State]:
    """How far the studies under ``place`` are that belong to no sweep file."""
    from lawsweep.config.compose import load_sweep
    from lawsweep.core.errors import LawsweepError
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.sweeps.sweep_folder import SweepFolder
    from lawsweep.study.study import Study

    sweeps, found = open_folder(place) / "sweeps", []
    for folder in sweeps.folders():
        said = SweepFolder(sweeps / folder).question() or {}
        name, planned = str(said.get("sweep") or ""), said.get("n_planned")
        if name in named or not name or not isinstance(planned, int):
            continue
        file, given = str(said.get("file") or ""), said.get("overrides")
        asked = tuple(map(str, given)) if isinstance(given, list) else ()
        words = (file if ":" in file else name, *asked, *(o for o in overrides if o not in asked))
        try:
            status = Study(load_sweep(*words)).status()
            found.append(_of(words, status))
        except LawsweepError as error:
            found.append(State(words, None, planned, f"{planned:,} planned; {error}"))
    return found
