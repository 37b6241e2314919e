"""Check a table from end to end: files, rows, arrays, launches, plan.

Every check ends in at least one Finding, so that what was looked at is said too.  Nothing is
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lawsweep.core.errors import StoreError
from lawsweep.core.outcome import FAILURES, STATUSES
from lawsweep.grid.plan import Plan
from lawsweep.store.arrays.arrays import ArrayTable
from lawsweep.store.arrays.values import KEYS
from lawsweep.store.curves.artefacts import Artefacts
from lawsweep.store.places.files import TEMPORARY
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.sweep_folder import find_launches
from lawsweep.store.table.attempts import latest
from lawsweep.store.table.one_schema import one_schema
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.parts import PART, part_names
from lawsweep.store.upkeep.compact import is_whole, remove_covered, said_digest
from lawsweep.store.upkeep.verify_code import check_codes, digests_of
from lawsweep.store.upkeep.verify_rows import (
    SEVERITIES,
    Finding,
    Severity,
    check_ids,
    check_repeats,
    some_ids,
)

__all__ = ["SEVERITIES", "Finding", "Severity", "by_severity", "verify"]


def verify(
    table: ParquetTable, *, plan: Plan | None = None, asked: Sequence[int] | None = None
) -> list[Finding]:
    """Every finding about a table, its arrays and launches; problems first.

    With ``plan`` also whether its runs are there (of a search those ``asked`` for).  Raises
    StoreError when the folder cannot be read at all.
    """
    results = table.results
    rows = table.attempts()
    beside = results / "arrays" / table.experiment.name
    launches = set(rows["launch_id"].to_pylist()) - {None}
    digests = digests_of(find_launches(results, launches))
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _check_files(table.folder, table.skipped),
        lambda: _check_schemas(table.folder),
        lambda: check_repeats(rows, table.experiment, digests),
        lambda: check_ids(rows, table.experiment),
        lambda: _check_status(rows),
        lambda: _check_arrays(beside, rows, table),
        lambda: _check_curves(rows, table),
        lambda: _check_artefacts(rows, Artefacts(results, table.experiment.name)),
        lambda: _check_launches(results, rows, digests),
    ]
    if plan is not None:
        run_ids = plan.run_ids if asked is None else [plan.run_ids[i] for i in asked]
        checks.append(lambda: _check_plan(rows, run_ids))
    return by_severity([finding for check in checks for finding in check()])


def by_severity(found: Iterable[Finding]) -> list[Finding]:
    """Problems first, what is well last."""
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))


def _check_files(folder: Folder, skipped: dict[str, str]) -> Iterator[Finding]:
    """Content against the digest in each name; what readers skip; what writers left."""
    n_whole, check = 0, "files"
    for name in folder.names():
        if name.startswith(TEMPORARY):
            yield Finding("note", check, f"{folder}/{name}: left by a writer that died; gc", 1)
        elif PART.match(name) and name not in skipped:
            if said_digest(name) is None:
                yield Finding("note", check, f"{folder}/{name}: named by hand, no digest", 1)
            elif _is_whole(folder, name):
                n_whole += 1
            else:
                text = "damaged: its content is not what its name says. Put a copy of it back, "
                text += "or remove it and run its runs again"
                yield Finding("problem", check, f"{folder}/{name}: {text}", 1)
    for name, by in remove_covered(folder, folder.names(), dry=True).items():
        text = f"{folder}/{name}: replaced by {by}, and still there; compact or gc removes it"
        yield Finding("note", check, text, 1)
    for name, reason in sorted(skipped.items()):
        severity: Severity = "note" if "newer lawsweep" in reason else "problem"
        yield Finding(severity, check, f"{folder}/{name}: skipped by readers: {reason}", 1)
    yield Finding("ok", check, f"{folder}: {n_whole} parts hold what their names say", n_whole)


def _check_schemas(folder: Folder) -> Iterator[Finding]:
    """Parts that a reader which takes one part's columns for those of all would misread."""
    found, check = one_schema(folder, part_names(folder)), "schemas"
    if found.mixed:
        n, (name, other) = len(found.mixed), min(found.mixed.items())
        text = f"{folder}: {n} parts have other columns or types than the others ({name}: {other})."
        text += " Our readers widen them; DuckDB does with union_by_name. lawsweep compact rewrites"
        yield Finding("note", check, f"{text} them to one", n)
    for name, why in sorted(found.apart.items()):
        text = f"{folder}/{name}: cannot be read together with the newer parts: {why}"
        yield Finding("note", check, text, 1)
    if not found.mixed and not found.apart and found.schema is not None:
        yield Finding("ok", check, f"{folder}: all parts have the same columns and types", 1)


def _is_whole(folder: Folder, name: str) -> bool:
    try:
        return is_whole(folder, name)
    except FileNotFoundError:
        return True  # merged away since: its rows are in a newer part
    except StoreError:
        return False


def _check_status(rows: pa.Table) -> Iterator[Finding]:
    known = pc.is_in(rows["status"], value_set=pa.array(STATUSES))
    n = rows.num_rows - (pc.sum(known).as_py() or 0)
    if n:
        ids = some_ids(rows.filter(pc.invert(known))["run_id"].to_pylist())
        yield Finding("problem", "status", f"{n} rows have an unknown status", n, ids)


