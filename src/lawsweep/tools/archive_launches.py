"""What an archive has of launches: records, plans, the source of each code that made rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from lawsweep.core.errors import StoreError
from lawsweep.grid.sweep import Sweep
from lawsweep.tools.packing import scrub_launch

if TYPE_CHECKING:
    from lawsweep.store.places.folder import Folder

Entry = tuple[str, bytes]
Records = dict[tuple[str, str], bytes]  # (folder, launch) to record


def find_records(results: Folder, sweep: Sweep, used: list[str]) -> Records:
    """All of this sweep's, and those of others its rows came from (launches ``used``)."""
    from lawsweep.store.sweeps.records import MOST_RECORD

    found = {}
    sweeps = results / "sweeps"
    for name in sweeps.folders():
        launches = sweeps / name / "launches"
        for file in launches.names():
            stem, dot, kind = file.partition(".")
            if dot and kind == "json" and (name == sweep.folder_name or stem in used):
                # Torn, it says nothing.  A link might bring in anything of this machine.
                with suppress(ValueError, StoreError):
                    record = launches.read(file, most=MOST_RECORD, follow=False)
                    found[name, stem] = scrub_launch(record)
    return found


def _home(folder: str, own: Sweep) -> str:
    """A sweep's folder in the archive; its own, resolved, has no overrides: the plain name."""
    return f"results/sweeps/{own.name if folder == own.folder_name else folder}"


def launch_files(
    results: Folder, own: Sweep, launches: Records, notes: list[str]
) -> Iterator[Entry]:
    """Records, plans and code of launches, and what was accepted of the sweep's code."""
    from lawsweep.store.sweeps.sweep_folder import read_plan
    from lawsweep.store.table.parts import SkippedPart, encode

    for (sweep, launch), record in sorted(launches.items()):
        place = f"{_home(sweep, own)}/launches/{launch}"
        yield f"{place}.json", record
        folder = results / "sweeps" / sweep / "launches"
        if f"{launch}.plan.parquet" in folder.names():
            with suppress(SkippedPart, FileNotFoundError):
                yield f"{place}.plan.parquet", encode(read_plan(folder, f"{launch}.plan.parquet"))
    accepted = dict(_accepted(results, own))
    yield from accepted.items()
    codes = _codes(results, own, launches, [*accepted.values()], notes)
    yield from dict(codes).items()  # two folders may hold the same code


def _accepted(results: Folder, own: Sweep) -> Iterator[Entry]:
    """The declarations that codes are the same, as they are."""
    from lawsweep.store.sweeps.accepted import FOLDER
    from lawsweep.store.sweeps.records import MOST_RECORD, parse_record

    folder = results / "sweeps" / own.folder_name / FOLDER
    for name in folder.names():
        if name.endswith(".json"):
            with suppress(ValueError, OSError, StoreError):
                data = folder.read(name, most=MOST_RECORD, follow=False)
                parse_record(data)
                yield f"{_home(own.folder_name, own)}/{FOLDER}/{name}", data


def _codes(
    results: Folder, own: Sweep, launches: Records, accepted: list[bytes], notes: list[str]
) -> Iterator[Entry]:
    """The source of each code that launches ran, or that was accepted; a note where it is not kept.

    It is beside the record of its launch, wherever under ``results`` it was found whole.
    """
    from lawsweep.store.sweeps.accepted import pairs_in
    from lawsweep.store.sweeps.kept_code import NoKeptCode, kept_places, kept_zip
    from lawsweep.store.sweeps.sweep_folder import source_name

    said = {(sweep, _digest_of(record)) for (sweep, _), record in launches.items()}
    pairs = [pair for record in accepted for pair in pairs_in(json.loads(record))]
    said |= {(own.folder_name, digest) for pair in pairs for digest in pair}
    wanted = sorted((sweep, digest) for sweep, digest in said if digest)
    places = kept_places(results) if wanted else {}
    for sweep, digest in wanted:
        try:
            data = kept_zip(digest, places)
        except NoKeptCode as error:
            note = f"the archive lacks the code {digest[:8]} of launches of {sweep}: {error}"
            notes.append(note)
            continue
        yield f"{_home(sweep, own)}/launches/{source_name(digest)}", data


def _digest_of(record: bytes) -> str | None:
    code = json.loads(record).get("code")
    digest = code.get("digest") if isinstance(code, dict) else None
    return digest if isinstance(digest, str) else None
