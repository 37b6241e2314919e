"""What each run of a stack of ntk_min_eig holds at its peak on a device."""

from __future__ import annotations

from lawsweep.experiments.ntk_min_eig.choice import ITEM_BYTES
from lawsweep.experiments.ntk_min_eig.params import Params

# Of a stack's matrices: the Gram, what is symmetric of it, a factor, what a dense solve makes.
SQUARES = 5.0
SMALL = 12.0  # numbers a sample: diagonals, norms, starts


def stacked_bytes(p: Params) -> float:
    """Bytes of a run: its weights, what the passes keep of each sample, and N^2 five times.

    Held to what is measured by tests: no less, and at most twice as much.
    """
    network, n = p.network, float(p.n_samples)
    numbers = float(network.n_params) + n * (float(network.passed) + SMALL) + SQUARES * n * n
    return float(ITEM_BYTES[p.dtype]) * numbers
