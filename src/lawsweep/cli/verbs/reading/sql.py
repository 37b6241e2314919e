"""``lawsweep sql``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import is_printed, results_dir
from lawsweep.cli.plain_output import one_line
from lawsweep.cli.text import TEXTS, aligned, print_table, room

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Asked(Answer):
    """The answer of a query, and the file it went to; ``limit`` 0 prints all rows."""

    table: pa.Table
    output: str | None
    limit: int

    def lines(self) -> Iterator[str]:
        """Aligned text; numbers to six digits, a missing value as null."""
        table = self.table
        if self.output is not None:
            yield f"{self.output}: {table.num_rows:,} rows"
            return
        shown = table.slice(0, self.limit or table.num_rows)
        columns = [list(map(_cell, column.to_pylist())) for column in shown.columns]
        yield from aligned([table.column_names, *zip(*columns, strict=True)], room())
        if self.limit and table.num_rows > self.limit:
            yield f"... and {table.num_rows - self.limit:,} more rows (--limit 0 prints all)"

    def to_dict(self) -> list[dict[str, Any]]:
        """A mapping a row."""
        found: list[dict[str, Any]] = self.table.to_pylist()
        return found


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    text = f"{value:.6g}" if isinstance(value, float) else one_line(value)
    return text if len(text) <= 60 else text[:57] + "..."


@verb(70, short_help="Ask all tables a question in SQL.", only_prints=True)
@click.argument("query")
@click.argument("overrides", nargs=-1)
@click.option("-o", "--output", help="File: .parquet, .csv, .tsv, .json, .md; - prints all rows.")
@click.option("--format", "kind", type=click.Choice(TEXTS), help="Print all rows as such text.")
@click.option(
    "--limit", type=click.IntRange(0), default=40, show_default=True, help="Rows to print; 0: all."
)
def sql(
    query: str,
    overrides: tuple[str, ...],
    output: str | None,
    kind: str | None,
    limit: int,
    as_json: bool,
) -> Asked | int:
    """Ask all tables a question in SQL (DuckDB's): each experiment is a view of its name.

    An array is EXPERIMENT__ARRAY with run_id, shape and values.  A query reads these views and no
    file, and can write nothing.  Example: lawsweep sql 'SELECT n_samples, avg(lambda_min) FROM
    ntk_min_eig WHERE status = $$ok$$ GROUP BY ALL ORDER BY ALL'
    """
    from lawsweep.tools.sql import sql as ask

    printed = is_printed(output, kind, as_json=as_json)
    answer = ask(query, results_dir(overrides))
    if printed:
        print_table(answer, kind or "csv")
        return 0
    if output is not None:
        from lawsweep.store.exchange.export import write_table

        write_table(answer, output)
    return Asked(answer, output, limit)
