"""A file of results somebody else computed, as rows of an experiment: read, renamed, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError, LawsweepError, StoreError, unknown_name
from lawsweep.core.experiment import RESERVED, Experiment
from lawsweep.core.identity import run_id as make_run_id
from lawsweep.core.plan import read_seeds
from lawsweep.core.schema import FieldSpec

if TYPE_CHECKING:
    import pyarrow as pa

# What a missing value is spelled like in a CSV.  Not nan: a NaN is a value, and stays one.
_NULLS = ["", "NA", "N/A", "null", "NULL", "None", "#N/A"]
_ANEW = RESERVED - {"seed", "wall_s"}


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """The ok rows of a file in our terms (``rows``), of ``n_in_file``; its columns to ours."""

    rows: list[dict[str, Any]]
    columns: dict[str, str]
    sha256: str
    n_in_file: int


def read_file(
    path: Path,
    experiment: Experiment,
    columns: Mapping[str, str],
    drop: Sequence[str],
    seed: int | None,
    fixed: Mapping[str, Any],
) -> FileRows:
    """Read and check every row, as ``import_rows`` says.  Raises a LawsweepError."""
    table, digest = _read(path)
    n_in_file = table.num_rows
    _check_meant(table, experiment, drop, path)
    table, numbers = _only_ok(table, path)
    mapped = _columns(experiment, table.column_names, columns, drop)
    _check_seed("seed" in mapped.values(), seed, path)
    found = table.select(list(mapped)).rename_columns(list(mapped.values())).to_pylist()
    if seed is not None:
        found = [{**row, "seed": seed} for row in found]
    rows = _rows(experiment, dict(zip(numbers, found, strict=True)), fixed, path)
    return FileRows(rows=rows, columns=mapped, sha256=digest, n_in_file=n_in_file)


def _read(path: Path) -> tuple[pa.Table, str]:
    """The file as Arrow, and the hash of its bytes.  Raises StoreError, InvalidValueError."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    if path.suffix.lower() not in (".csv", ".parquet"):
        raise InvalidValueError(f"import takes a .csv or .parquet file, got {path}.")
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".parquet":
            table = pq.ParquetFile(pa.BufferReader(data)).read()
        else:
            options = pyarrow.csv.ConvertOptions(
                null_values=_NULLS, strings_can_be_null=True, quoted_strings_can_be_null=False
            )
            # A traceback spans lines, and the reader would cut one at the end of a block.
            table = pyarrow.csv.read_csv(
                pa.BufferReader(data),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=options,
            )
    except FileNotFoundError:
        raise StoreError(f"There is no file {path} to import. Check the path.") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StoreError(f"Cannot read {path}: {reason}. Mend the file.") from None
    if not table.num_rows:
        raise InvalidValueError(f"{path} holds no rows.")
    repeated = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if repeated:
        raise InvalidValueError(
            f"{path} has several columns called {', '.join(repeated)}; give each its own name."
        )
    return table, hashlib.sha256(data).hexdigest()


def _check_meant(table: pa.Table, experiment: Experiment, drop: Sequence[str], path: Path) -> None:
    """Raise InvalidValueError for an export of ours of another experiment or version.

    Its rows would come in under run ids of this version, and mean something else.
    """
    if "run_id" not in table.column_names:
        return
    for name, meant in (("experiment", experiment.name), ("version", experiment.version)):
        if name not in table.column_names or name in drop:
            continue
        others = {v for v in table[name].to_pylist() if v is not None and v != meant}
        if others:
            raise InvalidValueError(
                f"{path} has rows of {name} {sorted(map(str, others))[0]}, and {experiment.name} "
                f"here is {name} {meant}; if they mean the same, --drop {name} lets them in."
            )


def _only_ok(table: pa.Table, path: Path) -> tuple[pa.Table, list[int]]:
    """The rows whose ``status``, where there is such a column, is ok; and their numbers, from 1."""
    numbers = list(range(1, table.num_rows + 1))
    if "status" not in table.column_names:
        return table, numbers
    is_ok = [s == "ok" for s in table["status"].to_pylist()]
    if not any(is_ok):
        raise InvalidValueError(
            f"{path} has no row whose status is ok; there is nothing to import."
        )
    return table.filter(is_ok), [n for n, good in zip(numbers, is_ok, strict=True) if good]