def _check_arrays(beside: Folder, rows: pa.Table, table: ParquetTable) -> Iterator[Finding]:
    """Array parts, values without rows, and rows whose array is not there."""
    check, known = "arrays", {s.name: s for s in table.experiment.arrays}
    for name in beside.folders():
        if name not in known:
            text = f"{beside / name}: {table.experiment.name} has no array of this name any more"
            yield Finding("note", check, text, 1)
    good = rows.filter(pc.equal(rows["status"], "ok"))
    kept = latest(rows)
    # Whoever computed an imported row left no arrays, or not with us.
    imported = pc.fill_null(pc.equal(kept["device"], "imported"), False)
    promised = pc.and_(pc.equal(kept["status"], "ok"), pc.invert(imported))
    kept = kept.filter(promised).select(KEYS)
    for name, spec in known.items():
        array = ArrayTable(beside.parent, table.experiment, name)
        found = array.index()[0].select(KEYS)
        yield from _check_files(array.folder, array.skipped)
        n = found.join(good.select(KEYS), KEYS, join_type="left anti").num_rows
        if n:
            text = f"{n} values of {name} have no row: their writer died before it wrote one; gc"
            yield Finding("note", check, text, n)
        if not spec.optional:
            bare = kept.join(found, KEYS, join_type="left anti")["run_id"].to_pylist()
            if bare:
                text = f"{len(bare)} successful runs have no {name}, which is not optional"
                yield Finding("problem", check, text, len(bare), some_ids(bare))
        n = found.num_rows - n
        yield Finding("ok", check, f"{n} values of {name} belong to rows", n)


def _check_curves(rows: pa.Table, table: ParquetTable) -> Iterator[Finding]:
    """Parts of curves, and points whose attempt has no row."""
    if not part_names(table.curve_table.folder):
        return
    check, curves = "curves", table.curve_table
    found = curves.read().select(KEYS)
    yield from _check_files(curves.folder, curves.skipped)
    bare = found.join(rows.select(KEYS), KEYS, join_type="left anti")
    if n := bare.num_rows:
        text = f"{n} points of curves are of attempts without a row: they are under way, or their "
        yield Finding("note", check, f"{text}launch ended before they did; gc", n)
    n_runs = pc.count_distinct(found["run_id"]).as_py()
    n = found.num_rows - n
    yield Finding("ok", check, f"{n} points of curves belong to rows ({n_runs} runs)", n)


def _check_artefacts(rows: pa.Table, kept: Artefacts) -> Iterator[Finding]:
    """Files that runs left, and those whose run has no row."""
    left = list(kept.all())
    if not left:
        return
    known = set(rows["run_id"].to_pylist())
    bare = sorted({one.run_id for one in left if one.run_id not in known})
    if bare:
        text = f"{len(bare)} runs left artefacts in {kept.folder} and have no row yet"
        yield Finding("note", "artefacts", text, len(bare), some_ids(bare))
    n_bytes = sum(one.n_bytes for one in left)
    n_runs = len({one.run_id for one in left})
    text = f"{len(left)} artefacts of {n_runs} runs, {n_bytes:,} bytes"
    yield Finding("ok", "artefacts", text, len(left))


def _check_launches(
    results: Folder, rows: pa.Table, digests: Mapping[str, str]
) -> Iterator[Finding]:
    """Each row names the launch that made it; its record says from which code and where."""
    sweeps, check = results / "sweeps", "launches"
    there = {n for s in sweeps.folders() for n in (sweeps / s / "launches").names()}
    counts = pc.value_counts(rows["launch_id"].combine_chunks()).to_pylist()
    missing = {c["values"]: c["counts"] for c in counts if f"{c['values']}.json" not in there}
    for launch, n in sorted(missing.items(), key=str):
        text = f"{n} rows are of the launch {launch}, which has no record under {sweeps}"
        if launch is None:
            text = f"{n} rows do not say which launch made them"
        yield Finding("problem", check, text, n)
    n = len(counts) - len(missing)
    yield Finding("ok", check, f"{n} launches have their record", n)
    rows_of = {c["values"]: c["counts"] for c in counts if c["values"] not in missing}
    yield from check_codes(results, digests, rows_of)


def _check_plan(rows: pa.Table, run_ids: Sequence[str]) -> Iterator[Finding]:
    """What of the plan is there."""
    check = "plan"
    planned = pa.table({"run_id": run_ids})
    kept = latest(rows)
    there = kept.filter(pc.is_in(kept["run_id"], value_set=planned["run_id"].combine_chunks()))
    n_missing = len(run_ids) - there.num_rows
    if n_missing:
        text = f"{n_missing} of {len(run_ids)} planned runs have no row yet"
        yield Finding("note", check, text, n_missing)
    failed = there.filter(pc.is_in(there["status"], value_set=pa.array(FAILURES)))
    if failed.num_rows:
        text = f"{failed.num_rows} of {len(run_ids)} planned runs failed; lawsweep rerun --failed"
        yield Finding("note", check, text, failed.num_rows, some_ids(failed["run_id"].to_pylist()))
    n_beside = kept.num_rows - there.num_rows
    if n_beside:
        text = f"{n_beside} runs in the table are of no run of this plan; other sweeps share it"
        yield Finding("note", check, text, n_beside)
    n = there.num_rows
    yield Finding("ok", check, f"{n} of {len(run_ids)} planned runs have a row", n)
