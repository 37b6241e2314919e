"""The columns of an application's table: a leaf of the config each, called by its path.

``model.width`` is ``model_width``.  A run is told apart by the digest of its whole config
(``config``), and columns say what was in it, whatever type a leaf has in another job: numbers stand
in the column itself, and what does not go with them in one beside it, ``model_width_text``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lawsweep.core.definition import RESERVED
from lawsweep.core.expressions.functions import CONSTANTS
from lawsweep.core.names import folded
from lawsweep.core.schema import INT64_MAX, MISSING, Field, FieldSpec, Kind

DIGEST = "config"
_TAKEN = {*RESERVED, *CONSTANTS, DIGEST, "output_dir"}
_KINDS: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}
Path = tuple[str, ...]


def column_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for the column of each path, no two of which are one name to SQL."""
    found: dict[Path, str] = {}
    reserved = {folded(name) for name in _TAKEN}
    taken = set(reserved)
    for path in sorted(set(paths)):
        name = re.sub(r"\W", "_", "_".join(path)) or "_"
        name = f"cfg_{name}" if folded(name) in reserved or not name[0].isalpha() else name
        while folded(name) in taken:
            name = f"{name}_"
        taken |= {folded(name), folded(f"{name}_text")}
        found[path] = name
    return found


def columns_of(
    rows: Sequence[Mapping[Path, Any]], known: Mapping[str, Kind]
) -> tuple[tuple[FieldSpec, ...], list[dict[str, Any]]]:
    """The params of an application, and the values of each row of leaves.

    ``known`` are the kinds of columns that its table has already.
    """
    names = column_names(path for row in rows for path in row)
    values: dict[str, set[Kind]] = {}
    for row in rows:
        for path, value in row.items():
            if (kind := _kind(value)) is not None:
                values.setdefault(names[path], set()).add(kind)
    kinds = {name: _of_all(values.get(name, set()), known.get(name)) for name in names.values()}
    specs = {name: _spec(name, kind) for name, kind in kinds.items()}
    points: list[dict[str, Any]] = []
    for row in rows:
        point: dict[str, Any] = {}
        for path, value in row.items():
            name = names[path]
            kind = _kind(value)
            plain = value if kind != "str" or isinstance(value, str) else json.dumps(value)
            if not _fits(kind, kinds[name]):
                name = f"{name}_text"
                specs.setdefault(name, _spec(name, "str"))
                plain = value if isinstance(value, str) else json.dumps(value)
            point[name] = plain
        points.append(point)
    full = [{name: point.get(name) for name in specs} for point in points]
    return tuple(specs.values()), full


def digest_spec() -> FieldSpec:
    """The param that a run is told apart by."""
    info = Field("digest of the application and its config, resolved and without hydra")
    return FieldSpec(DIGEST, "str", False, False, None, MISSING, info)


def _spec(name: str, kind: Kind) -> FieldSpec:
    info = Field(f"{name} in the config", follows=True)
    return FieldSpec(name, kind, True, False, None, None, info)


def _kind(value: Any) -> Kind | None:
    """The kind of column that a value could stand in; None for null, which stands in any."""
    if value is None:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "str"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > INT64_MAX:
        return "str"
    return _KINDS.get(type(value), "str")


def _of_all(kinds: set[Kind], known: Kind | None) -> Kind:
    """One kind for the column: numbers before all else, and what the table has before that."""
    if known in ("int", "float") or (known is None and kinds & {"int", "float"}):
        return "float" if "float" in kinds or known == "float" else "int"
    if known is not None:
        return known
    return "bool" if "bool" in kinds and "str" not in kinds else "str"


def _fits(kind: Kind | None, column: Kind) -> bool:
    return kind is None or kind == column or (kind, column) == ("int", "float")
