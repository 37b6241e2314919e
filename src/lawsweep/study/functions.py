"""A sweep of a function that no file tells of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from lawsweep.core.code.files import place_name
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.grid.sweep import KEYS, Sweep


def sweep_of(
    function: Experiment | Callable[..., Any],
    overrides: Sequence[str],
    settings: Mapping[str, Any],
) -> Sweep:
    """The sweep of ``open(function, **settings)``.  Raises a LawsweepError."""
    if overrides:
        raise InvalidValueError(
            f"A function takes keywords, such as axes={{...}} and seeds=3, got "
            f"{', '.join(map(repr, overrides))}."
        )
    for key in settings:
        if key not in (*KEYS, "name") or key in ("experiment", "preset"):
            raise unknown_name("key", key, {*KEYS, "name"} - {"experiment", "preset"}, "open")
    if isinstance(function, FunctionType) and function.__name__ == "<lambda>":
        if not isinstance(settings.get("name"), str):
            raise InvalidValueError("A lambda has no name; give one, name='trial'.")
        named: Any = settings["name"]
    else:
        named = function.name if isinstance(function, Experiment) else place_name(function)
    values = {"name": named, "experiment": function, **settings}
    values |= {k: tuple(values[k]) for k in ("fits", "figures", "sinks") if k in values}
    if isinstance(values.get("executor"), str):
        values["executor"] = {"kind": values["executor"]}
    return Sweep(**values)
