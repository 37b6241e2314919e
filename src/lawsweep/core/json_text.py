"""JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_json(value: Any, indent: int | None = 1) -> str:
    """JSON of plain values: NaN and infinities become null, as JSON has none."""
    return json.dumps(_finite(value), indent=indent, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
