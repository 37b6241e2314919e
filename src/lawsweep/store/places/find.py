"""Where the store may be: a path, or a URL of an object store."""

from __future__ import annotations

from pathlib import Path

from lawsweep.store.places import files
from lawsweep.store.places.folder import Folder
from lawsweep.store.places.local import LocalFolder


def open_folder(where: str | Path | Folder) -> Folder:
    """The folder at a path, or at ``s3://bucket/prefix?...`` or ``gs://bucket/prefix?...``.

    Nothing is contacted before the folder is used.  Raises StoreError for another kind of URL and
    for options that are not known.
    """
    if isinstance(where, Folder):
        return where
    if "://" in str(where):
        # pyarrow's object stores take a while to load.
        from lawsweep.store.places.objects import ObjectFolder

        return ObjectFolder.parse(str(where))
    return LocalFolder(Path(where))


def write_file(where: str | Path, data: bytes) -> None:
    """Write one file at a path or URL, whole and durable.  Raises StoreError."""
    if "://" not in str(where):
        files.write_atomic(Path(where), data)
        return
    place, mark, options = str(where).partition("?")
    folder, _, name = place.rpartition("/")
    open_folder(f"{folder}{mark}{options}").write(name, data)
