"""What a run of first-order training holds at its peak: alone, or each of a batch on a device.

Counted in ``kernels.training`` and held to what is measured by tests: no less than that, and at
most twice as much.  (A batch on a CPU holds less: its seeds share their features.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lawsweep.experiments.columns import over_structures
from lawsweep.kernels.training.stop import CHECK_EVERY

TEMPORARIES = 3.0  # of a layer's size, in a slope of an activation that is written out
LOGISTIC = 4.0  # of the outputs' size, in the logistic loss
SMALL = 7.0 * CHECK_EVERY  # losses of a window, and as they are looked at


def run_bytes(p: Any) -> Any:
    """Bytes of a run, over points.

    Features of all layers, errors of two, weights eight times (first and last ones, the flat
    vector, its gradient, Adam's moments, denominator and scaled moment) and the gradient's norm in
    float64.
    A batch that shrinks has its data twice, and what belongs to its weights.
    """
    n = np.asarray(p.n_samples, dtype=np.float64)
    depth, dtype = np.asarray(p.depth), np.asarray(p.dtype)
    outputs = np.where(np.asarray(p.targets) == "classes", p.n_classes, 1)
    sizes = (p.input_dim, p.width, outputs)
    hidden, widest, weights, largest = over_structures(_sizes, (p.depth,), sizes)
    written_out = np.asarray(p.activation) != "relu"
    layers = hidden + outputs + np.minimum(depth - 1, 2) * widest
    layers = layers + written_out * (hidden + TEMPORARIES * widest)
    layers = layers + (np.asarray(p.loss) == "logistic") * LOGISTIC * outputs
    single = dtype == "float32"
    norm = largest * np.where(single, 4.0, 2.0)
    data = n * (p.input_dim + outputs)
    training = data + n * layers + 8.0 * weights + norm
    shrinking = 2.0 * data + 14.0 * weights
    return np.where(single, 4.0, 8.0) * (np.maximum(training, shrinking) + SMALL)


def _sizes(depth: int, input_dim: Any, width: Any, outputs: Any) -> tuple[Any, ...]:
    from lawsweep.kernels.network.network import Network

    network = Network((input_dim, *[width] * (depth - 1), outputs), "linear")
    hidden = network.widths[1:-1]
    layers = [a * b for a, b in network.shapes]
    largest = layers[0]
    for size in layers[1:]:
        largest = np.maximum(largest, size)
    return sum(hidden), (hidden[0] if hidden else 0.0 * input_dim), network.n_weights, largest
