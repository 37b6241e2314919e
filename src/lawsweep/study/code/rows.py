"""Rows that other code made: found by the code that each launch recorded, and how that is settled.

A row of other code counts as done.  A person who has seen the difference (``differing``)
declares it the same (``accept``), or has the rows run again (``recomputing``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.core.code.source import OtherCode, Source, named_in
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.experiment import Experiment
from lawsweep.study.opening import Opened
from lawsweep.study.questions import claim, open_own_folder

if TYPE_CHECKING:
    from lawsweep.store.sweeps.accepted import Acceptance

SHOWN = 4  # files that a sentence names


@dataclass(frozen=True)
class CodeThen:
    """Rows of a sweep that one code other than today's made.

    ``files`` say something else since; ``now`` is today's code as it is compared with it;
    ``places`` are those of the runs in the plan; ``accepted``: since when it counts as the same.
    """

    digest: str
    launches: tuple[str, ...]
    places: tuple[int, ...]
    files: tuple[str, ...]
    now: Source
    accepted: Acceptance | None


@dataclass(frozen=True)
class CodeOfRows:
    """Which code made the rows of a sweep, as far as their launches say.

    ``others`` are codes other than today's, those of most rows first; ``n_of`` rows are there, of
    ``n_unknown`` the launch does not say.
    """

    others: tuple[CodeThen, ...]
    n_of: int
    n_unknown: int

    @property
    def open(self) -> tuple[CodeThen, ...]:
        """Those of the others that nobody declared the same."""
        return tuple(o for o in self.others if o.accepted is None)

    @property
    def stale(self) -> list[int]:
        """Places in the plan of the rows that these made."""
        return sorted(place for other in self.open for place in other.places)

    def unknown(self) -> str | None:
        """A sentence on rows of which it is not known; None where there are none."""
        if not self.n_unknown:
            return None
        return (
            f"{self.n_unknown:,} of {self.n_of:,} rows are of launches that do not say which code "
            "ran (older ones, imports)"
        )


@dataclass(frozen=True)
class OtherRows:
    """How many rows of a sweep other code made, and which files say something else since."""

    experiment: str
    version: int
    n_rows: int
    n_of: int
    files: tuple[str, ...]
    hint: str = ""

    def __str__(self) -> str:
        return (
            f"{self.n_rows:,} of {self.n_of:,} rows were made by other code of {self.experiment} "
            f"than today's (changed since: {some_files(self.files)}). They count as done: "
            f"{self.hint}"
        )


def some_files(files: Sequence[str]) -> str:
    """The first few names."""
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(files[:SHOWN]) + more


def code_of_rows(opened: Opened) -> CodeOfRows:
    """Which code made the rows of the sweep.

    Where today's code is not at hand all of them are unknown.  Rows whose launch does not say which
    code it ran (older ones, imports) are unknown, and not other code's.
    """
    keys = opened.known.keys
    ids, launch_of = keys["run_id"].to_pylist(), keys["launch_id"].to_pylist()
    if cannot_compare(opened) is not None:
        return CodeOfRows((), len(ids), len(ids))
    from lawsweep.store.sweeps.accepted import read_accepted
    from lawsweep.store.sweeps.sweep_folder import find_launches

    compare = OtherCode(opened.plan.experiment)
    records = find_launches(opened.sweep.results, set(launch_of) - {None})
    codes = {launch: _code(record) for launch, record in records.items()}
    files = {launch: compare.changed(code) for launch, code in codes.items()}
    known = {launch for launch, changed in files.items() if changed is not None}
    n_unknown = sum(launch not in known for launch in launch_of)
    by_digest: dict[str, list[str]] = {}
    for launch in sorted(known):
        if files[launch]:
            by_digest.setdefault(str(codes[launch]["digest"]), []).append(launch)
    if not by_digest:
        return CodeOfRows((), len(ids), n_unknown)
    place_of = {run_id: i for i, run_id in enumerate(opened.plan.run_ids)}
    made: dict[str, list[int]] = {}
    for run_id, launch in zip(ids, launch_of, strict=True):
        made.setdefault(launch, []).append(place_of[run_id])
    accepted = read_accepted(opened.sweep.folder)
    others = []
    for digest, launches in by_digest.items():
        now = compare.today(named_in(codes[launches[0]]))
        places = sorted(place for launch in launches for place in made[launch])
        others.append(
            CodeThen(
                digest, tuple(launches), tuple(places), files[launches[0]] or (), now,
                accepted.same(digest, now.digest),
            )
        )  # fmt: skip
    others.sort(key=lambda o: (-len(o.places), o.digest))
    return CodeOfRows(tuple(others), len(ids), n_unknown)


def _code(record: Mapping[str, Any]) -> Mapping[str, Any]:
    code = record.get("code")
    return code if isinstance(code, Mapping) else {}


def cannot_compare(opened: Opened) -> str | None:
    """Why today's code is not at hand; None where it is."""
    return getattr(opened.plan.experiment.function, "cannot_run", None)


