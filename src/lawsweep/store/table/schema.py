"""The Arrow schema of a table, from the dataclasses and never from a first row.

Every column carries its unit, meaning and source in the field metadata.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa

from lawsweep.core.circumstances import CIRCUMSTANCES
from lawsweep.core.experiment import Experiment
from lawsweep.core.identity import SCHEME, canonical_json
from lawsweep.core.schema import FieldSpec

FORMAT = 1
_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "str": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "null": pa.null(),
}


def _meta(meaning: str, unit: str = "1", source: str = "lawsweep") -> dict[str, str]:
    return {"unit": unit, "meaning": meaning, "source": source}


def _unit(spec: FieldSpec) -> str:
    for suffix, unit in (("_s", "s"), ("_bytes", "byte")):
        if spec.info.unit == "1" and spec.name.endswith(suffix):
            return unit
    return spec.info.unit


def arrow_type(spec: FieldSpec) -> pa.DataType:
    """The Arrow type of a field: ``tuple[T, ...]`` is a list of T."""
    return pa.list_(_TYPES[spec.kind]) if spec.is_tuple else _TYPES[spec.kind]


def _spec_field(spec: FieldSpec, role: str) -> pa.Field:
    meaning = spec.info.meaning or spec.name.replace("_", " ")
    metadata = {**_meta(meaning, _unit(spec), spec.info.source), "role": role}
    if spec.info.chaotic:
        metadata["chaotic"] = "true"
    if spec.info.follows:
        metadata["follows"] = "true"
    return pa.field(spec.name, arrow_type(spec), metadata=metadata)


def table_schema(experiment: Experiment) -> pa.Schema:
    """Columns: identity, params, seed, status, metrics, failure, circumstances."""
    string, integer = pa.string(), pa.int64()

    def own(name: str, kind: pa.DataType, meaning: str, unit: str = "1") -> pa.Field:
        return pa.field(name, kind, metadata={**_meta(meaning, unit), "role": "run"})

    head = [
        own("run_id", string, "hash of experiment, version, params and seed"),
        own("experiment", string, "name of the experiment"),
        own("version", integer, "version of the experiment"),
    ]
    fields = [
        *head,
        *(_spec_field(s, "param") for s in experiment.params),
        own("seed", integer, "seed of every random stream of the run"),
        own("status", string, "ok, failed, oom, timeout or infeasible"),
        *(_spec_field(s, "metric") for s in experiment.metrics),
        *(own(c.name, _TYPES[c.kind], c.meaning, c.unit) for c in CIRCUMSTANCES),
    ]
    return pa.schema(
        fields,
        metadata={
            "lawsweep.format": str(FORMAT),
            "lawsweep.id_scheme": str(SCHEME),
            "lawsweep.experiment": experiment.name,
            "lawsweep.version": str(experiment.version),
            "lawsweep.reference": experiment.reference,
            "lawsweep.function": function_name(experiment),
            "lawsweep.defaults": canonical_json(dict(defaults(experiment))),
            **_arrays(experiment),
        },
    )


def _arrays(experiment: Experiment) -> dict[str, str]:
    """Which arrays a successful row has, for who checks a table without the experiment."""
    each = {s.name: "optional" if s.optional else "required" for s in experiment.arrays}
    return {"lawsweep.arrays": canonical_json(each)} if each else {}


def function_name(experiment: Experiment) -> str:
    """Where the experiment's function is defined, ``module:function``."""
    return f"{experiment.function.__module__}:{experiment.function.__qualname__}"


def defaults(experiment: Experiment) -> Mapping[str, Any]:
    """Default of each param that has one: what a column stands for in parts older than it."""
    return {s.name: s.default for s in experiment.params if s.has_default}


def part_format(schema: pa.Schema) -> int | None:
    """The format a part was written in; None when it is no part of ours."""
    raw = (schema.metadata or {}).get(b"lawsweep.format", b"")
    return int(raw) if raw.isdigit() and "run_id" in schema.names else None


def is_of(field: pa.Field, part: pa.Schema) -> bool:
    """Whether a part has the column ``field``, and not another one of that name.

    A column that every row has by now may have been a param or a metric, before it was reserved.
    """
    i = part.get_field_index(field.name)
    if i < 0:
        return False
    now, then = ((f.metadata or {}).get(b"role") for f in (field, part.field(i)))
    return not (now == b"run" and then in (b"param", b"metric"))


