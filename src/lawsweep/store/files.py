"""Durable files: complete under their name, or not there at all."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

from lawsweep.core.errors import StoreError

TEMPORARY = ".tmp-"


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path``: temporary name, fsync, rename, fsync of the folder.

    A kill at any moment leaves the old file, or the new one, and perhaps a ``.tmp-*`` beside it,
    which no reader looks at.  ``durable=False`` leaves out the syncs (a heartbeat needs none).
    Raises StoreError when the disk is full or the folder is not writable; nothing is left then.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise store_error(path.parent, error) from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def store_error(folder: Path, error: OSError, what: str = "write in") -> StoreError:
    """The one sentence for a folder that cannot be written (or read)."""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        advice = "Free some space and run the same command again; what is finished is kept."
    else:
        advice = "Check the path and its permissions, or set results_dir to another folder."
    return StoreError(f"Cannot {what} {folder}: {reason}. {advice}")


def check_writable(folder: Path) -> None:
    """Raise StoreError unless a file can be made in ``folder``.

    Creates nothing: the nearest folder that exists is probed with an unnamed file.
    """
    import tempfile

    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"lawsweep")
            probe.flush()
    except OSError as error:
        raise store_error(folder, error) from None
