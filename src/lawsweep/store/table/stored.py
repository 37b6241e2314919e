"""An experiment as its parts describe it: for verbs that read a table without anybody's code.

What a record in the store names is never imported: a received folder could name anything.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pyarrow as pa

from lawsweep.core.definition import RESERVED
from lawsweep.core.errors import UnknownNameError
from lawsweep.core.experiment import Experiment
from lawsweep.core.plain.learning import merge, with_metrics
from lawsweep.core.schema import MISSING, Field, FieldSpec, Kind
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.parts import (
    SkippedPart,
    check_experiment,
    part_names,
    read_schema,
    steady_look,
)

_KINDS: dict[str, Kind] = {
    "bool": "bool", "int64": "int", "double": "float", "string": "str", "null": "null",
}  # fmt: skip


def stored_experiment(tables: Folder, name: str) -> Experiment:
    """The experiment of the table ``name``, in the newest version that a part was written in.

    Params with their defaults, metrics, arrays; it cannot be run.  Raises UnknownNameError where
    no part of the table can be read.
    """
    folder = tables / name
    newest: pa.Schema | None = None
    for part in part_names(folder):  # in order of writing
        with suppress(SkippedPart, FileNotFoundError):
            schema = read_schema(folder, part)
            check_experiment(schema, name)
            if newest is None or _version(schema) >= _version(newest):
                newest = schema
    if newest is None:
        raise UnknownNameError(
            f"No part of the table {folder} can be read as one of the experiment {name!r}. Name "
            "the experiment as module:function, or look at the folder."
        )
    return _experiment(newest, name, tables.parent / "arrays" / name)


def learned(experiment: Experiment, folder: Folder) -> Experiment:
    """The experiment with the metrics that the parts in ``folder`` have, the newest part's first.

    As it is where it declares its metrics.  Of a column that parts hold in types that do not go
    together the newest part's counts, as for an experiment whose field was changed.
    """
    if not experiment.learns:
        return experiment

    def read(name: str) -> pa.Schema | None:
        with suppress(SkippedPart):
            schema = read_schema(folder, name)
            check_experiment(schema, experiment.name)
            return schema
        return None

    found: dict[str, FieldSpec] = {s.name: s for s in (*experiment.metrics, *experiment.arrays)}
    taken = {s.name for s in experiment.params}
    for schema in reversed(list(steady_look(folder, read).values())):
        for spec in described(schema) if schema is not None else ():
            if spec.name not in taken:
                found[spec.name] = merge(found.get(spec.name), spec) or found[spec.name]
    return with_metrics(experiment, found.values())


def described(schema: pa.Schema) -> tuple[FieldSpec, ...]:
    """The metrics and arrays that a part says it has."""
    fields = [f for f in schema if schema.names.count(f.name) == 1 and f.name not in RESERVED]
    found = [s for f in fields if (s := _spec(f, b"metric", {})) is not None]
    arrays = _mapping(schema, b"lawsweep.arrays")
    return (*found, *(_array(n, required=arrays[n] == "required") for n in sorted(arrays)))


def _array(name: str, *, required: bool) -> FieldSpec:
    return FieldSpec(name, "array", not required, False, None, MISSING, Field())


def _version(schema: pa.Schema) -> int:
    raw = (schema.metadata or {}).get(b"lawsweep.version", b"")
    return int(raw) if raw.isdigit() else 0


def _experiment(schema: pa.Schema, name: str, arrays: Folder) -> Experiment:
    defaults = _mapping(schema, b"lawsweep.defaults")
    optional = _mapping(schema, b"lawsweep.arrays")
    fields = [f for f in schema if schema.names.count(f.name) == 1 and f.name not in RESERVED]
    return Experiment(
        name=name,
        version=_version(schema),
        function=_cannot_run,
        params_type=object,
        metrics_type=object,
        params=tuple(s for f in fields if (s := _spec(f, b"param", defaults)) is not None),
        metrics=tuple(s for f in fields if (s := _spec(f, b"metric", {})) is not None),
        arrays=tuple(
            _array(n, required=optional.get(n) == "required")
            for n in sorted({*arrays.folders(), *optional})
        ),
    )


def _cannot_run(params: Any, seed: int) -> Any:
    raise NotImplementedError("an experiment read from its table has no function")


def _mapping(schema: pa.Schema, key: bytes) -> dict[str, Any]:
    try:
        found = json.loads((schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _spec(field: pa.Field, role: bytes, defaults: dict[str, Any]) -> FieldSpec | None:
    """A column of that role as a field; None for any other column."""
    told = field.metadata or {}
    is_tuple = pa.types.is_list(field.type)
    kind = _KINDS.get(str(field.type.value_type if is_tuple else field.type))
    if told.get(b"role") != role or kind is None:
        return None
    default = defaults.get(field.name, MISSING)
    if isinstance(default, list):
        default = tuple(_number(kind, v) for v in default)
    text = {k.decode(): v.decode("utf-8", "replace") for k, v in told.items()}
    info = Field(
        text.get("meaning", ""),
        text.get("unit", "1"),
        text.get("source", ""),
        chaotic=text.get("chaotic") == "true",
        follows=text.get("follows") == "true",
    )
    return FieldSpec(field.name, kind, True, is_tuple, None, _number(kind, default), info)


def _number(kind: Kind, value: Any) -> Any:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if kind == "float" and is_int else value
