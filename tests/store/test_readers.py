"""Missing, NaN, infinite and failed differ in every reader, with no code of ours."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import duckdb
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from toys import toy

from lawsweep.core.errors import Infeasible
from lawsweep.core.outcome import RunSpec
from lawsweep.core.plain.decorator import experiment
from lawsweep.core.schema import Field
from lawsweep.grid.plan import make_plan
from lawsweep.launch.committer import Committer
from lawsweep.store.exchange.dictionary import (
    data_dictionary,
    dictionary_markdown,
    dictionary_table,
)
from lawsweep.store.exchange.export import write_table
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.schema import table_schema
from lawsweep.worker.execute import execute_run


@dataclass(frozen=True, kw_only=True)
class Params:
    case: str
    rate: float | None = None
    shape: tuple[int, ...] = (2, 3)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    value: Annotated[float | None, Field("the measured value", unit="nat")]
    count: int | None
    label: str | None
    agreed: bool | None
    curve: tuple[float, ...] | None


ANSWERS = {
    "number": (1.5, 2**53 + 1, "text", True, (1.0, math.nan)),
    "zero": (-0.0, 0, "", False, ()),
    "missing": (None, None, None, None, None),
    "nan": (math.nan, 1, "nan", True, (math.nan,)),
    "inf": (math.inf, -1, "inf", True, (math.inf,)),
    "minus_inf": (-math.inf, 1, "NA", True, (-math.inf,)),
}
CASES = (*ANSWERS, "failed", "infeasible")


@experiment(version=1)
def kinds(params: Params, seed: int) -> Metrics:
    """One answer of each kind."""
    if params.case == "failed":
        raise ValueError("no")
    if params.case == "infeasible":
        raise Infeasible("no such point")
    return Metrics(
        **dict(
            zip(("value", "count", "label", "agreed", "curve"), ANSWERS[params.case], strict=True)
        )
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of every kind of row, in two parts."""
    made = ParquetTable(tmp_path_factory.mktemp("results") / "tables", kinds)
    plan = make_plan(kinds, axes={"case": list(CASES)})
    committer = Committer(made, plan, "L")
    for i, run_id in enumerate(plan.run_ids):
        committer.add(execute_run(kinds, RunSpec(i, run_id, plan.params_of(i), 0)))
        if i == 3:
            committer.flush()
    committer.flush()
    return made


COLUMNS = ("case", "status", "value", "count", "label", "agreed", "curve")


def expected():
    rows = []
    for case in CASES:
        status = "ok" if case in ANSWERS else case
        answer = [list(v) if isinstance(v, tuple) else v for v in ANSWERS.get(case, [None] * 5)]
        rows.append(dict(zip(COLUMNS, (case, status, *answer), strict=True)))
    return same(rows)


def same(rows):
    """Rows in a form where equal means the same: repr keeps nan, -0.0 and None apart."""
    return sorted(repr({n: row[n] for n in COLUMNS}) for row in rows)


def at(table):
    return Path(table.root) / "kinds"


def where(table):
    return f"{at(table)}/part-*.parquet"


def by_us(table):
    return table.read().to_pylist()


def by_pyarrow(table):
    return pyarrow.dataset.dataset(str(at(table)), format="parquet").to_table().to_pylist()


def by_polars(table):
    return polars.scan_parquet(where(table)).collect().to_dicts()


def by_duckdb(table):
    names = ", ".join(f'"{n}"' for n in COLUMNS)  # case is a word of SQL's
    found = duckdb.sql(f"SELECT {names} FROM '{where(table)}'").fetchall()
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def by_pandas(table):
    frame = pd.read_parquet(at(table), dtype_backend="pyarrow")
    rows = [{n: frame[n].array[i] for n in COLUMNS} for i in range(len(frame))]
    return [{n: None if v is pd.NA else v for n, v in row.items()} for row in rows]


@pytest.mark.parametrize("reader", [by_us, by_pyarrow, by_polars, by_duckdb, by_pandas])
def test_every_reader_gets_every_value_as_it_was(table, reader):
    assert same(reader(table)) == expected()


def test_counts_in_duckdb_tell_missing_from_nan(table):
    counted = duckdb.sql(
        "SELECT status, count(*), count(*) - count(value), count(*) FILTER (isnan(value)), "
        f"count(*) FILTER (isinf(value)) FROM '{where(table)}' GROUP BY status ORDER BY status"
    ).fetchall()
    assert counted == [("failed", 1, 1, 0, 0), ("infeasible", 1, 1, 0, 0), ("ok", 6, 1, 1, 2)]


def test_counts_in_polars_tell_missing_from_nan(table):
    ok = polars.scan_parquet(where(table)).filter(polars.col("status") == "ok")
    value = polars.col("value")
    counted = ok.select(
        missing=value.is_null().sum(), nan=value.is_nan().sum(), inf=value.is_infinite().sum()
    )
    assert counted.collect().to_dicts() == [{"missing": 1, "nan": 1, "inf": 2}]


