"""A seed that is Philox's key as it stands (a module of its own, as it needs numpy at once)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class PhiloxKey(ISeedSequence):
    """The 128 bits that ``Philox(PhiloxKey(key))`` takes for its key: the stream of ``key=key``.

    ``Philox(key=...)`` first asks the operating system for entropy that it then throws away, which
    takes twice as long as all the rest; a row of a small fused run is worth a few tens of that.
    """

    def __init__(self, key: np.ndarray) -> None:
        """``key``: two uint64."""
        self._key = key

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """The key; ValueError for anything but the two uint64 that Philox asks for."""
        if n_words != len(self._key) or np.dtype(dtype) != self._key.dtype:
            raise ValueError(f"a Philox key is 2 words of uint64, got {n_words} of {dtype}")
        return self._key
