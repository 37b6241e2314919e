"""How things are shown: to a notebook as a title and a small table of facts, to scripts as JSON."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any


class Shown:
    """Shows ``_shown()``, a title and facts, where a notebook asks for it."""

    def _shown(self) -> tuple[str, Mapping[str, Any]]:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        title, facts = self._shown()
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
            for name, value in facts.items()
            if value not in (None, "", ())
        )
        return f"<b>{html.escape(title)}</b><table>{rows}</table>"


def to_json(value: Any, indent: int | None = 1) -> str:
    """JSON of plain values: NaN and infinities become null, as JSON has none."""
    return json.dumps(finite(value), indent=indent, default=plain)


def plain(value: Any) -> Any:
    """What JSON has no type for: a decimal (SQL's sum of whole numbers) as a number, else text."""
    from decimal import Decimal

    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    return str(value)


def finite(value: Any) -> Any:
    """The value with None for what JSON has no number for."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