def other_rows(opened: Opened) -> OtherRows | None:
    """Rows of the sweep that code other than today's made; None where there are none.

    Rows of a code that was declared the same, and those of which it is not known, do not count.
    """
    found = code_of_rows(opened)
    if not found.open:
        return None
    files = tuple(sorted({f for other in found.open for f in other.files}))
    experiment = opened.plan.experiment
    return OtherRows(
        experiment.name, experiment.version, len(found.stale), found.n_of, files, _hint(opened)
    )


def _hint(opened: Opened) -> str:
    """What to do about such rows."""
    words = settle_words(opened)
    again = words["recompute"] if opened.sweep.file is None else "--recompute"
    shows = f"{words['diff']} shows what changed, " if "diff" in words else ""
    return f"{shows}{words['accept']} declares it the same, {again} runs them again"


def settle_words(opened: Opened) -> Mapping[str, str]:
    """What settles the matter, in the words of who has it: commands, or methods of a Study."""
    sweep = opened.sweep
    function = opened.plan.experiment.function
    own: Mapping[str, str] | None = getattr(function, "settled_by", None)
    if own is not None:  # an application's
        return own
    if sweep.file is None:
        return {
            "diff": "study.diff()",
            "accept": "study.accept()",
            "recompute": "study.run(recompute=True)",
        }
    return {
        "diff": f"`lawsweep diff {sweep.typed}`",
        "accept": f"`lawsweep run {sweep.typed} --accept`",
        "recompute": f"`lawsweep run {sweep.typed} --recompute`",
    }


def changed_since(experiment: Experiment | None, launch: Mapping[str, Any] | None) -> str | None:
    """The files that say something else than when a launch ran; None where none does.

    Also where it is not known, or the experiment is not at hand.
    """
    if experiment is None or launch is None or hasattr(experiment.function, "cannot_run"):
        return None
    files = OtherCode(experiment).changed(_code(launch))
    return some_files(files) if files else None


def tell_other_rows(opened: Opened) -> None:
    """Warn of rows that other code made."""
    from lawsweep.store.sweeps.skipping import OtherCodeWarning

    if (found := other_rows(opened)) is not None:
        warnings.warn(str(found), OtherCodeWarning, stacklevel=3)


@dataclass(frozen=True)
class AcceptedNow:
    """What ``accept`` declared the same as today's code: no rows where there was nothing to."""

    n_rows: int
    n_codes: int
    files: tuple[str, ...]
    file: str | None
    unknown: str | None

    def __str__(self) -> str:
        unknown = "" if self.unknown is None else f"; {self.unknown}"
        if self.file is None:
            return f"nothing to accept: no row is known to be of other code than today's{unknown}"
        codes = f"{self.n_codes:,} codes" if self.n_codes > 1 else "one code"
        return (
            f"accepted: {self.n_rows:,} rows by {codes} ({some_files(self.files)}) count as made "
            f"by today's, and are not asked about again ({self.file}){unknown}"
        )


def accept(opened: Opened) -> AcceptedNow:
    """See ``Study.accept``."""
    from lawsweep.store.sweeps.accepted import write_accepted

    if why := cannot_compare(opened):
        raise InvalidValueError(why)
    found = code_of_rows(opened)
    if not found.open:
        return AcceptedNow(0, 0, (), None, found.unknown())
    folder = open_own_folder(opened.sweep, opened.plan)
    claim(folder, opened.sweep, opened.plan)
    for other in found.open:
        folder.write_source(other.now)  # it may come to make no row, and what was accepted is kept
    files = tuple(sorted({f for other in found.open for f in other.files}))
    experiment = opened.plan.experiment
    facts = {
        "experiment": experiment.name,
        "experiment_version": experiment.version,
        "changed": list(files),
        "n_rows": len(found.stale),
    }
    pairs = [(other.digest, other.now.digest) for other in found.open]
    name = write_accepted(folder.folder, pairs, facts)
    return AcceptedNow(
        len(found.stale), len(found.open), files, f"{folder.folder}/{name}", found.unknown()
    )
