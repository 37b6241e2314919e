"""The columns of a plan's tidy frame: what they are called and what they hold."""

from __future__ import annotations

from collections.abc import Iterable

from lawsweep.core.definition import RESERVED
from lawsweep.grid.plan import Plan


def columns_of(made: Plan) -> tuple[str, ...]:
    """Names of the columns of a plan's tidy frame."""
    fields = (s.name for s in (*made.experiment.params, *made.experiment.metrics))
    return tuple(dict.fromkeys((*fields, *made.extra, *sorted(RESERVED))))


def kinds_of(made: Plan, cells: Iterable[str]) -> dict[str, str]:
    """What the columns, and those of thresholds, hold: bool, int, float, str, list or time."""
    from lawsweep.store.table.schema import table_schema

    schema = table_schema(made.experiment)
    found = {f.name: str(f.type).partition("[")[0].partition("<")[0] for f in schema}
    found = {n: _KINDS.get(kind, "time") for n, kind in found.items()}
    for name, column in made.extra.items():
        text = column.dtype == object and any(isinstance(v, str) for v in column.tolist())
        found[name] = "str" if text else "int" if column.dtype.kind in "iu" else "float"
    for name in set(cells) - set(found):
        found[name] = "str" if name in ("state", "reason") else "float"
    return found


_KINDS = {"bool": "bool", "int64": "int", "double": "float", "string": "str", "list": "list",
          "null": "float"}  # fmt: skip