def _columns(
    experiment: Experiment, names: Sequence[str], asked: Mapping[str, str], drop: Sequence[str]
) -> dict[str, str]:
    """Their columns to ours.  Raises for what is unknown, on either side, or comes twice."""
    for name in (*asked, *drop):
        if name not in names:
            raise unknown_name("column", name, names, "the file")
    ours = [*(s.name for s in (*experiment.params, *experiment.metrics)), "seed", "wall_s"]
    for name in asked.values():
        if name not in ours:
            raise unknown_name("column", name, ours, f"experiment {experiment.name}")
    mapped = {n: asked.get(n, n) for n in names if n not in drop and (n in asked or n not in _ANEW)}
    unknown = [n for n, to in mapped.items() if to not in ours]
    if unknown:
        error = unknown_name("column", unknown[0], ours, f"experiment {experiment.name}")
        more = f" (So are {', '.join(unknown[1:])}.)" if unknown[1:] else ""
        raise InvalidValueError(
            f"{error}{more} Map a column with --map theirs=ours, or leave it out with --drop."
        )
    for name in sorted(set(mapped.values())):
        several = [n for n, to in mapped.items() if to == name]
        if len(several) > 1:
            raise InvalidValueError(
                f"The columns {' and '.join(several)} are both {name}; leave one out with --drop."
            )
    return mapped


def _check_seed(has_column: bool, seed: int | None, path: Path) -> None:
    if has_column and seed is not None:
        raise InvalidValueError(f"{path} has seeds, and --seed gives another; drop one of them.")
    if not has_column and seed is None:
        raise InvalidValueError(
            f"{path} has no column for the seed. Map one with --map theirs=seed, or give --seed."
        )


def _rows(
    experiment: Experiment,
    found: Mapping[int, Mapping[str, Any]],
    fixed: Mapping[str, Any],
    path: Path,
) -> list[dict[str, Any]]:
    """Every row (by its number in the file) in our terms.

    Raises the error of the first bad row, and says which it is; InvalidValueError for a run that
    comes twice.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    bad: list[tuple[int, LawsweepError]] = []
    for number, values in found.items():
        try:
            row = _row(experiment, values, fixed)
        except LawsweepError as error:
            bad.append((number, error))
            continue
        first = seen.setdefault(row["run_id"], number)
        if first != number:
            raise InvalidValueError(
                f"Rows {first} and {number} of {path} are the same run (same params and seed). "
                "Leave one of them out."
            )
        rows.append(row)
    if bad:
        number, why = bad[0]
        more = f" {len(bad) - 1:,} more rows are bad." if bad[1:] else ""
        raise type(why)(f"Row {number} of {path}: {why}{more} Nothing was imported.")
    return rows


def _row(
    experiment: Experiment, found: Mapping[str, Any], fixed: Mapping[str, Any]
) -> dict[str, Any]:
    (seed,) = read_seeds([_whole(found["seed"])])
    values = dict(fixed)
    for spec in experiment.params:
        # An empty cell of a param that cannot be null is one that this row does not give.
        if spec.name in found and (found[spec.name] is not None or spec.optional):
            values[spec.name] = _unpacked(spec, found[spec.name])
    experiment.bind(values)
    params = {s.name: s.cast(values[s.name]) for s in experiment.params if s.name in values}
    metrics = {
        s.name: s.cast_metric(_unpacked(s, found[s.name]))
        for s in experiment.metrics
        if s.name in found
    }
    return {
        **experiment.with_defaults(params),
        **metrics,
        "run_id": make_run_id(experiment, params, seed),
        "seed": seed,
        "wall_s": found.get("wall_s"),
    }


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unpacked(spec: FieldSpec, value: Any) -> Any:
    """A list from a CSV, where it is JSON text (as ``export`` writes it)."""
    if not (spec.is_tuple and isinstance(value, str)):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
