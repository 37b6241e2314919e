from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lawsweep.core.errors import StoreError
from lawsweep.store.files import check_writable, write_atomic


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EIO])
def test_a_failing_step_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step, kind):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_):
        raise OSError(kind, os.strerror(kind))

    if step == "write":
        path_open = Path.open

        def opened(self, *args):
            file = path_open(self, *args, buffering=0)
            file.close()

            class Full:
                write = fail

                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    return None

            return Full()

        monkeypatch.setattr(Path, "open", opened)
    else:
        monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], fail)
    with pytest.raises(StoreError, match="Cannot write in") as caught:
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert ("Free some space" in str(caught.value)) == (kind == errno.ENOSPC)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_write_that_really_fails(tmp_path):
    """The system itself refuses the rest of the file, in a process with a limit on file sizes."""
    source = """
import resource, signal, sys
from pathlib import Path
from lawsweep.core.errors import StoreError
from lawsweep.store.files import write_atomic
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
