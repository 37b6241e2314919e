"""``lawsweep.artefact``: a file that a run leaves, kept under its id beside the table."""

from __future__ import annotations

import re
from pathlib import Path

from lawsweep.core.during.under_way import current
from lawsweep.core.errors import InvalidValueError

MOST_BYTES = 64 * 2**20  # of one file
MOST_NAME = 200  # bytes: file systems take 255, and a name has more while it is written
_NAME = re.compile(r"[^\W_][\w.+ -]{0,119}\Z")


def artefact(given: str | Path | bytes, name: str | None = None) -> bool:
    """Keep a file with the run under way: a path, or bytes with a ``name``.

    Under the same name it takes the place of what was kept before.  64 MiB at most, and 256 MiB a
    run.  Returns whether it could be written; where not, the run goes on.  Raises InvalidValueError
    for what is no file, a name that is none, and what is too large.  Outside a launch it is checked
    and no more.
    """
    data, named = _read(given, name)
    here = current("artefact")
    return False if here is None else here.keeper.keep_file(named, data)


def _read(given: str | Path | bytes, name: str | None) -> tuple[bytes, str]:
    if isinstance(given, bytes | bytearray | memoryview):
        data = bytes(given)
        if name is None:
            raise InvalidValueError(
                "artefact was given bytes and no name: artefact(data, 'a.png')."
            )
    elif isinstance(given, str | Path):
        path = Path(given)
        if not path.is_file():
            raise InvalidValueError(
                f"artefact takes a file or bytes; there is no file {str(path)[:200]!r}. Write it "
                "first, or give bytes and a name: artefact(text.encode(), 'log.txt')."
            )
        check_size(path.stat().st_size, str(path))
        data, name = path.read_bytes(), path.name if name is None else name
    else:
        raise InvalidValueError(
            f"artefact takes the path of a file, or bytes and a name, got {type(given).__name__}."
        )
    if not isinstance(name, str) or not _NAME.match(name) or len(name.encode()) > MOST_NAME:
        raise InvalidValueError(
            f"An artefact is named by letters, digits and . + - _ and spaces, beginning with a "
            f"letter or digit, at most {MOST_NAME} bytes (no folders), got {str(name)[:80]!r}."
        )
    check_size(len(data), name)
    return data, name


def check_size(size: int, name: str) -> None:
    """Raise InvalidValueError for a file that is too large."""
    if size > MOST_BYTES:
        raise InvalidValueError(
            f"An artefact has at most {MOST_BYTES:,} bytes, and {name} has {size:,}. Keep large "
            "arrays as metrics (lawsweep.Array), or write the file elsewhere and its place as a "
            "metric."
        )