def conflicts(schema: pa.Schema, part: pa.Schema) -> list[str]:
    """Columns of a part whose type cannot be read as today's."""
    found = []
    for field in schema:
        if not is_of(field, part):
            continue
        then = part.field(field.name).type
        if not _widens(then, field.type):
            found.append(f"{field.name} is {then} there and {field.type} now")
    return found


def other_functions(experiment: Experiment, part: pa.Schema) -> list[str]:
    """The functions that made a part of the same version, where they are not today's."""
    told = {
        k.decode(errors="replace"): v.decode(errors="replace")
        for k, v in (part.metadata or {}).items()
    }
    if told.get("lawsweep.version") != str(experiment.version):
        return []
    now = function_name(experiment)
    # A script's own module has no name of its own, and goes by another once it is imported.
    if now.startswith("__main__:"):
        return []
    then = told.get("lawsweep.function", "").split()  # older parts do not say it
    then = [f for f in then if f != now and not f.startswith("__main__:")]
    # A function without a decorator is called after where it is: one file, however it is imported.
    module, _, function = now.rpartition(":")
    end = f"_{module.rpartition('.')[2]}_{function}"
    if f"_{experiment.name}".endswith(end):
        return [f for f in then if not f"_{f.replace('.', '_').replace(':', '_')}".endswith(end)]
    return then


def retired_columns(schema: pa.Schema, parts: Iterable[pa.Schema]) -> Mapping[str, int]:
    """Columns of older parts that today's table has not, and how many parts have each."""
    return Counter(
        n
        for part in parts
        for n in part.names
        if n not in schema.names or not is_of(schema.field(n), part)
    )


def lacking_metrics(
    experiment: Experiment, parts: Iterable[pa.Schema], *, optional: bool
) -> Mapping[str, int]:
    """Metrics that parts of the same version lack, and how many parts lack each.

    Those that a run need not give, or those that each gives: of these the rows can be counted
    (``study.code.lacking``).
    """
    if experiment.learns:  # a run may or may not have one
        return {}
    version = str(experiment.version).encode()
    alike = [p for p in parts if (p.metadata or {}).get(b"lawsweep.version") == version]
    metrics = [m.name for m in experiment.metrics if m.optional == optional]
    found = {name: sum(name not in p.names for p in alike) for name in metrics}
    return {n: k for n, k in found.items() if k}


def told_differences(
    experiment: Experiment, schema: pa.Schema, parts: Collection[pa.Schema]
) -> list[str]:
    """What was otherwise when the parts were written, and does no harm: a sentence each."""
    made = {f for part in parts for f in other_functions(experiment, part)}
    name, version = experiment.name, experiment.version
    return [
        *(
            f"the column {column} of {n} older parts is not one of {name}'s any more: it stays "
            "in its files and is not read"
            for column, n in sorted(retired_columns(schema, parts).items())
        ),
        *(
            f"the metric {metric} is not in {n} older parts: their rows count as done and have "
            "none. `lawsweep run SWEEP --recompute` makes rows of other code again"
            for metric, n in lacking_metrics(experiment, parts, optional=True).items()
        ),
        *(
            f"rows of {name} version {version} here were made by {then}, and {name} is "
            f"{function_name(experiment)} now: they count as done. If it is another "
            "experiment, call it otherwise, @experiment(version=1, name=...), or raise its "
            "version"
            for then in sorted(made)
        ),
    ]


def changed_defaults(experiment: Experiment, part: pa.Schema) -> list[str]:
    """Defaults that differ from those a part of the same version was written under.

    Run ids leave defaults out, so rows of both meanings would share an id.
    """
    metadata = part.metadata or {}
    if metadata.get(b"lawsweep.version") != str(experiment.version).encode():
        return []
    try:
        then = json.loads(metadata.get(b"lawsweep.defaults", b"{}"))
    except ValueError:
        return []
    if not isinstance(then, dict):
        return []
    now = json.loads(canonical_json(dict(defaults(experiment))))
    return [
        f"{name} was {then[name]!r} and is {now[name]!r}"
        for name in sorted(set(then) & set(now))
        if then[name] != now[name]
    ]


def _widens(old: pa.DataType, new: pa.DataType) -> bool:
    if old == new or pa.types.is_null(old):
        return True
    if pa.types.is_list(old) and pa.types.is_list(new):
        return _widens(old.value_type, new.value_type)
    return bool(pa.types.is_integer(old) and pa.types.is_floating(new))
