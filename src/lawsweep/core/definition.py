"""What an experiment may be, checked where it is defined: its names, its forms, what it carries."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lawsweep.core.circumstances import CIRCUMSTANCES
from lawsweep.core.errors import unknown_name
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.expressions.functions import CONSTANTS
from lawsweep.core.names import alike
from lawsweep.core.schema import FieldSpec

# Columns every row has; a param or metric of the same name would be lost among them.
RESERVED = frozenset(
    {"run_id", "point", "experiment", "version", "seed", "status", *(c.name for c in CIRCUMSTANCES)}
)


@dataclass(frozen=True)
class Carry:
    """Rows of an older version that fulfil ``condition`` mean the same today.

    ``condition`` is over params, metrics and circumstances.  ``defaults`` are defaults of that
    version that are others today: a row that had one is a row of today's default.
    """

    condition: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


def check_carries(
    name: str,
    version: int,
    carries: Mapping[int, str | Carry],
    params: Sequence[FieldSpec],
    metrics: Sequence[FieldSpec],
) -> dict[int, Carry]:
    """A Carry for each older version.  Raises TypeError, UnknownNameError, InvalidValueError."""
    made = {}
    for older, said in carries.items():
        if not isinstance(older, int) or not 0 < older < version:
            raise TypeError(
                f"{name}: carries maps versions before {version} to conditions, got {older!r}."
            )
        carry = said if isinstance(said, Carry) else Carry(said)
        known = {s.name for s in (*params, *metrics) if not s.is_tuple and s.kind != "array"}
        known |= {c.name for c in CIRCUMSTANCES if c.kind != "time"}
        for used in Expression(carry.condition).names:
            if used not in known:
                raise unknown_name("field", used, known, f"carries of {name}")
        specs = {s.name: s for s in params if s.has_default}
        for param, default in carry.defaults.items():
            if param not in specs:
                raise unknown_name("param", param, specs, f"carries of {name}")
            specs[param].cast(default)
        made[older] = carry
    return made


def check_fused(
    name: str, fused: Any, fuse_over: Sequence[str], params: tuple[FieldSpec, ...]
) -> tuple[str, ...]:
    """The params a fused form may run over.  Raises TypeError, UnknownNameError."""
    if isinstance(fuse_over, str):
        raise TypeError(f"{name}: fuse_over is a list of params, got {fuse_over!r}.")
    specs = {s.name: s for s in params}
    for over in fuse_over:
        if over not in specs:
            raise unknown_name("param", over, specs, f"fuse_over of {name}")
        if specs[over].kind not in ("float", "bool", "str") or specs[over].is_tuple:
            raise TypeError(
                f"{name}: fuse_over takes numbers, choices or flags; {over} is "
                f"{specs[over].type_name}, so runs that differ in it have different shapes."
            )
    if fused is None:
        if fuse_over:
            raise TypeError(f"{name}: fuse_over is given, but no fused form; give fused=function.")
    elif not callable(fused) or len(inspect.signature(fused).parameters) != 3:
        raise TypeError(f"{name}: fused must be a function (params, seeds, device), got {fused!r}.")
    return tuple(dict.fromkeys(fuse_over))


def check_names(name: str, params: tuple[FieldSpec, ...], metrics: tuple[FieldSpec, ...]) -> None:
    """Raise TypeError for a field whose name something else has."""
    seen: set[str] = set()
    if aliased := [s.name for s in params if s.info.aliases]:
        raise TypeError(
            f"{name}: {aliased[0]!r} is a param, whose text is part of the run id; only a metric "
            "has aliases."
        )
    for spec in (*params, *metrics):
        if spec.name in CONSTANTS:
            raise TypeError(f"{name}: {spec.name!r} is a constant in expressions; rename it.")
        if spec.name in RESERVED:
            raise TypeError(
                f"{name}: {spec.name!r} is a column every row has already; rename the field."
            )
        if spec.name in seen:
            raise TypeError(f"{name}: {spec.name!r} is both a param and a metric; rename one.")
        seen.add(spec.name)
    if pair := alike((s.name for s in (*params, *metrics)), sorted(RESERVED)):
        old = "a column every row has already" if pair[0] in RESERVED else "a field"
        raise TypeError(
            f"{name}: {pair[1]!r} and {pair[0]!r}, {old}, are one name to SQL; rename the field."
        )
