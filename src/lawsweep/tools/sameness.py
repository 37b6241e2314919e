"""When two values are the same: bit for bit, or to a relative tolerance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric (or array) that came out otherwise; ``relative`` is None where it has no sense."""

    name: str
    recorded: Any
    now: Any
    relative: float | None = None


def same_value(a: Any, b: Any, tolerance: float | None = None) -> bool:
    """Whether two values are the same, real numbers bit for bit or to a relative tolerance.

    NaN is the same as NaN, and differs from a missing value; 0.0 differs from -0.0 bit for bit.
    """
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(
            same_value(x, y, tolerance) for x, y in zip(a, b, strict=True)
        )
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        if tolerance is None:
            return a.hex() == b.hex()
        return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b)) < math.inf
    return type(a) is type(b) and bool(a == b)


def relative_difference(a: Any, b: Any) -> float | None:
    """``|a - b| / max(|a|, |b|)`` of two finite numbers, None for anything else."""
    for value in (a, b):
        if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
            return None
    largest = max(abs(a), abs(b))
    return abs(a - b) / largest if largest else 0.0


def compare_arrays(
    recorded: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray], tolerance: float | None
) -> list[Difference]:
    """A Difference for each array that has another shape, or entries that differ."""
    found = []
    for name in sorted({*recorded, *now}):
        a, b = recorded.get(name), now.get(name)
        if a is None or b is None or a.shape != b.shape:
            found.append(Difference(name=name, recorded=_shape(a), now=_shape(b)))
            continue
        pairs = list(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
        bad = [(x, y) for x, y in pairs if not same_value(x, y, tolerance)]
        if bad:
            worst = max(bad, key=lambda p: relative_difference(*p) or 0.0)
            text = f"{len(bad):,} of {a.size:,} entries differ, the worst"
            found.append(
                Difference(
                    name=name,
                    recorded=f"{text} {worst[0]!r}",
                    now=f"{worst[1]!r}",
                    relative=relative_difference(*worst),
                )
            )
    return found


def _shape(array: np.ndarray | None) -> str:
    return "missing" if array is None else f"an array of shape {tuple(array.shape)}"
