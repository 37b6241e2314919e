"""How the code that made rows differs from today's: the kept source against the files of now."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lawsweep.core.code.source import meaning
from lawsweep.core.errors import StoreError
from lawsweep.core.secrets import hide
from lawsweep.study.code.rows import CodeThen, cannot_compare, code_of_rows, some_files
from lawsweep.study.opening import Opened


@dataclass(frozen=True)
class OneCode:
    """One code that made rows: how many, in which launches, and what is otherwise today.

    ``accepted``: when it was declared the same, None where it was not.  ``diff`` has the lines of a
    unified diff; ``missing`` says why there is none.
    """

    digest: str
    n_rows: int
    launches: tuple[str, ...]
    files: tuple[str, ...]
    accepted: str | None
    diff: tuple[str, ...]
    missing: str | None

    def lines(self) -> Iterator[str]:
        """Whose rows, then the diff."""
        first, *others = self.launches
        span = f"launch {first}" + (f" and {len(others)} more" if others else "")
        said = f", accepted {self.accepted}" if self.accepted else ""
        changed = some_files(self.files)
        yield f"{self.n_rows:,} rows by code {self.digest[:8]} ({span}{said}): {changed} changed"
        if self.missing is not None:
            yield f"no diff of it: {self.missing}"
        yield from self.diff


@dataclass(frozen=True)
class CodeDiff:
    """The codes other than today's that made rows of a sweep, those of most rows first."""

    sweep: str
    experiment: str
    n_rows: int
    codes: tuple[OneCode, ...]
    unknown: str | None
    n_unknown: int

    def lines(self) -> Iterator[str]:
        """Each code with its diff, and what is not known."""
        left = self.n_rows - self.n_unknown
        for n, code in enumerate(self.codes):
            yield from ("",) if n else ()
            yield from code.lines()
        if not self.codes and left:
            yield f"{left:,} rows were made by today's code of {self.experiment}"
        if not self.n_rows:
            yield f"{self.sweep} has no rows yet"
        if self.unknown is not None:
            yield self.unknown

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "sweep": self.sweep,
            "experiment": self.experiment,
            "rows": self.n_rows,
            "unknown": self.n_unknown,
            "codes": [
                {
                    "digest": c.digest,
                    "rows": c.n_rows,
                    "launches": list(c.launches),
                    "files": list(c.files),
                    "accepted": c.accepted,
                    "diff": "\n".join(c.diff),
                    "missing": c.missing,
                }
                for c in self.codes
            ],
        }


def diff(opened: Opened) -> CodeDiff:
    """See ``Study.diff``."""
    from lawsweep.store.sweeps.kept_code import kept_places, read_kept

    found, experiment = code_of_rows(opened), opened.plan.experiment
    places = kept_places(opened.sweep.results) if found.others else {}
    codes = []
    for other in found.others:
        lines: tuple[str, ...] = ()
        missing = None
        try:
            lines = tuple(hide(line) for line in _lines(read_kept(other.digest, places), other))
        except StoreError as error:
            missing = str(error)
        said = None if other.accepted is None else other.accepted.at
        codes.append(
            OneCode(
                other.digest, len(other.places), other.launches, other.files, said, lines, missing
            )
        )
    unknown = found.unknown()
    if found.n_of and (why := cannot_compare(opened)) is not None:
        unknown = f"nothing can be compared: {why}"
    return CodeDiff(
        opened.sweep.name, experiment.name, found.n_of, tuple(codes), unknown, found.n_unknown
    )


def _lines(then: Mapping[str, bytes], other: CodeThen) -> Iterator[str]:
    """A unified diff of the files that say something else, from what made the rows to today's."""
    now = other.now.files
    for name in sorted({*then, *now}):
        before, after = then.get(name), now.get(name)
        if before is not None and after is not None and meaning(before) == meaning(after):
            continue
        texts = [_text(data) for data in (before, after)]
        if None in texts:
            yield f"binary file {name} differs"
            continue
        a, b = (text.splitlines() for text in texts if text is not None)
        old = "/dev/null" if before is None else f"{name}  (code {other.digest[:8]})"
        new = "/dev/null" if after is None else f"{name}  (today)"
        yield from difflib.unified_diff(a, b, old, new, lineterm="")


def _text(data: bytes | None) -> str | None:
    """None for what is no text (a compiled module)."""
    if data is None:
        return ""
    if b"\0" in data:
        return None
    return data.decode("utf-8", "replace")
