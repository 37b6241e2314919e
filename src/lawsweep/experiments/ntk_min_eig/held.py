"""What each run of a stack of ntk_min_eig holds at its peak on a device."""

from __future__ import annotations

from typing import Any

from lawsweep.experiments.ntk_min_eig.choice import ITEM_BYTES
from lawsweep.experiments.ntk_min_eig.params import Params

# Samples on a CPU; beyond, products of matrices outweigh the calls around them.
FUSE_UP_TO = 500
# Of a stack's matrices: the Gram, what is symmetric of it, a factor, what a dense solve makes.
SQUARES = 5.0
SMALL = 12.0  # numbers a sample: diagonals, norms, starts


def stacked_bytes(p: Params) -> float:
    """Bytes of a run: its weights, what the passes keep of each sample, and N^2 five times.

    Held to what is measured by tests: no less, and at most twice as much.
    """
    network = p.network
    item = float(ITEM_BYTES[p.dtype])
    return float(stacked(float(p.n_samples), float(network.n_params), float(network.passed), item))


def stacked(n: Any, n_params: Any, passed: Any, item: Any) -> Any:
    """The same by N, p, numbers that the passes keep of a sample, bytes of a number; or arrays."""
    return item * (n_params + n * (passed + SMALL) + SQUARES * n * n)
