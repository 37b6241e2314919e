"""Named random streams derived from a run's seed.

A stream depends on the seed and its name alone: not on the batch, the worker, the order of the
draws of another stream, or the device.  Two sweeps that use the seed and the name ``data`` share
their data, and a run repeated alone draws what it drew in a batch.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """Generator of the stream ``name`` of ``seed`` (Philox, counter based).

    The key is the 128-bit BLAKE2b hash of ``"<seed>/<name>"``, so streams of neighbouring seeds
    or names are unrelated.  Draws are made on the CPU in float64 and moved to the device by the
    caller: the device never changes a draw.
    """
    import numpy as np

    from lawsweep.core.randomness import nudges
    from lawsweep.core.randomness.philox_key import PhiloxKey

    digest = hashlib.blake2b(f"{int(seed)}/{name}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    # numpy takes any ISeedSequence, its stubs only its own.
    return nudges.generator(np.random.Philox(PhiloxKey(key)))  # type: ignore[arg-type]
