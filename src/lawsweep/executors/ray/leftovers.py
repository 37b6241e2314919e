"""What launches that died have left of their Rays in the temporary folder.

Ray makes a folder for the logs and sockets of every session and removes none.  A launch that ends
removes its own; of one that was killed it stays.  So a launch claims its folder by a file in it,
and locks that for as long as it lives: a claimed folder whose file can be locked is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

CLAIM = "lawsweep.claim"
LEAST_AGE_S = 60.0  # what belonged to a Ray whose driver died is ended by then (see reaper)


class Claim:
    """The claim of this process on the session folder of the Ray that it started."""

    def __init__(self, folder: str):
        self._path, self._file = Path(folder) / CLAIM, -1
        with contextlib.suppress(OSError):
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Give it up: what is in the folder still is there for people to read."""
        self._path.unlink(missing_ok=True)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def remove_leftovers(folder: str) -> None:
    """Remove claimed session folders beside ``folder`` whose launch is dead."""
    for claim in Path(folder).parent.glob(f"session_*/{CLAIM}"):
        with contextlib.suppress(OSError):
            found = claim.lstat()
            ours = found.st_uid == os.getuid() and not claim.parent.is_symlink()
            if ours and time.time() - found.st_mtime > LEAST_AGE_S and _is_nobodys(claim):
                shutil.rmtree(claim.parent, ignore_errors=True)


def _is_nobodys(claim: Path) -> bool:
    file = os.open(claim, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
