"""Durable files: complete under their name, or not there at all."""

from __future__ import annotations

import errno
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

from lawsweep.core.errors import StoreError

TEMPORARY = ".tmp-"
SILLY = ".nfs"  # what an NFS client calls a file that was removed while somebody has it open

_FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = (errno.ENOENT, errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN)
_LOOKS_S = (0.0, 0.05, 0.2)  # an NFS client may believe for a moment that the file is not there


def write_atomic(path: Path, data: bytes, *, durable: bool = True, create: bool = True) -> None:
    """Write ``data`` to ``path``: temporary name, fsync, rename, fsync of the folder.

    A kill at any moment leaves the old file, or the new one, and perhaps a ``.tmp-*`` beside it,
    which no reader looks at.  ``durable=False`` leaves out the syncs (a heartbeat needs none);
    ``create=False`` expects the folder to exist.
    Raises StoreError when the disk is full or the folder is not writable; nothing is left then.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        if create:
            _make_folders(path.parent, durable=durable)
        try:
            _write_new(temporary, data, durable=durable)
            _rename(temporary, path, data)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108  (one seam for all that tests make fail)
            raise
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise store_error(path.parent, error) from None


def _write_new(path: Path, data: bytes, *, durable: bool) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        if durable:
            os.fsync(handle)
    except BaseException:
        with suppress(OSError):
            os.close(handle)
        raise
    os.close(handle)  # over NFS a full disk may be reported only here


def _rename(temporary: Path, path: Path, data: bytes) -> None:
    """Rename; an error after a rename that was done is recognised by looking.

    Over NFS the answer to a rename may be lost.  The client asks again, the server finds no old
    name any more, and the caller is told ENOENT (or ESTALE, EIO) about a file that is in place.
    """
    try:
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        if error.errno not in _GONE or not _holds(path, data):
            raise


def _holds(path: Path, data: bytes) -> bool:
    for wait_s in _LOOKS_S:
        time.sleep(wait_s)
        with suppress(OSError):
            if path.stat().st_size == len(data) and path.read_bytes() == data:
                return True
    return False


def _make_folders(folder: Path, *, durable: bool) -> None:
    """Make ``folder`` and what is missing above it; each new name is synced into its parent."""
    missing = []
    while not folder.is_dir() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        with suppress(
            FileExistsError
        ):  # another driver was first; a file there fails the next step
            made.mkdir()
        if durable:
            _sync_folder(made.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network and FUSE file systems know no sync of a folder: the rename is their promise.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def store_error(folder: Path, error: OSError, what: str = "write in") -> StoreError:
    """The one sentence for a folder that cannot be written (or read)."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        advice = "Free some space and run the same command again; what is finished is kept."
    else:
        advice = "Check the path and its permissions, or set results_dir to another folder."
    return StoreError(f"Cannot {what} {folder}: {reason}. {advice}")


def check_writable(folder: Path) -> None:
    """Raise StoreError unless a file can be made in ``folder``.

    Creates nothing: the nearest folder that exists is probed with an unnamed file.
    """
    try:
        _probe(folder)
    except OSError as error:
        raise store_error(folder, error) from None


def clock(folder: Path) -> float:
    """The time now by the clock of the file system at ``folder``, seconds of the epoch.

    That of the file server, as a rule; this host's where nothing can be written.  Leaves nothing.
    """
    try:
        return _probe(folder)
    except OSError:
        return time.time()


def _probe(folder: Path) -> float:
    """Write an unnamed file in the nearest folder that exists; when it was written."""
    import tempfile

    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    with tempfile.TemporaryFile(dir=existing) as probe:
        probe.write(b"lawsweep")
        probe.flush()
        os.fsync(probe.fileno())  # the server's answer has its time
        return os.fstat(probe.fileno()).st_mtime


def is_stale(error: OSError) -> bool:
    """Whether a file was removed by another machine while this one held on to it (NFS)."""
    return error.errno == errno.ESTALE
