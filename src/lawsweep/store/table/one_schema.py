"""Parts of different schemas in one folder: which they are, and the one schema they could have.

A metric that was added, or became a float, leaves parts behind that lack its column or hold whole
numbers.  Our own readers widen and fill in; one that takes the first part's schema for that of all
does not (DuckDB then rounds 4.5 to 4 and says nothing).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lawsweep.core.identity import canonical_json
from lawsweep.core.names import alike
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.parts import SkippedPart, conform, use_part
from lawsweep.store.table.schema import is_of

_DEFAULTS = b"lawsweep.defaults"
_FUNCTION, _ARRAYS = b"lawsweep.function", b"lawsweep.arrays"
JOINED = (_FUNCTION, _ARRAYS)  # parts that differ in these words alone become one


@dataclass
class OneSchema:
    """The columns of all parts of a folder, the newest part's first, each as wide as it must be.

    ``mixed`` maps parts that have other columns or types to what is otherwise; ``apart`` those
    that cannot have this schema to the reason.  ``fill`` is what a param is in rows older than it.
    """

    schema: pa.Schema | None = None
    mixed: dict[str, str] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)
    fill: dict[str, Any] = field(default_factory=dict)

    def made(self, name: str, part: pa.Table) -> pa.Table:
        """A part with these columns; as it is where it cannot have them."""
        if self.schema is None or name in self.apart:
            return part
        told = dict(part.schema.metadata or {})
        if _DEFAULTS in told:  # of the params that it has by now
            defaults = {**self.fill, **_defaults(part.schema)}
            told[_DEFAULTS] = canonical_json(defaults).encode()
        return conform(part, self.schema, self.fill).replace_schema_metadata(told)


def one_schema(folder: Folder, names: Sequence[str]) -> OneSchema:
    """The schema that the parts ``names`` could share; those that cannot be read are left out."""
    found = OneSchema()
    schemas: dict[str, pa.Schema] = {}
    for name in reversed(names):
        try:
            schemas[name] = use_part(folder, name, lambda file: file.schema_arrow)
        except (SkippedPart, FileNotFoundError):
            continue
    for name, schema in schemas.items():
        if why := _apart(found.schema, schema):
            found.apart[name] = why
            continue
        for param, default in _defaults(schema).items():
            found.fill.setdefault(param, default)
        known = [schema] if found.schema is None else [found.schema, schema]
        found.schema = pa.unify_schemas(known, promote_options="permissive").remove_metadata()
    for name, schema in schemas.items():
        if name not in found.apart and (other := _differences(schema, found.schema)):
            found.mixed[name] = other
    return found


def joined(parts: Sequence[pa.Schema]) -> dict[bytes, bytes]:
    """What a part made of several says for them: all functions; an array is required if all say so.

    A part that says nothing of an array is older than the word, or than the array.
    """
    told = [p.metadata or {} for p in parts]
    functions = {f for t in told for f in t.get(_FUNCTION, b"").split()}
    arrays = [_mapping(p, _ARRAYS) for p in parts]
    each = {
        name: "required" if all(a.get(name) == "required" for a in arrays) else "optional"
        for name in sorted({n for a in arrays for n in a})
    }
    words = {_FUNCTION: b" ".join(sorted(functions))} if functions else {}
    return words | ({_ARRAYS: canonical_json(each).encode()} if each else {})


def _apart(common: pa.Schema | None, part: pa.Schema) -> str:
    """Why a part cannot have the schema of the newer ones; empty where it can."""
    if common is None:
        return ""
    for theirs in part:
        i = common.get_field_index(theirs.name)
        if i >= 0 and not is_of(common.field(i), part):
            return f"its column {theirs.name} is another one than that of newer parts"
    if pair := alike(part.names, common.names):
        return f"its column {pair[1]} is one name with {pair[0]} to SQL"
    try:
        pa.unify_schemas([common, part], promote_options="permissive")
    except pa.ArrowException:
        types = [
            f"{f.name} is {part.field(f.name).type} there and {f.type} in newer parts"
            for f in common
            if f.name in part.names and part.field(f.name).type != f.type
        ]
        return "; ".join(types)
    return ""


def _differences(part: pa.Schema, common: pa.Schema) -> str:
    words = []
    if missing := [n for n in common.names if n not in part.names]:
        words.append(f"no column {', '.join(missing)}")
    words += [
        f"{f.name} is {f.type} and not {common.field(f.name).type}"
        for f in part
        if f.type != common.field(f.name).type
    ]
    return "; ".join(words)


def _defaults(schema: pa.Schema) -> Mapping[str, Any]:
    return _mapping(schema, _DEFAULTS)


def _mapping(schema: pa.Schema, key: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads((schema.metadata or {}).get(key, b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
