"""Is an archive what it was when it was written?

Nothing in it is trusted before its hash agrees: names may lead anywhere, sizes may lie, members
may be links, pipes or bombs.  Each file is streamed, and what is wrong with one is a finding.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO

from lawsweep.core.errors import StoreError

MANIFEST = "MANIFEST.sha256"
MOST_MANIFEST = 2**27  # bytes: a million files
MOST_UNPACKED = 2**30  # bytes of a file that unpacks to more than RATIO times its size
RATIO = 100
_CHUNK = 2**20
_RECORD = re.compile(r"results/sweeps/[^/]+/launches/[^/]+\.json\Z")
_LINE = re.compile(r"([0-9a-f]{64})  (.+)\Z")
# What zipfile and the decompressors raise for bytes that are not what they expect.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, OverflowError,
    NotImplementedError, RuntimeError, IndexError, KeyError,
)  # fmt: skip

Opener = Callable[[], IO[bytes]]
Finding = tuple[str, str]


class _NoArchiveError(Exception):
    """It cannot be read as an archive at all; the message says why."""


def is_archive(name: str) -> bool:
    """Whether ``name`` is a zip, or a folder with a manifest."""
    return name.endswith(".zip") or (Path(name) / MANIFEST).is_file()


def verify_archive(path: str | Path) -> list[Finding]:
    """What is wrong with an archive: (file, reason) pairs; empty when every hash agrees.

    Of an archive that is a folder, what lies beside ``results`` is nobody's business but its
    owner's.  Raises StoreError when it cannot be read as an archive at all.
    """
    place = Path(path)
    try:
        if place.suffix == ".zip":
            return _verify_zip(place)
        return _verify_folder(place)
    except (_NoArchiveError, *_BROKEN) as error:
        reason = getattr(error, "strerror", None) or str(error).strip("'\"") or type(error).__name__
        raise StoreError(
            f"Cannot read the archive {place}: {shown(reason)}. Get it again."
        ) from None


def shown(text: str) -> str:
    """``text`` without what a terminal would obey or could not write."""
    printable = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(printable).encode("utf-8", "backslashreplace").decode()


def _verify_folder(place: Path) -> list[Finding]:
    listed, refused = _listed(_read_start(lambda: _open_file(place / MANIFEST)))
    there: dict[str, Opener] = {}
    for name, entry in _walk(place, ""):
        # Work beside the results (a second results folder, a table of one's own) is no damage.
        if name in listed or name.startswith("results/"):
            if entry.is_file(follow_symlinks=False):
                there[name] = partial(_open_file, Path(entry.path))
            else:
                refused[name] = "is a link or device, and no file of an archive is"
    return _differences(listed, there, refused)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below, by its name in the archive.  Links are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry


def _open_file(path: Path) -> IO[bytes]:
    """A regular file that is no link, opened so that no pipe can make us wait."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("it is not a regular file")
    return os.fdopen(handle, "rb")


def _verify_zip(path: Path) -> list[Finding]:
    if not stat.S_ISREG(path.stat().st_mode):
        raise _NoArchiveError("it is not a regular file")
    with zipfile.ZipFile(path) as file:
        members = [m for m in file.infolist() if not (m.is_dir() and m.file_size == 0)]
        if sum(m.compress_size for m in members) > path.stat().st_size:
            raise _NoArchiveError("its members overlap, or claim more than there is")
        tops = {m.filename.removesuffix(MANIFEST) for m in members if _is_manifest(m.filename)}
        if len(tops) != 1:
            raise _NoArchiveError(f"it has {'several' if tops else 'no'} {MANIFEST}")
        (top,) = tops
        manifest = file.getinfo(top + MANIFEST)
        if wrong := _wrong_member(manifest, top):
            raise _NoArchiveError(f"its {MANIFEST} {wrong}")
        listed, refused = _listed(_read_start(lambda: file.open(manifest)))
        there: dict[str, Opener] = {}
        counts = Counter(m.filename for m in members)
        for member in members:
            name = member.filename.removeprefix(top)
            if wrong := _wrong_member(member, top):
                refused[name] = wrong
            elif counts[member.filename] > 1:
                refused[name] = f"is in the archive {counts[member.filename]} times"
            else:
                there[name] = partial(file.open, member)
        return _differences(listed, there, refused)


