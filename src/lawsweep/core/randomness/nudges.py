"""Draws that are off by a rounding error, to see what a result makes of it.

Another processor rounds otherwise; for a computation that is as stable as its problem allows, this
is as if its data had been off in the last bit.  So a run whose draws are moved by an eps shows, on
one machine, how far its numbers are determined at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# They give back what they were given, or whole numbers.
_NO_DRAWS = frozenset({"bit_generator", "bytes", "choice", "integers", "permutation", "permuted",
                       "shuffle", "spawn"})  # fmt: skip
_now: tuple[float, int] | None = None


@contextlib.contextmanager
def nudged(size: float, kind: int) -> Iterator[None]:
    """Within it real draws of every ``stream`` are off by ``size``, relative, up or down.

    Which way, ``kind`` decides; whole numbers and choices stay.  Not for two threads at once.
    """
    global _now
    before, _now = _now, (size, kind)
    try:
        yield
    finally:
        _now = before


def generator(bits: np.random.BitGenerator) -> np.random.Generator:
    """A generator of these bits, whose draws are nudged within ``nudged``."""
    return np.random.Generator(bits) if _now is None else _Nudged(bits, *_now)


class _Nudged(np.random.Generator):
    def __init__(self, bits: np.random.BitGenerator, size: float, kind: int) -> None:
        super().__init__(bits)
        self._size, self._errors = size, np.random.default_rng(kind)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name in _NO_DRAWS or not callable(found):
            return found
        return self._moved(found)

    def _moved(self, draw: Callable[..., Any]) -> Callable[..., Any]:
        def moved(*args: Any, **kwargs: Any) -> Any:
            drawn = draw(*args, **kwargs)
            if not np.issubdtype(np.asarray(drawn).dtype, np.floating):
                return drawn
            factors = 1.0 + self._size * self._errors.choice([-1.0, 1.0], np.shape(drawn))
            if isinstance(drawn, np.ndarray):
                drawn *= factors.astype(drawn.dtype)
                return drawn
            return float(drawn * factors)

        return moved
