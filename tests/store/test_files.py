from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lawsweep.core.errors import StoreError
from lawsweep.store.places.files import check_writable, write_atomic


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("step", ["write", "fsync", "close", "replace"])
@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failing_step_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step, kind):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    real = getattr(os, step)

    def fail(*given):
        if step == "close":
            real(*given)  # the handle is gone, whatever close says
        raise OSError(kind, os.strerror(kind))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StoreError, match="Cannot write in") as caught:
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert ("Free some space" in str(caught.value)) == (kind != errno.EIO)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_short_write_goes_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    write_atomic(tmp_path / "file", bytes(range(100)))
    assert (tmp_path / "file").read_bytes() == bytes(range(100))


@pytest.mark.parametrize("kind", [errno.ESTALE, errno.EIO, errno.ENOENT])
def test_a_rename_that_was_done_and_reported_as_failed_is_done(tmp_path, monkeypatch, kind):
    """As over NFS, when the answer is lost and the question asked again."""
    path, real = tmp_path / "file", os.replace

    def lost_answer(old, new):
        real(old, new)
        raise OSError(kind, os.strerror(kind))

    monkeypatch.setattr(os, "replace", lost_answer)
    write_atomic(path, b"first")
    write_atomic(path, b"again")
    assert path.read_bytes() == b"again"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("kind", [errno.ESTALE, errno.EIO, errno.ENOENT])
def test_a_rename_that_was_not_done_is_not_taken_for_done(tmp_path, monkeypatch, kind):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(old, new):
        raise OSError(kind, os.strerror(kind))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StoreError, match="Cannot write in"):
        write_atomic(path, b"new")  # of the old one's size
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_client_that_sees_the_renamed_file_late_still_sees_it(tmp_path, monkeypatch):
    path, real, left = tmp_path / "file", Path.stat, [2]

    def late(self, **options):
        if self == path and left[0]:
            left[0] -= 1
            raise FileNotFoundError(errno.ENOENT, "not yet", str(self))
        return real(self, **options)

    replace = os.replace

    def lost_answer(old, new):
        replace(old, new)
        monkeypatch.setattr(Path, "stat", late)
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "replace", lost_answer)
    write_atomic(path, b"x")
    assert left == [0]


@pytest.mark.parametrize(("kind", "is_fine"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_file_system_that_syncs_no_folders_is_fine(tmp_path, monkeypatch, kind, is_fine):
    real = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(kind, os.strerror(kind))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with contextlib.nullcontext() if is_fine else pytest.raises(StoreError):
        write_atomic(tmp_path / "file", b"x")


def test_every_new_folder_is_synced_into_the_one_above(tmp_path, monkeypatch):
    real, synced = os.fsync, []

    def fsync(handle):
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "a" / "b" / "file", b"x")
    assert synced[:2] == [str(tmp_path), str(tmp_path / "a")]
    assert synced[-1] == str(tmp_path / "a" / "b")
    synced.clear()
    write_atomic(tmp_path / "a" / "b" / "file", b"x", durable=False)
    assert synced == []


def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no permission to mount a small disk")
    try:
        write_atomic(disk / "small", b"x")
        with pytest.raises(StoreError, match=r"No space left on device\. Free some space"):
            write_atomic(disk / "large", b"x" * 200_000)
        assert names(disk) == ["small"]
        assert (disk / "small").read_bytes() == b"x"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_write_that_really_fails(tmp_path):
    """The system itself refuses the rest of the file, in a process with a limit on file sizes."""
    source = """
import resource, signal, sys
from pathlib import Path
from lawsweep.core.errors import StoreError
from lawsweep.store.places.files import write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path(sys.argv[1]), b"x" * 100_000)
except StoreError as error:
    print(error)
"""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    done = subprocess.run(
        [sys.executable, "-c", source, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"Cannot write in {tmp_path}: File too large.")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_probing_creates_nothing(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    with pytest.raises(StoreError, match=r"Cannot write in /proc/none"):
        check_writable(Path("/proc/none"))
