"""``results_dir=shelf://FILE/...``: a store in one SQLite file.  It stands for another package."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lawsweep.core.errors import StoreError
from lawsweep.store.places.folder import MOST_BYTES, Folder, safe_name, too_large

TABLE = (
    "CREATE TABLE IF NOT EXISTS files (folder TEXT, name TEXT, data BLOB, modified REAL, "
    "PRIMARY KEY (folder, name))"
)


@dataclass(frozen=True)
class Shelf(Folder):
    """The folder ``key`` of the SQLite file at ``file``."""

    file: Path
    key: str = ""

    @staticmethod
    def parse(url):
        file, mark, key = url.removeprefix("shelf://").partition(".shelf")
        if not mark or key[:1] not in ("", "/"):
            raise StoreError(f"Expected shelf://FILE.shelf/folder, got {url!r}. Correct the URL.")
        return Shelf(Path(file + mark), key.strip("/"))

    def __str__(self):
        return f"shelf://{self.file}/{self.key}".rstrip("/")

    @property
    def url(self):
        return str(self)

    @property
    def is_local(self):
        return False

    @property
    def name(self):
        return self.key.rpartition("/")[2] or self.file.name

    @property
    def parent(self):
        return Shelf(self.file, self.key.rpartition("/")[0])

    def __truediv__(self, name):
        return Shelf(self.file, f"{self.key}/{safe_name(name)}".lstrip("/"))

    @contextmanager
    def _base(self, what):
        try:
            with closing(sqlite3.connect(self.file, timeout=60)) as base, base:
                base.execute(TABLE)
                yield base
        except sqlite3.Error as error:
            raise StoreError(f"Cannot {what} {self}: {error}. Check the path.") from None

    def _get(self, column, name):
        query = f"SELECT {column} FROM files WHERE folder = ? AND name = ?"
        with self._base("read") as base:
            found = base.execute(query, (self.key, safe_name(name))).fetchone()
        if found is None:
            raise FileNotFoundError(f"{self}/{name}")
        return found[0]

    def names(self):
        query = "SELECT name FROM files WHERE folder = ? ORDER BY name"
        with self._base("read") as base:
            return [name for (name,) in base.execute(query, (self.key,))]

    def folders(self):
        above = f"{self.key}/" if self.key else ""
        with self._base("read") as base:
            keys = [key for (key,) in base.execute("SELECT DISTINCT folder FROM files")]
        below = (key.removeprefix(above) for key in keys if key.startswith(above))
        return sorted({key.partition("/")[0] for key in below if key})

    def read(self, name, *, most=MOST_BYTES, follow=True):
        if self.size(name) > most:
            raise StoreError(too_large(f"{self}/{name}", self.size(name), most))
        return self._get("data", name)

    def open(self, name):
        return pa.BufferReader(self._get("data", name))

    def write(self, name, data, *, durable=True, create=True):
        row = (self.key, safe_name(name), data, time.time())
        with self._base("write in") as base:
            base.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)

    def delete(self, name):
        with self._base("remove files from") as base:
            where = (self.key, safe_name(name))
            base.execute("DELETE FROM files WHERE folder = ? AND name = ?", where)

    def modified(self, name):
        return self._get("modified", name)

    def size(self, name):
        return self._get("length(data)", name)

    def check_writable(self):
        with self._base("write in") as base:
            base.execute("BEGIN IMMEDIATE")

    def clock(self):
        return time.time()
