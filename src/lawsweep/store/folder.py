"""A folder of the store: on a file system, or in an object store (S3, GCS).

Both kinds promise the same: a file is whole under its name or not there, and what ``write`` has
returned from is durable.  On a file system ``store.files`` sees to that (pyarrow's own local file
system neither syncs nor renames); in an object store a put of a whole object is atomic.
"""

from __future__ import annotations

import os
import re
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lawsweep.core.errors import StoreError
from lawsweep.store import files

# A name read from a file in the store never leads out of its folder.
_UNSAFE = re.compile(r"[/\\\x00-\x1f]|\A\.{0,2}\Z")


def safe_name(name: str) -> str:
    """``name``, or StoreError unless it is that of one file or folder in a folder."""
    if not isinstance(name, str) or _UNSAFE.search(name):
        raise StoreError(
            f"Expected the name of a file or folder, without / and control characters, "
            f"got {name!r}. It would lie outside the store; nothing was done."
        )
    return name


class Folder(ABC):
    """A folder of the store.  ``str`` is for people; ``url`` opens the same folder again.

    What fails for another reason than a missing file raises StoreError with one sentence.
    """

    @staticmethod
    def at(where: str | Path | Folder) -> Folder:
        """The folder at a path, or at ``s3://bucket/prefix?...`` or ``gs://bucket/prefix?...``.

        Nothing is contacted before the folder is used.  Raises StoreError for another kind of
        URL and for options that are not known.
        """
        if isinstance(where, Folder):
            return where
        if "://" in str(where):
            from lawsweep.store.objects import ObjectFolder

            return ObjectFolder.parse(str(where))
        return LocalFolder(Path(where))

    @property
    @abstractmethod
    def url(self) -> str:
        """The path, or the URL with its options: ``Folder.at(url)`` is this folder."""

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

    @abstractmethod
    def names(self) -> list[str]:
        """What is directly in it and no folder, sorted; nothing if it is missing.

        Temporary files (``.tmp-*``) and what cannot be opened are listed too.
        """

    @abstractmethod
    def folders(self) -> list[str]:
        """Names of the folders directly in it, sorted; nothing if it is missing."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of a file.  Raises FileNotFoundError if it is missing."""

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


def write_file(where: str | Path, data: bytes) -> None:
    """Write one file at a path or URL, whole and durable.  Raises StoreError."""
    if "://" not in str(where):
        files.write_atomic(Path(where), data)
        return
    place, mark, options = str(where).partition("?")
    folder, _, name = place.rpartition("/")
    Folder.at(f"{folder}{mark}{options}").write(name, data)


@dataclass(frozen=True)
class LocalFolder(Folder):
    """A folder on a file system."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def url(self) -> str:
        """The path as it was given."""
        return str(self.path)

    @property
    def is_local(self) -> bool:
        """Yes."""
        return True

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name

    @property
    def parent(self) -> LocalFolder:
        """The folder that it is in."""
        return LocalFolder(self.path.parent)

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self.path / safe_name(name))

    def names(self) -> list[str]:
        """See Folder.  ``.nfs*`` are ghosts of removed files, and left out."""
        return [n for n, is_folder in self._entries() if not is_folder]

    def folders(self) -> list[str]:
        """See Folder."""
        return [n for n, is_folder in self._entries() if is_folder]

    def _entries(self) -> list[tuple[str, bool]]:
        try:
            with os.scandir(self.path) as found:
                entries = [(e.name, _is_folder(e)) for e in found]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise files.store_error(self.path, error, "read") from None
        return sorted(e for e in entries if not e[0].startswith(files.SILLY))

    def read(self, name: str) -> bytes:
        """See Folder."""
        try:
            return (self.path / safe_name(name)).read_bytes()
        except OSError as error:
            raise self._error(error, f"read {name} in") from None

    def open(self, name: str) -> pa.NativeFile:
        """See Folder."""
        path = self.path / safe_name(name)
        try:
            # Looked at first: opening a pipe, which a name may be, would wait for its writer.
            if not stat.S_ISREG(path.stat().st_mode):
                raise StoreError(f"Cannot read {path}: it is not a file. Move it elsewhere.")
            return pa.OSFile(str(path))
        except OSError as error:
            raise self._error(error, f"read {name} in") from None

    def write(self, name: str, data: bytes, *, durable: bool = True, create: bool = True) -> None:
        """See Folder; ``files.write_atomic`` says how."""
        path = self.path / safe_name(name)
        if not create and not self.path.is_dir():
            raise StoreError(
                f"Cannot write in {self}: the folder has vanished. Is its disk or network share "
                "still mounted? Bring it back and run the same command again."
            )
        files.write_atomic(path, data, durable=durable, create=create)

    def delete(self, name: str) -> None:
        """See Folder."""
        try:
            os.unlink(self.path / safe_name(name))  # noqa: PTH108  (as in files)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise files.store_error(self.path, error, f"remove {name} from") from None

    def modified(self, name: str) -> float:
        """See Folder."""
        return self._stat(name).st_mtime

    def size(self, name: str) -> int:
        """See Folder."""
        return self._stat(name).st_size

    def _stat(self, name: str) -> os.stat_result:
        try:
            return (self.path / safe_name(name)).stat()
        except OSError as error:
            raise self._error(error, f"read {name} in") from None

    def check_writable(self) -> None:
        """See Folder.  A folder that is missing is not made: the one above it is probed."""
        files.check_writable(self.path)

    def _error(self, error: OSError, what: str) -> Exception:
        # A stale handle is a file that another machine has removed since.
        if isinstance(error, FileNotFoundError) or files.is_stale(error):
            return FileNotFoundError(error.errno, error.strerror, error.filename)
        return files.store_error(self.path, error, what)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a loop of links, say: it is listed, and whoever opens it is told why
