"""Points files that an ``axes`` entry names, as the points themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lawsweep.core.registry import find_experiment


def with_points(axes: Any, experiment: Any, limit: int) -> Any:
    """An ``axes`` entry with every points file replaced by its columns, at most ``limit`` long."""
    if isinstance(axes, list | tuple):
        return [with_points(block, experiment, limit) for block in axes]
    if not isinstance(axes, Mapping):
        return axes
    found = dict(axes)
    if isinstance(axes.get("points"), str):
        from lawsweep.store.exchange.points_file import read_points

        is_name = isinstance(experiment, str) and not experiment.startswith("${")
        params = find_experiment(experiment).params if is_name else ()
        columns = read_points(Path(axes["points"]), {s.name: s for s in params}, limit)
        found["points"] = {n: [_literal(v) for v in c] for n, c in columns.items()}
    for key in ("union", "when"):
        if key in found:
            members = found[key] if isinstance(found[key], list | tuple) else [found[key]]
            found[key] = [
                {**m, "axes": with_points(m.get("axes"), experiment, limit)}
                if isinstance(m, Mapping)
                else m
                for m in members
            ]
    return found


def _literal(value: Any) -> Any:
    """A cell as the composed config gives it back: a text in a file is no interpolation."""
    if not isinstance(value, str):
        return value
    return re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", value)
