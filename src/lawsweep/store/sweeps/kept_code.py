"""The code that launches kept beside their records, read again: nothing of it is ever run."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from lawsweep.core.code.source import Source
from lawsweep.core.errors import StoreError
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.sweep_folder import source_name

MOST_BYTES = 2**28  # of all files of one launch's code together, unpacked
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError,
    RuntimeError, KeyError, StoreError,
)  # fmt: skip


class NoKeptCode(StoreError):  # noqa: N818  (an answer: the rows are there, their code is not)
    """The code of a launch is not kept, or is not what its name says; the message says which."""


def kept_places(results: Path | str | Folder) -> dict[str, list[Folder]]:
    """Where code is kept under ``results``: digest to the folders that have a file of it."""
    sweeps, found = open_folder(results) / "sweeps", dict[str, list[Folder]]()
    for sweep in sweeps.folders():
        launches = sweeps / sweep / "launches"
        for name in launches.names():
            if name.startswith("code-") and name.endswith(".zip"):
                found.setdefault(name[5:-4], []).append(launches)
    return found


def read_kept(digest: str, places: Mapping[str, list[Folder]]) -> dict[str, bytes]:
    """The files of a digest, name to content.  Raises NoKeptCode, with the reason."""
    return unpacked(kept_zip(digest, places))


def kept_zip(digest: str, places: Mapping[str, list[Folder]]) -> bytes:
    """The file in which the source of a digest is kept, whole.  Raises NoKeptCode."""
    name, why = source_name(digest), "is in no folder of launches"
    for folder in places.get(digest, ()):
        try:
            data = folder.read(name, most=MOST_BYTES, follow=False)
            files = unpacked(data)
        except _BROKEN as error:
            why = f"cannot be read from {folder} ({error})"
            continue
        if Source(files).digest == digest:
            return data
        why = f"in {folder} is not what its name says"
    raise NoKeptCode(f"its source is not kept: {name} {why}. Put a copy of it back.")


def unpacked(data: bytes) -> dict[str, bytes]:
    """The files of a zip of code.  Raises ValueError for one that unpacks to too much."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        if sum(i.file_size for i in file.infolist()) > MOST_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_BYTES >> 20} MiB")
        return {i.filename: file.read(i) for i in file.infolist()}
