"""Is an archive what it was when it was written?"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

from lawsweep.core.errors import StoreError

MANIFEST = "MANIFEST.sha256"


def is_archive(name: str) -> bool:
    """Whether ``name`` is a zip, or a folder with a manifest."""
    return name.endswith(".zip") or (Path(name) / MANIFEST).is_file()


def verify_archive(path: str | Path) -> list[tuple[str, str]]:
    """What is wrong with an archive: (file, reason) pairs; empty when every hash agrees.

    Raises StoreError when it cannot be read as one at all.
    """
    place = Path(path)
    try:
        if place.suffix == ".zip":
            return _verify_zip(place)
        manifest = (place / MANIFEST).read_bytes()
        # Work beside the results (a second results folder, a table of one's own) is no damage.
        names = [str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()]
        listed = {line[66:] for line in manifest.decode().splitlines()}
        kept = [n for n in names if n in listed or n.startswith("results/")]
        return _differences(manifest, kept, lambda n: _hash(place / n))
    except (OSError, zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip("'\"")
        raise StoreError(f"Cannot read the archive {place}: {reason}. Get it again.") from None


def _verify_zip(path: Path) -> list[tuple[str, str]]:
    with zipfile.ZipFile(path) as file:
        names = [n for n in file.namelist() if not n.endswith("/")]
        found = [n for n in names if n.rpartition("/")[2] == MANIFEST]
        if not found:
            raise KeyError(f"it has no {MANIFEST}")
        top = min(found, key=len).removesuffix(MANIFEST)

        def digest(name: str) -> str:
            try:
                return hashlib.sha256(file.read(top + name)).hexdigest()
            except zipfile.BadZipFile:
                return "damaged"

        inside = [n.removeprefix(top) for n in names if n.startswith(top)]
        return _differences(file.read(top + MANIFEST), inside, digest)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differences(
    manifest: bytes, names: list[str], digest: Callable[[str], str]
) -> list[tuple[str, str]]:
    lines = [line.split("  ", 1) for line in manifest.decode().splitlines()]
    if not all(len(line) == 2 for line in lines):
        raise KeyError(f"its {MANIFEST} is not one")
    listed = {name: expected for expected, name in lines}
    there = set(names) - {MANIFEST}
    found = [(n, "missing") for n in listed if n not in there]
    found += [(n, "not in the manifest") for n in there if n not in listed]
    found += [
        (n, "its content was changed")
        for n, expected in listed.items()
        if n in there and digest(n) != expected
    ]
    return sorted(found)