def test_plain_pandas_does_not_tell_missing_from_nan(table):
    """Why the documentation says dtype_backend="pyarrow"; should pandas learn it, this tells."""
    plain = pd.read_parquet(at(table)).set_index("case")
    assert plain["value"].isna().sum() == 4  # missing, nan, failed, infeasible
    arrow = pd.read_parquet(at(table), dtype_backend="pyarrow").set_index("case")
    assert arrow["value"].isna().sum() == 3  # missing, failed, infeasible


# R itself is not tried here.  The Arrow R package's article "Data types" maps each of these:
# boolean to logical, int64 to integer or bit64::integer64, float64 to double, utf8 to character,
# timestamp to POSIXct, dictionary to factor, list<T> to a list column; null is NA, NaN stays NaN.
KNOWN_TO_R = {pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.timestamp("us", tz="UTC")}


def plain_type(kind):
    if pa.types.is_dictionary(kind):
        kind = kind.value_type  # read as a factor
    if pa.types.is_list(kind):
        kind = kind.value_type
    return kind


def test_the_file_holds_only_types_that_r_reads(table):
    for part in sorted(at(table).glob("part-*.parquet")):
        file = pq.ParquetFile(part)
        assert {plain_type(f.type) for f in file.schema_arrow} <= KNOWN_TO_R
        chunks = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
        # In R's ordinary builds; arrow::codec_is_available("zstd") tells of a minimal one.
        assert {c.compression for c in chunks} <= {"ZSTD", "SNAPPY", "GZIP", "UNCOMPRESSED"}


def test_csv_and_json_tell_missing_from_nan(table, tmp_path):
    for name in ("t.csv", "t.json"):
        write_table(table.read(), tmp_path / name)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        got = {r["case"]: r["value"] for r in csv.DictReader(file)}
    assert got == {
        "number": "1.5", "zero": "-0", "missing": "", "nan": "nan", "inf": "inf",
        "minus_inf": "-inf", "failed": "", "infeasible": "",
    }  # fmt: skip
    lines = (tmp_path / "t.json").read_text(encoding="utf-8").splitlines()
    assert same(map(json.loads, lines)) == expected()


def test_the_dictionary_says_what_every_column_is(table, tmp_path):
    rows = data_dictionary(table.read(), kinds)
    assert [r["column"] for r in rows] == table.schema.names
    of = {r["column"]: r for r in rows}
    assert of["value"] == {
        "column": "value", "type": "double", "unit": "nat", "meaning": "the measured value",
        "source": "", "role": "metric", "allowed": "", "default": "", "chaotic": "",
        "n_rows": 8, "n_missing": 3, "n_nan": 1, "n_infinite": 2,
    }  # fmt: skip
    assert all(r["meaning"] and r["unit"] for r in rows)
    assert (of["curve"]["n_missing"], of["curve"]["n_nan"], of["curve"]["n_infinite"]) == (3, 2, 2)
    assert (of["rate"]["allowed"], of["rate"]["default"]) == ("or null", "null")
    assert (of["shape"]["type"], of["shape"]["default"]) == ("list<int64>", "[2, 3]")
    assert of["case"]["default"] == ""
    assert (of["wall_s"]["role"], of["wall_s"]["unit"]) == ("run", "s")


def test_the_dictionary_gives_choices_and_ranges():
    rows = data_dictionary(table_schema(toy).empty_table(), toy)
    of = {r["column"]: r for r in rows}
    assert of["n"]["allowed"] == ">= 1, <= 1000"
    assert of["mode"]["allowed"] == 'one of "ok", "nan", "missing"'
    assert (of["mode"]["default"], of["scale"]["default"]) == ('"ok"', "1.0")
    assert (of["y"]["n_missing"], of["y"]["n_nan"]) == (0, 0)


def test_without_the_experiment_the_dictionary_comes_from_the_file_alone(table):
    part = sorted(at(table).glob("part-*.parquet"))[0]
    alone = data_dictionary(pq.read_table(part))
    assert {r["column"]: r["meaning"] for r in alone}["value"] == "the measured value"
    (axis,) = data_dictionary(pa.table({"ratio": [1.0, None]}))
    assert (axis["role"], axis["n_missing"], axis["n_rows"]) == ("axis", 1, 2)


def test_the_dictionary_is_written_as_csv_json_and_markdown(table, tmp_path):
    rows = data_dictionary(table.read(), kinds)
    for name in ("d.csv", "d.json"):
        write_table(dictionary_table(rows), tmp_path / name)
    with (tmp_path / "d.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert read == [{k: str(v) for k, v in r.items()} for r in rows]
    lines = (tmp_path / "d.json").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows
    page = dictionary_markdown([{**rows[0], "meaning": "a | b\nc"}, *rows[1:]]).splitlines()
    assert len(page) == len(rows) + 2
    assert "a \\| b c" in page[2]
    assert {line.replace("\\|", "").count("|") for line in page} == {len(rows[0]) + 1}
