"""Codes that a person declared the same for a sweep: a file each time in ``accepted/``.

Each declaration is a file of its own under a name that nobody else takes, so that two at once lose
nothing, and none is ever changed.  Codes are the same that a chain of declarations connects.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lawsweep.core.errors import StoreError
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.records import MOST_RECORD, parse_record

FOLDER = "accepted"
_PAIR = 2  # the digest of then, and that of the day


@dataclass(frozen=True)
class Acceptance:
    """One declaration: when, and which pairs of digests (then, and on that day) it connects."""

    at: str
    pairs: tuple[tuple[str, str], ...]

    @property
    def digests(self) -> frozenset[str]:
        """All digests that it names."""
        return frozenset(d for pair in self.pairs for d in pair)


@dataclass(frozen=True)
class Accepted:
    """All declarations of a sweep, earliest first."""

    each: Sequence[Acceptance] = ()

    def same(self, then: str, now: str) -> Acceptance | None:
        """The latest declaration of the chain that makes two codes the same; None without one."""
        ways: dict[str, list[tuple[str, Acceptance]]] = {}
        for one in self.each:
            for a, b in one.pairs:
                ways.setdefault(a, []).append((b, one))
                ways.setdefault(b, []).append((a, one))
        reached: dict[str, Acceptance | None] = {then: None}
        queue = [then]
        while queue:
            digest = queue.pop(0)
            if digest == now:
                return reached[digest]
            for other, one in ways.get(digest, ()):
                if other not in reached:
                    so_far = reached[digest]
                    later = one if so_far is None or one.at > so_far.at else so_far
                    reached[other] = later
                    queue.append(other)
        return None


def read_accepted(sweep: Path | str | Folder) -> Accepted:
    """The declarations in a sweep's folder; what cannot be read declares nothing."""
    folder = open_folder(sweep) / FOLDER
    found = []
    for name in folder.names():
        if not name.endswith(".json"):
            continue
        try:
            record = parse_record(folder.read(name, most=MOST_RECORD, follow=False))
        except (OSError, ValueError, StoreError):
            continue
        if pairs := pairs_in(record):
            found.append(Acceptance(str(record.get("accepted_at") or "?"), pairs))
    return Accepted(tuple(sorted(found, key=lambda one: one.at)))


def pairs_in(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The pairs of digests that a declaration names."""
    said = record.get("pairs")
    return tuple(
        (pair[0], pair[1])
        for pair in (said if isinstance(said, list) else ())
        if isinstance(pair, list) and len(pair) == _PAIR and all(isinstance(d, str) for d in pair)
    )


def write_accepted(
    sweep: Path | str | Folder, pairs: Iterable[tuple[str, str]], facts: Mapping[str, Any]
) -> str:
    """Declare codes the same, durably; the name of the file, ``accepted/<when>.json``."""
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.json"
    record = {
        "accepted_at": now.isoformat(),
        "pairs": [list(pair) for pair in pairs],
        **facts,
    }
    (open_folder(sweep) / FOLDER).write(name, json.dumps(record, indent=1, default=str).encode())
    return f"{FOLDER}/{name}"