def _is_manifest(name: str) -> bool:
    """Whether a member is the manifest of the one folder that an archive is, or of none."""
    return name.rpartition("/")[2] == MANIFEST and name.count("/") <= 1


def _wrong_member(member: zipfile.ZipInfo, top: str) -> str | None:
    """Why a member is none that an archive has; None for a plain file in its folder."""
    name, mode = member.filename, member.external_attr >> 16
    if not name.startswith(top) or _leads_out(name) or member.orig_filename != name:
        return "lies outside the archive's folder"
    if member.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        return "is a folder or link, and no file of an archive is"
    if member.flag_bits & 0x41:
        return "is encrypted"
    if member.file_size > MOST_UNPACKED and member.file_size > RATIO * member.compress_size:
        return f"would unpack {member.compress_size:,} bytes to {member.file_size:,}"
    return None


def _leads_out(name: str) -> bool:
    """Whether a name, taken as a path, may be outside the folder that it is given in."""
    parts = re.split(r"[/\\]", name)
    return name.startswith(("/", "\\")) or ":" in parts[0] or bool({"", ".", ".."} & set(parts))


def _read_start(open_: Opener) -> bytes:
    with open_() as file:
        data = file.read(MOST_MANIFEST + 1)
    if len(data) > MOST_MANIFEST:
        raise _NoArchiveError(f"its {MANIFEST} has more than {MOST_MANIFEST:,} bytes")
    return data


def _listed(manifest: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Name to hash; and name to what is wrong with its line in the manifest."""
    lines = [_LINE.match(line) for line in manifest.decode().split("\n")[:-1]]
    matches = [m for m in lines if m]
    if len(matches) != len(lines) or not manifest.endswith(b"\n"):
        raise _NoArchiveError(f"its {MANIFEST} is not one")
    counts = Counter(m[2] for m in matches)
    refused = {n: f"is in the manifest {k} times" for n, k in counts.items() if k > 1}
    refused |= {n: "in the manifest, lies outside the archive" for n in counts if _leads_out(n)}
    return {m[2]: m[1] for m in matches if m[2] not in refused}, refused


def _hash(open_: Opener) -> str:
    """The sha256 of a file, read piece by piece; "damaged" when it cannot be read."""
    found = hashlib.sha256()
    try:
        with open_() as file:
            while piece := file.read(_CHUNK):
                found.update(piece)
    except _BROKEN:
        return "damaged"
    return found.hexdigest()


def _differences(
    listed: Mapping[str, str], there: Mapping[str, Opener], refused: Mapping[str, str]
) -> list[Finding]:
    """All that is wrong; what is ``refused`` already is not looked at."""
    there = {n: d for n, d in there.items() if n != MANIFEST and n not in refused}
    listed = {n: d for n, d in listed.items() if n not in refused}
    found = [*refused.items(), *((n, "missing") for n in listed if n not in there)]
    found += [(n, "not in the manifest") for n in there if n not in listed]
    found += [
        (n, "its content was changed")
        for n, expected in listed.items()
        if n in there and _hash(there[n]) != expected
    ]
    wrong = {name for name, _ in found}
    whole = {n: open_ for n, open_ in there.items() if n in listed and n not in wrong}
    found += _without_code(whole)
    return sorted((shown(name), reason) for name, reason in found)


def _without_code(whole: Mapping[str, Opener]) -> Iterator[Finding]:
    """Launches whose record, a file that is ``whole``, names a code that is not in the archive."""
    from lawsweep.store.sweeps.records import MOST_RECORD, parse_record
    from lawsweep.store.sweeps.sweep_folder import source_name

    for name, open_ in whole.items():
        if not _RECORD.match(name):
            continue
        try:
            with open_() as file:
                code = parse_record(file.read(MOST_RECORD)).get("code")
        except _BROKEN:
            continue
        digest = code.get("digest") if isinstance(code, dict) else None
        kept = f"{name.rpartition('/')[0]}/{source_name(str(digest))}"
        if isinstance(digest, str) and kept not in whole:
            yield kept, f"missing: the code of {name.rpartition('/')[2]}"
