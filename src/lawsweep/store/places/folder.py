"""What a folder of the store promises: on a file system, or in an object store (S3, GCS).

Both kinds promise the same: a file is whole under its name or not there, and what ``write`` has
returned from is durable.  ``places.find`` opens the folder at a path or URL.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

import pyarrow as pa

from lawsweep.core.errors import StoreError

# A name read from a file in the store never leads out of its folder.
_UNSAFE = re.compile(r"[/\\\x00-\x1f]|\A\.{0,2}\Z")
_UNSHOWN = re.compile("[\x7f-\x9f\ud800-\udfff]")  # more controls; bytes that are no text
# Bytes of a file that is read whole: no plan, record or part of ours comes near.
MOST_BYTES = 2**32


def is_odd(name: str) -> bool:
    """Whether a name in a listing is none that could be opened or shown: passed over."""
    return bool(_UNSAFE.search(name) or _UNSHOWN.search(name))


def safe_name(name: str) -> str:
    """``name``, or StoreError unless it is that of one file or folder in a folder."""
    if not isinstance(name, str) or _UNSAFE.search(name):
        raise StoreError(
            f"Expected the name of a file or folder, without / and control characters, "
            f"got {name!r}. It would lie outside the store; nothing was done."
        )
    return name


def too_large(path: object, size: int, most: int) -> str:
    """The sentence for a file that is none of ours, by its size."""
    return f"Cannot read {path}: expected at most {most:,} bytes, got {size:,}. Move it elsewhere."


class Folder(ABC):
    """A folder of the store.  ``str`` is for people; ``url`` opens the same folder again.

    What fails for another reason than a missing file raises StoreError with one sentence.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """The path, or the URL with its options: ``open_folder(url)`` is this folder."""

    @property
    @abstractmethod
    def is_local(self) -> bool:
        """Whether it is on a file system."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its own name, the last of its path."""

    @property
    @abstractmethod
    def parent(self) -> Folder:
        """The folder that it is in."""

    @abstractmethod
    def __truediv__(self, name: str) -> Folder:
        """The folder ``name`` in this one."""

    def held(self) -> Folder:
        """The same folder, that refuses to be written to when its disk or share has gone.

        Also where it was not made yet: then a folder above it must be the one that is there now.
        Folders below a held one are held.
        """
        return self

    @abstractmethod
    def names(self) -> list[str]:
        """What is directly in it and no folder, sorted; nothing if it is missing.

        Temporary files (``.tmp-*``) and what cannot be opened are listed too.  A name that cannot
        be shown (control characters, bytes that are no text) is left out, with a warning.
        """

    @abstractmethod
    def folders(self) -> list[str]:
        """Names of the folders directly in it, sorted; nothing if it is missing."""

    @abstractmethod
    def read(self, name: str, *, most: int = MOST_BYTES, follow: bool = True) -> bytes:
        """The bytes of a file.  Raises FileNotFoundError if it is missing.

        StoreError for what is no regular file or has more than ``most`` bytes; and, without
        ``follow``, for a link.
        """

    @abstractmethod
    def open(self, name: str) -> pa.NativeFile:
        """A file for random access; close it.  Raises FileNotFoundError if it is missing."""

    @abstractmethod
    def write(self, name: str, data: bytes, *, durable: bool = True, create: bool = True) -> None:
        """Write a file: whole and durable when this returns.

        ``durable=False`` may skip the syncs.  With ``create=False`` a folder that is missing is
        an error: it was there, and has vanished with its disk.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; a missing one is fine."""

    @abstractmethod
    def modified(self, name: str) -> float:
        """When a file was written, seconds of the epoch.  FileNotFoundError if it is missing."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of a file.  FileNotFoundError if it is missing."""

    @abstractmethod
    def check_writable(self) -> None:
        """Raise StoreError unless a file can be written here.  Leaves nothing."""

    @abstractmethod
    def clock(self) -> float:
        """The time now by the clock that ``modified`` goes by, seconds of the epoch.

        That of the file or object server; this host's where nothing can be written here.
        """
