"""Whether a folder is still the one that was looked at, and not what lies beneath its mount point.

A disk or share that is unmounted leaves its mount point behind, an empty folder of another file
system: files written there are found by nobody, and hidden when the mount comes back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lawsweep.core.errors import StoreError


@dataclass(frozen=True)
class Ground:
    """The nearest folder that existed at or above a place, as it was then."""

    path: Path
    inode: int
    mount: tuple[int, int | None]  # its device, and on Linux the number of its mount

    @staticmethod
    def under(place: Path) -> Ground | None:
        """What ``place`` stands on now; None where that cannot be seen (a loop of links, say)."""
        path = place.absolute()
        while True:
            with suppress(OSError):
                return Ground(path, *_look(path))
            if path == path.parent:
                return None
            path = path.parent

    def check(self, place: Path) -> None:
        """Raise StoreError unless it is there still, for a write to ``place``.

        A share that was mounted anew has another mount, and the same inode; some file systems
        give a folder another inode now and then.  Only where both differ is it another folder.
        """
        try:
            inode, mount = _look(self.path)
        except OSError:
            raise vanished(place) from None
        if inode != self.inode and mount != self.mount:
            raise vanished(place)


def vanished(place: Path) -> StoreError:
    """The one sentence for a folder that was there and is not."""
    return StoreError(
        f"Cannot write in {place}: the folder has vanished. Is its disk or network share "
        "still mounted? Bring it back and run the same command again."
    )


def _look(path: Path) -> tuple[int, tuple[int, int | None]]:
    # Opened, so that number and mount are of one folder; O_PATH needs no right to read it.
    handle = os.open(path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found, mount = os.fstat(handle), None
        with suppress(OSError, ValueError, StopIteration):
            facts = Path(f"/proc/self/fdinfo/{handle}").read_text(encoding="ascii").splitlines()
            mount = int(next(f for f in facts if f.startswith("mnt_id:")).split()[1])
    finally:
        os.close(handle)
    return found.st_ino, (found.st_dev, mount)
