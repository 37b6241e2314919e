"""Where the store may be: a path, or ``scheme://...`` of a place of ours or another package's.

A package adds one by an entry point of the group ``lawsweep.stores``: the scheme is its name, and
it is a callable from a URL to a ``Folder``.  ``lawsweep.contracts.PlaceContract`` has the tests.
"""

from __future__ import annotations

from pathlib import Path

from lawsweep.core import plugins
from lawsweep.core.errors import InvalidValueError, StoreError, UnknownNameError
from lawsweep.store.places import files
from lawsweep.store.places.folder import Folder
from lawsweep.store.places.local import LocalFolder

GROUP = "lawsweep.stores"
# Strings, since pyarrow's object stores take a while to load.
BUILTIN = {
    "s3": "lawsweep.store.places.objects:ObjectFolder.parse",
    "gs": "lawsweep.store.places.objects:ObjectFolder.parse",
}


def open_folder(where: str | Path | Folder) -> Folder:
    """The folder at a path, or at a URL such as ``s3://bucket/prefix?...``.

    Nothing is contacted before the folder is used.  Raises StoreError for another kind of URL,
    and a LawsweepError for options that are not known.
    """
    if isinstance(where, Folder):
        return where
    scheme, is_url, _ = str(where).partition("://")
    if not is_url:
        return LocalFolder(Path(where))
    try:
        opens = plugins.load(GROUP, scheme, BUILTIN)
    except UnknownNameError:
        known = " or ".join(f"{name}://" for name in plugins.names(GROUP, BUILTIN))
        raise StoreError(
            f"results_dir must be a folder, or start with {known}, got {scheme}://...; other "
            "stores are not supported. Give one of those, or install the store's package."
        ) from None
    found = opens(str(where))
    if not isinstance(found, Folder):
        raise InvalidValueError(
            f"The store {scheme!r} must open a lawsweep.store.places.folder.Folder, got {found!r}. "
            "Mend its package."
        )
    return found


def write_file(where: str | Path, data: bytes) -> None:
    """Write one file at a path or URL, whole and durable.  Raises StoreError."""
    if "://" not in str(where):
        files.write_atomic(Path(where), data)
        return
    place, mark, options = str(where).partition("?")
    folder, _, name = place.rpartition("/")
    open_folder(f"{folder}{mark}{options}").write(name, data)
