"""What writers that died have left in the results folder: list it, and remove it when asked.

Never a row.  What is removed is what no reader looks at (temporary files, signs of life of dead
launches), or what is elsewhere too, bit for bit (parts covered by others), or array values that
no row acknowledges; all older than an hour by the clock of the store, so that nothing a living
writer is at is touched.  A launch that waits for its store may wait for longer, and says so in its
sign of life: values that it may still write the rows of stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.core.during.keeper import FOLDER as CHECKPOINTS
from lawsweep.core.during.keeper import file_name
from lawsweep.core.errors import StoreError
from lawsweep.store.arrays.arrays import parquet_bytes
from lawsweep.store.arrays.values import KEYS
from lawsweep.store.curves.checkpoints import Checkpoints
from lawsweep.store.curves.curves import FOLDER
from lawsweep.store.curves.curves import parquet_bytes as points
from lawsweep.store.places.files import TEMPORARY
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.signs import SUFFIX, Sign, may_still_write, signs
from lawsweep.store.sweeps.sweep_folder import read_plan
from lawsweep.store.table.parts import SkippedPart, part_name, part_names, use_part
from lawsweep.store.table.reader import Wanted, read_columns
from lawsweep.store.upkeep.compact import load_part, merge, remove_covered

OLDER_S = 3600.0
DEPTH = 4  # results/sweeps/<sweep>/launches; a loop of links ends here

_KINDS = pa.schema(
    [("run_id", pa.string()), ("attempt", pa.int64()), ("started_at", pa.timestamp("us", "UTC"))]
)

Kind = Literal[
    "temporary", "dead launch", "covered", "values without rows", "checkpoint", "rows of no sweep"
]


@dataclass(frozen=True)
class Rubbish:
    """Something that could go.  ``kept`` says why it stays; empty when it can be removed.

    ``n`` counts what is in it (files, values, rows); ``removed`` whether it was removed now.
    """

    kind: Kind
    where: str
    message: str
    n: int = 1
    n_bytes: int = 0
    kept: str = ""
    removed: bool = False


def gc(
    results: Folder | Path | str,
    *,
    dry: bool = True,
    orphans: bool = False,
    now: Callable[[], float] | None = None,
    older_s: float = OLDER_S,
) -> list[Rubbish]:
    """List what could go under the results folder; with ``dry`` false also remove it.

    With ``orphans`` the rows of no known sweep are listed too; they are never removed.
    Raises StoreError when the folder cannot be read or written.
    """
    root = open_folder(results)
    time = (now or root.clock)()
    before = time - older_s
    found = list(_leftovers(root, time, before, dry))
    tables, arrays = root / "tables", root / "arrays"
    for name in tables.folders():
        found += _covered(tables / name, before, dry)
    for name in arrays.folders():
        waiting = may_still_write(root, name, time)
        for array in (arrays / name).folders():
            found += _covered(arrays / name / array, before, dry)
            found += _values_without_rows(
                arrays / name / array, tables / name, before, dry, waiting
            )
    curves = root / FOLDER
    for name in curves.folders():
        found += _covered(curves / name, before, dry)
        found += _values_without_rows(
            curves / name, tables / name, before, dry, may_still_write(root, name, time), points
        )
    for name in (root / CHECKPOINTS).folders():
        found += _checkpoints(Checkpoints(root, name), tables / name, before, dry)
    if orphans:
        found += _rows_of_no_sweep(root)
    return found


def _leftovers(
    folder: Folder, time: float, before: float, dry: bool, depth: int = 0
) -> Iterator[Rubbish]:
    """Temporary files, and signs of life of launches that died, in the folder and below."""
    is_launches = folder.name == "launches"
    living = {s.launch_id for s in signs(folder, time) if s.may_write} if is_launches else set()
    for name in folder.names():
        kind: Kind = "temporary" if name.startswith(TEMPORARY) else "dead launch"
        if kind == "dead launch" and not (is_launches and name.endswith(SUFFIX)):
            continue
        if name.removesuffix(SUFFIX) in living:
            continue
        size = _size_if_older(folder, name, before)
        if size is not None:
            text = "a writer died while it wrote it"
            text = text if kind == "temporary" else "its launch died without a word"
            yield _done(Rubbish(kind, f"{folder}/{name}", text, 1, size), folder, name, dry)
    if depth < DEPTH:
        for name in folder.folders():
            yield from _leftovers(folder / name, time, before, dry, depth + 1)


def _size_if_older(folder: Folder, name: str, before: float) -> int | None:
    try:
        return folder.size(name) if folder.modified(name) < before else None
    except (FileNotFoundError, StoreError):
        return None  # gone meanwhile, or a link to nowhere


def _done(rubbish: Rubbish, folder: Folder, name: str, dry: bool) -> Rubbish:
    if dry or rubbish.kept:
        return rubbish
    folder.delete(name)
    return replace(rubbish, removed=True)


def _covered(folder: Folder, before: float, dry: bool) -> Iterator[Rubbish]:
    """Parts that an interrupted compaction left; and parts whose every row others have too."""
    names = part_names(folder)
    gone = remove_covered(folder, names, dry=True)
    for name, by in gone.items():
        size = _size_if_older(folder, name, before)
        if size is not None:
            rubbish = Rubbish("covered", f"{folder}/{name}", f"its rows are in {by}", 1, size)
            yield _done(rubbish, folder, name, dry)
    left = [n for n in names if n not in gone]
    for name, n_rows in _repeated(folder, left):
        size = _size_if_older(folder, name, before)
        # Later parts only: so the last copy stays, whoever else collects at the same time.
        if size is not None and _is_elsewhere(folder, name, [n for n in left if n > name]):
            text = f"its {n_rows} rows are in later parts, equal in every bit"
            yield _done(Rubbish("covered", f"{folder}/{name}", text, 1, size), folder, name, dry)


def _keys(folder: Folder, name: str) -> pa.Table | None:
    """Run id, attempt and time of each row or value of a part; None when it cannot be read."""

    def read(file: pq.ParquetFile) -> pa.Table:
        if not set(KEYS) <= set(file.schema_arrow.names):
            raise SkippedPart("not a part of a table")
        return read_columns(file, KEYS).select(KEYS).cast(_KINDS)

    try:
        return use_part(folder, name, read)
    except (SkippedPart, FileNotFoundError):
        return None


def _repeated(folder: Folder, names: list[str]) -> list[tuple[str, int]]:
    """Parts all of whose keys stand elsewhere too, with their rows: seldom any."""
    found = {n: keys for n in names if (keys := _keys(folder, n)) is not None}
    if len(found) < 2:
        return []
    every = pa.concat_tables(
        [t.append_column("part", pa.repeat(n, t.num_rows)) for n, t in found.items()]
    )
    parts = every.group_by(KEYS).aggregate([("part", "count_distinct")])
    alone = parts.filter(pc.equal(parts["part_count_distinct"], 1)).select(KEYS)
    own = every.join(alone, KEYS, join_type="left semi")
    has_own = set(own["part"].to_pylist())
    return [(n, t.num_rows) for n, t in found.items() if n not in has_own and t.num_rows]


def _is_elsewhere(folder: Folder, name: str, others: list[str]) -> bool:
    """Whether every row of a part stands in others of its schema, equal in every bit."""
    part, keys = load_part(folder, name, {}), _keys(folder, name)
    if part is None or keys is None:
        return False
    holders = [
        n for n in others
        if (k := _keys(folder, n)) is not None
        and k.join(keys, KEYS, join_type="left semi").num_rows
    ]  # fmt: skip
    tables = [t for n in holders if (t := load_part(folder, n, {})) is not None]
    tables = [t for t in tables if t.schema.equals(part.schema, check_metadata=True)]
    if not tables:
        return False
    return bool(merge(tables)[0].num_rows == merge([*tables, part])[0].num_rows)


def _values_without_rows(
    folder: Folder,
    rows: Folder,
    before: float,
    dry: bool,
    waiting: Sequence[Sign],
    write: Callable[[pa.Table], bytes] = parquet_bytes,
) -> Iterator[Rubbish]:
    """Values whose writer died before it wrote their row.  What has a row stays, of course.

    ``waiting``: launches that may be about to write some.  ``write`` makes a part of the rest.
    """
    parts = [(n, _keys(rows, n)) for n in part_names(rows)]
    known = [k for _, k in parts if k is not None]
    kept = ""
    if len(known) < len(parts):
        kept = f"some parts of {rows} cannot be read, and may have their rows"
    elif not known:
        kept = f"there is no row in {rows}: was it moved?"
    if waiting:
        kept = f"{waiting[0]} may still write their rows"
    for name in part_names(folder):
        keys, size = _keys(folder, name), _size_if_older(folder, name, before)
        if keys is None or size is None:
            continue
        bare = keys.join(pa.concat_tables(known), KEYS, join_type="left anti") if known else keys
        bare = bare.drop_null()  # a value that does not say whose it is might be anybody's
        if not bare.num_rows:
            continue
        text = f"{bare.num_rows} of its {keys.num_rows} values have no row"
        size = size * bare.num_rows // keys.num_rows
        rubbish = Rubbish(
            "values without rows", f"{folder}/{name}", text, bare.num_rows, size, kept
        )
        if not dry and not kept:
            _keep_rest(folder, name, bare, write)
            rubbish = replace(rubbish, removed=True)
        yield rubbish


def _checkpoints(kept: Checkpoints, rows: Folder, before: float, dry: bool) -> Iterator[Rubbish]:
    """Those of runs that went well: kept where that was asked, or left by a launch that died."""
    runs = list(kept.runs())
    well = _went_well(rows, runs) if runs else set[str]()
    for run_id in runs:
        size = _size_if_older(kept.folder, file_name(run_id), before)
        if run_id in well and size is not None:
            place = f"{kept.folder}/{file_name(run_id)}"
            rubbish = Rubbish("checkpoint", place, "its run went well", 1, size)
            yield _done(rubbish, kept.folder, file_name(run_id), dry)


def _went_well(rows: Folder, run_ids: Sequence[str]) -> set[str]:
    def read(file: pq.ParquetFile) -> pa.Table:
        return read_columns(file, ["run_id", "status"], Wanted(run_ids))

    found = set[str]()
    for name in part_names(rows):
        with suppress(SkippedPart, FileNotFoundError):
            part = use_part(rows, name, read)
            found |= set(part.filter(pc.equal(part["status"], "ok"))["run_id"].to_pylist())
    return found


def _keep_rest(
    folder: Folder, name: str, bare: pa.Table, write: Callable[[pa.Table], bytes]
) -> None:
    """Write a part again without some values; it is durable before the old one goes."""
    part = load_part(folder, name, {})
    if part is None:
        return
    at = part.select(KEYS).append_column("row", pa.array(range(part.num_rows), type=pa.int64()))
    at = at.cast(_KINDS.append(pa.field("row", pa.int64())))
    rest = at.join(bare, KEYS, join_type="left anti")["row"].sort()
    if len(rest):
        data = write(part.take(rest))
        folder.write(part_name(data), data)
    folder.delete(name)


def _rows_of_no_sweep(root: Folder) -> Iterator[Rubbish]:
    """Rows that no frozen plan under ``sweeps`` asks for: of a sweep deleted or moved, say."""
    planned = [_run_ids(f, n) for f, n in _plans(root / "sweeps")]
    known = pa.concat_arrays([pa.array([], type=pa.string()), *planned]).unique()
    for name in (root / "tables").folders():
        folder = root / "tables" / name
        keys = [k["run_id"] for n in part_names(folder) if (k := _keys(folder, n)) is not None]
        if not keys:
            continue
        ids = pa.chunked_array([c for k in keys for c in k.chunks]).unique()
        n = len(ids) - (pc.sum(pc.is_in(ids, value_set=known)).as_py() or 0)
        if n:
            text = f"{n} of {len(ids)} runs are in no plan under {root / 'sweeps'}"
            kept = "rows are never removed; delete the folder yourself if you mean it"
            yield Rubbish("rows of no sweep", str(folder), text, n, kept=kept)


def _plans(sweeps: Folder) -> Iterator[tuple[Folder, str]]:
    for sweep in sweeps.folders():
        for folder in (sweeps / sweep, sweeps / sweep / "launches"):
            yield from ((folder, n) for n in folder.names() if n.endswith("plan.parquet"))


def _run_ids(folder: Folder, name: str) -> pa.Array:
    try:
        found = read_plan(folder, name, ["run_id"])
        return found["run_id"].cast(pa.string()).combine_chunks()
    except (FileNotFoundError, SkippedPart, pa.ArrowException):
        return pa.array([], type=pa.string())
