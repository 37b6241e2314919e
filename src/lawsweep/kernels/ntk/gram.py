"""Layerwise Gram matrix of the neural tangent kernel, without the N x p Jacobian.

The gradient of layer l is a sum of outer products (``linearisation``), so the inner product of two
samples' gradients is one of products of two inner products:

    K = sum_l (F_{l-1} F_{l-1}^T [+ 1 1^T with biases]) o (B_l B_l^T),

each summed over both samples' tokens where a layer has such.  The gradient is with respect to the
weights themselves, or to V_l where W_l = s_l V_l (``Network.scales``).
Setting: M. Bombari et al., arXiv 2205.10217, section 2; the layerwise form is the chain rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.base.answers import waits
from lawsweep.kernels.base.precision import full_precision, prove_products
from lawsweep.kernels.base.rounding import gamma, tolerances
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.factors import LayerFactors
from lawsweep.kernels.ntk.linearisation import (
    Linearisation,
    OutOfRangeError,
    linearise,
    range_message,
)
from lawsweep.kernels.ntk.tiles import Factors, block, fill_symmetric


def ntk_gram(
    network: Network,
    weights: Sequence[Tensor],
    inputs: Tensor,
    biases: Sequence[Tensor] | None = None,
) -> Tensor:
    """The NTK of ``network`` on ``inputs`` (..., N, n_0), shape (..., N, N): ``gram`` of it.

    Arguments and errors as those of ``linearise``.
    """
    return gram(linearise(network, weights, inputs, biases))


@full_precision()
def gram(lin: Linearisation, *, tile: int | None = None) -> Tensor:
    """K, shape (..., N, N), summed over the layers that count (``Linearisation.select``).

    Exactly symmetric: only tiles on or below the diagonal are computed, then mirrored.
    N^2 sum_l (n_{l-1} + n_l) flops to leading order, N^2 numbers and three tiles of memory a
    thread.
    Raises ValueError for a tile below 1.
    """
    return gram_of(lin.layers, tile=tile)


@full_precision()
def gram_of(layers: Sequence[LayerFactors], *, tile: int | None = None) -> Tensor:
    """The Gram matrix of the gradients that ``layers`` are the factors of: see ``gram``."""
    n, first = layers[0].n_samples, layers[0].features
    if tile is None:
        columns = sum(sum(f.shape) for f in layers)
        most = devices.on(first.device, float(first.shape[-2]) ** 2 * columns).gram_tile
        tile = -(-n // max(1, -(-n // most)))  # as many tiles as needed, of equal size
    elif tile < 1:
        raise ValueError(f"tile must be at least 1 row, got {tile}; leave it out for the default")
    tile = max(1, min(tile, n))
    out = workspace.empty(first, (*first.shape[:-2], n, n))
    fill_symmetric(out, _parts(layers), tile)
    return out


@full_precision()
def gram_block(layers: Sequence[LayerFactors], rows: slice) -> Tensor:
    """Some rows of it, (..., k, N)."""
    return block(_parts(layers), rows, slice(0, layers[0].n_samples))


def _parts(layers: Sequence[LayerFactors]) -> Factors:
    return [(layer.left, layer.errors, layer.tokens) for layer in layers]


@full_precision()
def diagonal(lin: Linearisation) -> Tensor:
    """Diagonal of K (squared gradient norms), shape (..., N), in O(N sum n_l); its sum is tr K.

    Raises OutOfRangeError where the square of a gradient that is not 0 leaves the range in which
    it is right to eps, or the trace overflows.
    """
    return squares_of(lin.layers)


@full_precision()
def squares_of(layers: Sequence[LayerFactors]) -> Tensor:
    """The squared norms of the gradients that ``layers`` are the factors of: see ``diagonal``."""
    total, lost = squares_seen(layers)
    check_squares(total, lost)
    return total


@full_precision()
def squares_seen(layers: Sequence[LayerFactors]) -> tuple[Tensor, Tensor]:
    """The squared norms, and whether one of them is lost below the range: a truth value there."""
    parts = [layer.squares() for layer in layers]
    total = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
    small = total < tolerances(total.dtype).least_normal
    if not waits(total) and not bool(small.any()):
        return total, torch.tensor(False)
    return total, (small & torch.stack([f.has_gradient() for f in layers]).any(0)).any()


def check_squares(total: Tensor, lost: Tensor) -> None:
    """OutOfRangeError where squares are ``lost`` below the range, or their sum leaves it."""
    if bool(lost | ~total.sum(-1).isfinite().all()):
        raise OutOfRangeError(range_message("squared gradient norms", total.dtype))


@full_precision()
def gram_error_bound(lin: Linearisation, *, trace: float | None = None) -> float:
    """Bound on the spectral norm of the rounding error of ``gram``, given F and B.

    ``trace``: tr K, the sum of ``diagonal``; where it is given, once for each network of a batch,
    it is not computed again.

    An inner product of length n is off by at most gamma_n |a|.|b|, gamma_n = n u / (1 - n u), so
    |dK| <= gamma_m sum_l (|F||F|^T + 11^T) o (|B||B|^T) entrywise with
    m = max_l (n_{l-1} + n_l) + L + 3 (two products, their product, the bias and the sum; over pairs
    of tokens too).  That
    majorant is positive semidefinite (Schur), so its norm is at most its trace, which is tr K.
    Worst case: typical errors are smaller by orders of magnitude.  The rounding of F and B
    themselves (forward and backward pass) is not included.
    """
    lengths = [sum(f.shape) + int(f.bias) + f.tokens**2 - 1 for f in lin.layers]
    m = max(lengths) + len(lengths) + 3
    prove_products(lin.outputs.device, lin.dtype)
    lost = gamma(m, lin.dtype)
    if trace is None:
        trace = float(diagonal(lin).sum())
    bound: float = lost / (1 - lost) * trace if lost < 1 else math.inf
    return bound
