"""Rows of before in the words of today: a text that became a code is read as the code."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc


def in_words_of_today(rows: pa.Table, aliases: Mapping[str, Mapping[str, str]]) -> pa.Table:
    """``rows`` with the texts of some columns renamed (``Experiment.aliases``); files stay."""
    for name, renamed in aliases.items():
        i = rows.schema.get_field_index(name)
        if i < 0 or not pa.types.is_string(rows.schema.field(i).type):
            continue
        then, now = (pa.array(list(t), pa.string()) for t in (renamed, renamed.values()))
        chunks = rows.column(i).chunks
        found = [pc.index_in(chunk, value_set=then) for chunk in chunks]
        if all(place.null_count == len(place) for place in found):
            continue
        made = [pc.coalesce(now.take(p), c) for p, c in zip(found, chunks, strict=True)]
        rows = rows.set_column(i, rows.schema.field(i), pa.chunked_array(made, pa.string()))
    return rows
