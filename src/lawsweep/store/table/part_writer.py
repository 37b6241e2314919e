"""One writer's parts in a folder: each durable when written, the small ones merged as they come."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa

from lawsweep.core.errors import StoreError
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.parts import SkippedPart, digest, part_name

MERGE = 16  # small parts of one writer that become one


class PartWriter:
    """Writes parts into ``folder`` and merges those it wrote, ``MERGE`` by ``MERGE``.

    So a long launch leaves some tens of files, not one every two seconds.  ``load`` reads a part
    back and ``encode`` makes one of a table; parts of more than ``merge_bytes`` together stay as
    they are.
    """

    def __init__(
        self,
        folder: Folder,
        load: Callable[[str], pa.Table],
        encode: Callable[[pa.Table], bytes],
        merge_bytes: int,
    ):
        self._folder, self._load, self._encode = folder, load, encode
        self._merge_bytes = merge_bytes
        # Parts this object wrote, and their bytes, by how often they were merged.
        self._own: list[dict[str, int]] = []
        self._last = ("", "")  # digest and name of the part written last
        self.wrote: set[str] = set()  # names of all it has written
        self.is_there = False  # whether the folder is known to exist

    def write(self, data: bytes, level: int = 0) -> str:
        """Write a part; its name.

        The same bytes again, after a failed try, get the same name again.  So a part whose
        write was reported as failed, but was done, is not there twice.  Raises StoreError, and
        then the part is absent or will be written again under its name.
        """
        key = digest(data)
        name = self._last[1] if self._last[0] == key else part_name(data)
        self._last = (key, name)
        # A folder that was there and is not: its disk was unmounted.  One made anew under the
        # mount point would swallow the rows.
        self._folder.write(name, data, create=not self.is_there)
        self.is_there = True
        self.wrote.add(name)
        while len(self._own) <= level:
            self._own.append({})
        self._own[level][name] = len(data)
        return name

    def merge(self, level: int = 0) -> None:
        """Put the parts of one level into one part of the next, when there are enough.

        The merged part is durable before the others go: a kill between leaves duplicates, which
        are harmless.  A merge that fails costs nothing but files, and is tried again.
        """
        parts = self._own[level] if level < len(self._own) else {}
        if len(parts) < MERGE:
            return
        if sum(parts.values()) > self._merge_bytes:
            self._own[level] = {}
            return
        with suppress(StoreError):
            try:
                tables = [self._load(name) for name in parts]
            except (FileNotFoundError, SkippedPart):
                self._own[level] = {}  # somebody compacted them: they are not ours any more
                return
            self.write(self._encode(pa.concat_tables(tables)), level + 1)
            self._own[level] = {}
            for name in parts:
                self._folder.delete(name)
            self.merge(level + 1)
