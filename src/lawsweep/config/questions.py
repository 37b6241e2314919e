"""Which question a sweep asks under its overrides: what its folder is told apart by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lawsweep.config.overrides import Override
from lawsweep.grid.sweep import NOT_ASKED, hash_place

DIGITS = 6  # hexadecimal, of a signature


def signature(
    overrides: Sequence[Override], asked: Callable[[Sequence[Override]], Mapping[str, Any]]
) -> str:
    """Six hexadecimal digits for the overrides that change the question; empty where none does.

    ``asked`` makes what is asked under some of them, out of a config.  The signature is of the
    overrides and not of the config, so that it stays when the file is edited; of an override that
    is repeated the last counts, and one that says what the file says does not.
    """
    telling = [o for o in overrides if o.path[0] not in NOT_ASKED]
    if not telling:
        return ""
    nothing, everything = _question(asked([])), _question(asked(telling))
    if nothing == everything:
        return ""
    last = {o.path: o for o in telling}
    needed = [o for o in last.values() if _question(asked([o])) != nothing]
    if _question(asked(needed)) != everything:
        needed = list(last.values())
    said = sorted([[".".join(o.path), o.is_delete, o.is_sweep, o.value] for o in needed], key=str)
    data = json.dumps(said, sort_keys=True, default=str).encode()
    return hashlib.blake2b(data, digest_size=DIGITS // 2).hexdigest()


def _question(config: Mapping[str, Any]) -> str:
    told = {k: v for k, v in config.items() if v not in (None, {}, [])}
    return json.dumps(told, sort_keys=True, default=str)


def file_identity(path: Path, shipped: Path) -> tuple[str, str]:
    """How a sweep file is called for people, and a hash of where it is.

    One that came with lawsweep is the same file wherever that is installed.
    """
    real = path.resolve()
    if real.parent == shipped.resolve():
        name = place = f"lawsweep's {path.name}"
    else:
        own = Path.cwd().resolve()
        name = real.relative_to(own).as_posix() if real.is_relative_to(own) else path.name
        place = str(real)
    return name, hash_place(place)
