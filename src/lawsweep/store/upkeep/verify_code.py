"""Which code made the rows, as their launches say, and whether its source is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.kept_code import NoKeptCode, kept_places, read_kept
from lawsweep.store.upkeep.verify_rows import SOME, Finding


def digests_of(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The digest of the code of each launch whose record says one."""
    found = {}
    for launch, record in records.items():
        code = record.get("code")
        if isinstance(code, Mapping) and isinstance(code.get("digest"), str):
            found[launch] = code["digest"]
    return found


def check_codes(
    results: Folder, digests: Mapping[str, str], rows_of: Mapping[str, int]
) -> Iterator[Finding]:
    """Whether all rows were made by the same code, and whether the source of each is there.

    ``rows_of``: how many rows each launch made that has a record.
    """
    check, codes = "code", Counter[str]()
    for launch, digest in digests.items():
        codes[digest] += rows_of.get(launch, 0)
    if n := sum(rows_of.values()) - codes.total():
        yield Finding("ok", check, f"{n} rows are of launches that do not say which code ran", n)
    if len(codes) > 1:
        each = ", ".join(f"{n} rows by {digest[:8]}" for digest, n in codes.most_common(SOME))
        text = f"{len(codes)} codes made these rows ({each}); launches/code-*.zip has each"
        yield Finding("note", check, text, codes.total())
    elif codes:
        yield Finding("ok", check, f"{codes.total()} rows were made by one code", codes.total())
    places, n_kept = kept_places(results) if codes else {}, 0
    for digest, n in codes.most_common():
        try:
            read_kept(digest, places)
            n_kept += 1
        except NoKeptCode as error:
            yield Finding("problem", check, f"{n} rows were made by code {digest[:8]}: {error}", n)
    if n_kept:
        yield Finding("ok", check, f"the source of {n_kept} codes is kept, and whole", n_kept)
