"""When two names are one: to SQL, to some file systems, and to a tired reader.

SQL takes ``D`` and ``d`` for one column and answers with either; so does a file system for two
folders.  Python itself takes ``µ`` (micro sign) and ``μ`` (Greek mu) for one name, and a file does
not.  So names that differ in such things alone are refused wherever they would meet.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def folded(name: str) -> str:
    """What names that count as one have in common."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def alike(names: Iterable[str], others: Iterable[str] = ()) -> tuple[str, str] | None:
    """The first of ``names`` that counts as one with an earlier name, or one of ``others``.

    It comes after the name it is like.  Names that are equal are no such pair.  None if all differ.
    """
    seen: dict[str, list[str]] = {}
    for name in others:
        seen.setdefault(folded(name), []).append(name)
    for name in names:
        like = seen.setdefault(folded(name), [])
        if other := next((o for o in like if o != name), None):
            return other, name
        like.append(name)
    return None
