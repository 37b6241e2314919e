"""What README and docs advise for reading the parts without us is right after an allowed change.

Every such block is run as it stands, on a table whose metric became a float, which got another
metric, and whose params grew.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import polars
import pytest
from rows import row, write_part
from toys import toy

from lawsweep.core.schema import MISSING, Field, FieldSpec
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.upkeep.compact import compact
from lawsweep.store.upkeep.verify import verify

ROOT = Path(__file__).parent.parent
PAGES = {
    p.name: p.read_text(encoding="utf-8") for p in (ROOT / "README.md", ROOT / "docs/results.md")
}
EXPECTED = [("a" * 32, 4.0), ("b" * 32, 9007199254740992.0), ("c" * 32, 4.5)]


def blocks():
    """Code that reads parts: each with its page, language and text."""
    for page, text in PAGES.items():
        for language, source in re.findall(r"```(python|sql)\n(.*?)```", text, re.DOTALL):
            if "results/tables/" in source:
                yield pytest.param(language, source, id=f"{page}-{language}-{len(source)}")


def spec(name, kind, optional=False, default=MISSING):
    return FieldSpec(name, kind, optional, False, None, default, Field())


def with_a_past(root, name, metric):
    """Two parts of an experiment: ``metric`` is whole in the older, and a float in the newer."""
    dim = spec("input_dim", "int")
    params = (dim, spec("variance", "float", default=1.0))
    base = dataclasses.replace(toy, name=name, constraints=())
    then = dataclasses.replace(base, params=params[:1], metrics=(spec(metric, "int"),))
    metrics = (spec("added", "bool", True), spec(metric, "float"))
    now = dataclasses.replace(base, params=params, metrics=metrics)
    common = {"experiment": name, "input_dim": 20}
    older = [row(r, **common, **{metric: v}) for r, v in (("a" * 32, 4), ("b" * 32, 2**53))]
    write_part(ParquetTable(root / "results/tables", then), older)
    table = ParquetTable(root / "results/tables", now)
    write_part(table, [row("c" * 32, **common, **{metric: 4.5, "added": True, "variance": 2.0})])
    return table


def table_of(source, root):
    """The table that a block reads, with the metric that its page speaks of."""
    name = re.search(r"results/tables/(\w+)", source)[1]
    metric = {"wigner_edge": "edge", "ntk_min_eig": "lambda_min"}[name]
    return with_a_past(root, name, metric), metric


def test_there_is_a_block_for_every_reader():
    sources = "".join(p.values[1] for p in blocks())
    assert all(word in sources for word in ("union_by_name", "pd.read_parquet", "scan_parquet"))
    plain = [s for s in PAGES.values() if re.search(r"FROM '[^']*part-\*\.parquet'", s)]
    assert not plain  # DuckDB's own glob takes the first part's columns


@pytest.mark.parametrize(("language", "source"), list(blocks()))
def test_an_advised_read_is_right_after_an_allowed_change(tmp_path, language, source):
    _, metric = table_of(source, tmp_path)
    if language == "sql":
        source = f'import duckdb\nframe = duckdb.sql("""{source}""").to_arrow_table().to_pydict()'
    if "frame = " not in source:  # it prints a mean
        source = source.replace("print(\n", "frame = (\n")
        tail = f"print(frame.fetchall()[0][:2] == (20, {(4.0 + 2.0**53 + 4.5) / 3}))"
    else:
        tail = (
            f"print(sorted(zip(list(frame['run_id']), list(frame['{metric}']))) == {EXPECTED!r}, "
            "sorted(map(str, frame['added']))[-1])"
        )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{source}\n{tail}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[0] == "True", done.stdout


def test_verify_tells_of_mixed_schemas_and_compact_mends_them(tmp_path):
    table = with_a_past(tmp_path, "toy", "y")
    pattern = f"{table.folder}/part-*.parquet"
    read = f"SELECT run_id, y FROM '{pattern}' ORDER BY run_id"
    assert duckdb.sql(read).fetchall()[-1] == ("c" * 32, 4)  # as bad as it is said to be
    (found,) = [f for f in verify(table) if f.check == "schemas"]
    assert (found.severity, found.n) == ("note", 1)
    assert "no column variance, added; y is int64 and not double" in found.message
    assert "lawsweep compact rewrites them to one" in found.message
    compact(table)
    assert [f.severity for f in verify(table) if f.check == "schemas"] == ["ok"]
    assert duckdb.sql(read).fetchall() == EXPECTED
    assert sorted(polars.scan_parquet(pattern).select("run_id", "y").collect().rows()) == EXPECTED
