"""A folder of the store on a file system.

``places.files`` sees to whole and durable files (pyarrow's own local file system neither syncs nor
renames).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from lawsweep.core.errors import StoreError
from lawsweep.store.places import files
from lawsweep.store.places.folder import MOST_BYTES, Folder, is_odd, safe_name, too_large
from lawsweep.store.places.ground import Ground, vanished
from lawsweep.store.sweeps.skipping import tell_skipped


@dataclass(frozen=True)
class LocalFolder(Folder):
    """A folder on a file system.  ``ground``: what it must still stand on to be written to."""

    path: Path
    ground: Ground | None = field(default=None, compare=False, repr=False)

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
        return LocalFolder(self.path.parent, self.ground)

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self.path / safe_name(name), self.ground)

    def held(self) -> LocalFolder:
        """See Folder."""
        return self if self.ground else LocalFolder(self.path, Ground.under(self.path))

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
        odd = {repr(n): "its name is none that lawsweep gives" for n, _ in entries if is_odd(n)}
        tell_skipped(self, odd)
        return sorted(e for e in entries if not e[0].startswith(files.SILLY) and not is_odd(e[0]))

    def read(self, name: str, *, most: int = MOST_BYTES, follow: bool = True) -> bytes:
        """See Folder."""
        path = self.path / safe_name(name)
        if not follow and path.is_symlink():
            raise StoreError(f"Cannot read {path}: it is a link. Put a copy of the file there.")
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                found = os.fstat(file.fileno())
                _check_regular(path, found)
                if found.st_size > most:
                    raise StoreError(too_large(path, found.st_size, most))
                return file.read()
        except OSError as error:
            raise self._error(error, name, "read") from None

    def open(self, name: str) -> pa.NativeFile:
        """See Folder."""
        path = self.path / safe_name(name)
        try:
            _check_regular(path, path.stat())
            return pa.OSFile(str(path))
        except OSError as error:
            raise self._error(error, name, "read") from None

    def write(self, name: str, data: bytes, *, durable: bool = True, create: bool = True) -> None:
        """See Folder; ``files.write_atomic`` says how."""
        path = self.path / safe_name(name)
        if self.ground is not None:
            self.ground.check(self.path)
        if not create and not self.path.is_dir():
            raise vanished(self.path)
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
            raise self._error(error, name, "read") from None

    def check_writable(self) -> None:
        """See Folder.  A folder that is missing is not made: the one above it is probed."""
        if self.ground is not None:
            self.ground.check(self.path)
        files.check_writable(self.path)

    def clock(self) -> float:
        """See Folder."""
        return files.clock(self.path)

    def _error(self, error: OSError, name: str, what: str) -> Exception:
        # A stale handle is a file that another machine has removed since.
        if isinstance(error, FileNotFoundError) or files.is_stale(error):
            path = self.path / name
            if path.is_symlink():  # a file that has gone is not there; this stays
                return StoreError(f"Cannot {what} {path}: it is a link to nothing. Remove it.")
            return FileNotFoundError(error.errno, error.strerror, error.filename)
        if isinstance(error, IsADirectoryError):
            return StoreError(_not_a_file(self.path / name))
        return files.store_error(self.path, error, f"{what} {name} in")


def _without_waiting(path: str, flags: int) -> int:
    """Open what may be a pipe that nobody writes to.  Raises IsADirectoryError for a folder."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(_not_a_file(path))


def _not_a_file(path: Path) -> str:
    return f"Cannot read {path}: it is not a file. Move it elsewhere."


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a loop of links, say: it is listed, and whoever opens it is told why
