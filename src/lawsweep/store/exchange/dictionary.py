"""The data dictionary of a table: what every column is, for a reader who has only the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lawsweep.core.experiment import Experiment
from lawsweep.core.schema import FieldSpec

# The dictionary's own columns.  Text, but for the counts (None: cannot be counted here).
_TEXTS = (
    "column", "type", "unit", "meaning", "source", "role", "allowed", "default", "chaotic",
)  # fmt: skip
_COUNTS = ("n_rows", "n_missing", "n_nan", "n_infinite")


def data_dictionary(table: pa.Table, experiment: Experiment | None = None) -> list[dict[str, Any]]:
    """One row a column of ``table``, in its order; then one an array of the experiment.

    Each row has ``column``, ``type``, ``unit``, ``meaning``, ``source``, ``role`` (run, param,
    metric, array, axis), ``allowed`` (choices or range), ``default`` (JSON; empty for none),
    ``chaotic`` (true where the metric turns on the last bit), ``n_rows``, ``n_missing``, ``n_nan``,
    ``n_infinite``.  In a list column a row is missing as a whole, while NaN and infinities are
    counted among the lists' elements.  Allowed values and defaults are known only with the
    experiment; all else comes from the table itself.
    """
    specs: dict[str, FieldSpec] = {}
    if experiment is not None:
        specs = {s.name: s for s in (*experiment.params, *experiment.metrics)}
    rows = [_row(f, table[f.name], specs.get(f.name)) for f in table.schema]
    return rows + [_array_row(s) for s in getattr(experiment, "arrays", ())]


def _row(field: pa.Field, column: pa.ChunkedArray, spec: FieldSpec | None) -> dict[str, Any]:
    told = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    role = told.get("role", "axis")  # only an axis that is no param comes without metadata
    values = column
    while pa.types.is_list(values.type):
        values = pc.list_flatten(values)
    is_real = pa.types.is_floating(values.type)
    return {
        "column": field.name,
        "type": _type_name(field.type),
        "unit": told.get("unit", ""),
        "meaning": told.get("meaning", ""),
        "source": told.get("source", ""),
        "role": role,
        # A metric's range is not held: what was measured is data.
        "allowed": _allowed(spec) if spec is not None and role == "param" else "",
        "default": _default(spec) if spec is not None and role == "param" else "",
        "chaotic": told.get("chaotic", ""),
        "n_rows": len(column),
        "n_missing": column.null_count,
        "n_nan": _count(pc.is_nan(values)) if is_real else 0,
        "n_infinite": _count(pc.is_inf(values)) if is_real else 0,
    }


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):  # how the file stores it, not what it is
        kind = kind.value_type
    return f"list<{_type_name(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)


def _count(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _array_row(spec: FieldSpec) -> dict[str, Any]:
    return {
        "column": spec.name,
        "type": "array of double",
        "unit": spec.info.unit,
        "meaning": spec.info.meaning or spec.name.replace("_", " "),
        "source": spec.info.source,
        "role": "array",
        "allowed": "",
        "default": "",
        "chaotic": "true" if spec.info.chaotic else "",
        **dict.fromkeys(_COUNTS),
    }


def _allowed(spec: FieldSpec) -> str:
    """Choices and range as a person reads them: ``one of relu, tanh``, ``>= 1, < 10, or null``."""
    words = []
    if spec.choices is not None:
        words.append("one of " + ", ".join(json.dumps(c, ensure_ascii=False) for c in spec.choices))
    if spec.own is not None:
        words.append(f"or module:{spec.own.what}")
    info = spec.info
    for sign, bound in ((">=", info.ge), (">", info.gt), ("<=", info.le), ("<", info.lt)):
        if bound is not None:
            words.append(f"{sign} {bound:g}")
    if spec.optional:
        words.append("or null")
    return ", ".join(words)


def _default(spec: FieldSpec) -> str:
    return json.dumps(spec.default, ensure_ascii=False) if spec.has_default else ""


def dictionary_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A data dictionary as Arrow; ``export.write_table`` makes CSV, JSON or Parquet of it."""
    fields = [(n, pa.string()) for n in _TEXTS] + [(n, pa.int64()) for n in _COUNTS]
    return pa.Table.from_pylist([dict(r) for r in rows], schema=pa.schema(fields))


def dictionary_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A data dictionary as a Markdown table; a bar or a line break in a text is escaped."""
    names = (*_TEXTS, *_COUNTS)

    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())

    lines = [names, ["---"] * len(names), *([cell(row[n]) for n in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
