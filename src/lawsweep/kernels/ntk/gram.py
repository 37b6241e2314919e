"""Layerwise Gram matrix of the neural tangent kernel, without the N x p Jacobian.

With F_0 = X, G_l = F_{l-1} W_l (+ b_l), F_l = sigma(G_l) and the output f = G_L, the chain rule
gives for one sample  df/dW_l[i, j] = F_{l-1}[i] B_l[j]  and  df/db_l[j] = B_l[j], where
B_L = 1 and B_l = sigma'(G_l) o (B_{l+1} W_{l+1}^T).  The gradient of layer l is an outer
product, so the inner product of two samples' gradients is a product of two inner products:

    K = sum_l (F_{l-1} F_{l-1}^T [+ 1 1^T with biases]) o (B_l B_l^T).

The gradient is with respect to the weights themselves, not to a rescaled parameterisation.
Setting: M. Bombari et al., arXiv 2205.10217, section 2; the layerwise form is the chain rule.

Shapes may have leading batch dimensions throughout; N is the number of samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.network.networks import forward
from lawsweep.kernels.ntk.tiles import fill_symmetric


class OutOfRangeError(ValueError):
    """Features, backprops or gradients leave the range of the floating-point type."""


@dataclass(frozen=True, eq=False)
class Linearisation:
    """What the gradient of every sample is made of.

    ``features``: F_0 .. F_{L-1}, each (..., N, n_l).  ``backprops``: B_1 .. B_L, each
    (..., N, n_l).  ``bias``: whether biases are parameters too.
    """

    features: tuple[Tensor, ...]
    backprops: tuple[Tensor, ...]
    bias: bool

    @property
    def depth(self) -> int:
        """Number of weight matrices L."""
        return len(self.backprops)

    @property
    def n_samples(self) -> int:
        """Number of samples N."""
        return int(self.features[0].shape[-2])


def linearise(
    x: Tensor,
    weights: Sequence[Tensor],
    act: Activation,
    biases: Sequence[Tensor] | None = None,
) -> Linearisation:
    """Forward and backward pass of all samples: O(N p) flops, O(N sum n_l) memory.

    ``x`` (..., N, n_0), ``weights[l]`` (..., n_l, n_{l+1}) with one output, ``biases[l]``
    (..., n_{l+1}) or None for a network without biases.  Raises ValueError when the shapes do
    not chain or the network has more than one output; OutOfRangeError, one too, when a value
    overflows or (activations with a kink at 0) so small a product is met that its sign is lost.
    """
    _check_shapes(x, weights, biases)
    features, preactivations = forward(x, weights, act, biases)
    backprops = [torch.ones_like(preactivations[-1])]
    hidden = zip(preactivations[-2::-1], features[-2:0:-1], reversed(weights[1:]), strict=True)
    for g, f, weight in hidden:
        backprops.append((backprops[-1] @ weight.mT).mul_(act.slope(g, f)))
    backprops.reverse()
    # The last product is the output: no unit's sign hangs on it.
    for rows, weight in zip(features[:-1], [*weights[:-1], None], strict=True):
        _check_range(rows, weight, act, "features")
    for rows, weight in zip(backprops[1:], weights[1:], strict=True):
        _check_range(rows, weight.mT, act, "backprops")
    _check_range(backprops[0], None, act, "backprops")
    return Linearisation(tuple(features[:-1]), tuple(backprops), biases is not None)


def gram(
    lin: Linearisation, layers: Sequence[int] | None = None, *, tile: int | None = None
) -> Tensor:
    """K, shape (..., N, N), summed over ``layers`` (numbers 1..L; None for all).

    Exactly symmetric: only tiles on or below the diagonal are computed, then mirrored.
    N^2 sum_l (n_{l-1} + n_l) flops to leading order, N^2 numbers and three tiles of memory a
    thread.
    Raises ValueError for a layer that does not exist or a tile below 1.
    """
    chosen = check_layers(layers, lin.depth)
    n = lin.n_samples
    first = lin.features[0]
    if tile is None:
        most = devices.GRAM_TILE.on(first.device)
        tile = -(-n // max(1, -(-n // most)))  # as many tiles as needed, of equal size
    elif tile < 1:
        raise ValueError(f"tile must be at least 1 row, got {tile}; leave it out for the default")
    tile = max(1, min(tile, n))
    factors = [_factors(lin, layer) for layer in chosen]
    out = workspace.empty(first, (*first.shape[:-2], n, n))
    fill_symmetric(out, factors, tile)
    return out


def diagonal(lin: Linearisation, layers: Sequence[int] | None = None) -> Tensor:
    """Diagonal of K (squared gradient norms), shape (..., N), in O(N sum n_l); its sum is tr K.

    Raises OutOfRangeError where the square of a gradient that is not 0 leaves the range in which
    it is right to eps, or the trace overflows.
    """
    chosen = check_layers(layers, lin.depth)
    parts = []
    for layer in chosen:
        feature, backprop = lin.features[layer - 1], lin.backprops[layer - 1]
        parts.append((_squares(feature) + float(lin.bias)) * _squares(backprop))
    total = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
    small = total < least_normal(total.dtype)
    if not bool(total.sum(-1).isfinite().all()) or (
        bool(small.any()) and bool((small & _has_gradient(lin, chosen)).any())
    ):
        raise OutOfRangeError(_range_message("squared gradient norms", total.dtype))
    return total


def _squares(rows: Tensor) -> Tensor:
    """Squared norm of each row (..., n), without a temporary of their size."""
    return torch.linalg.vecdot(rows, rows)


def _has_gradient(lin: Linearisation, chosen: Sequence[int]) -> Tensor:
    """Which samples have a gradient that is not 0, shape (..., N)."""
    some = []
    for layer in chosen:
        feature, backprop = lin.features[layer - 1], lin.backprops[layer - 1]
        some.append(((feature != 0).any(-1) | lin.bias) & (backprop != 0).any(-1))
    return torch.stack(some).any(0)


def gram_error_bound(
    lin: Linearisation, layers: Sequence[int] | None = None, *, trace: float | None = None
) -> float:
    """Bound on the spectral norm of the rounding error of ``gram``, given F and B.

    ``trace``: tr K, the sum of ``diagonal``; where it is given, once for each network of a batch,
    it is not computed again.

    An inner product of length n is off by at most gamma_n |a|.|b|, gamma_n = n u / (1 - n u), so
    |dK| <= gamma_m sum_l (|F||F|^T + 11^T) o (|B||B|^T) entrywise with
    m = max_l (n_{l-1} + n_l) + L + 3 (two products, their product, the bias and the sum).  That
    majorant is positive semidefinite (Schur), so its norm is at most its trace, which is tr K.
    Worst case: typical errors are smaller by orders of magnitude.  The rounding of F and B
    themselves (forward and backward pass) is not included.
    """
    chosen = check_layers(layers, lin.depth)
    lengths = [
        lin.features[k - 1].shape[-1] + int(lin.bias) + lin.backprops[k - 1].shape[-1]
        for k in chosen
    ]
    m = max(lengths) + len(chosen) + 3
    unit = float(torch.finfo(lin.features[0].dtype).eps) / 2
    gamma = m * unit / (1 - m * unit)
    if trace is None:
        trace = float(diagonal(lin, chosen).sum())
    bound: float = gamma / (1 - gamma) * trace
    return bound


def member(lin: Linearisation, i: int) -> Linearisation:
    """Network ``i`` of a batch with one leading dimension, as views."""
    return Linearisation(
        tuple(f[i] for f in lin.features), tuple(b[i] for b in lin.backprops), lin.bias
    )


def check_layers(layers: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """``layers`` as distinct numbers within 1..depth; None means all."""
    if layers is None:
        return tuple(range(1, depth + 1))
    chosen = tuple(layers)
    if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= {*range(1, depth + 1)}:
        raise ValueError(
            f"layers must be distinct numbers from 1 to {depth}, got {chosen}; "
            "leave them out for the full kernel"
        )
    return chosen


def least_normal(dtype: torch.dtype) -> float:
    """The least number whose rounding error, eps of it, is itself a normal number."""
    info = torch.finfo(dtype)
    return float(info.tiny) / float(info.eps)


def _range_message(what: str, dtype: torch.dtype) -> str:
    return (
        f"the network's {what} leave the range of {str(dtype).removeprefix('torch.')}; "
        "rescale the weights (or take float64)"
    )


def _check_range(rows: Tensor, weight: Tensor | None, act: Activation, what: str) -> None:
    """OutOfRangeError if ``rows`` (..., N, n) overflowed or ``rows @ weight`` may underflow.

    Where a kink makes the sign of a product part of the result (is the unit on?), a product that
    underflows to 0 turns units off that are on.  With |row| |W| >= tiny/eps in the maximum norm,
    what underflow takes from a product is less than its rounding; a zero is then a zero.
    """
    kinked = weight is not None and act.kinked
    # The 2-norm is ten times faster; where it overflows, or more is asked, the entries decide.
    if not kinked and bool(torch.linalg.vector_norm(rows, dim=-1).isfinite().all()):
        return
    size = rows.abs().amax(-1)
    overflow = not bool(size.isfinite().all())
    underflow = torch.zeros((), dtype=torch.bool)
    if kinked and weight is not None:
        scale = weight.abs().amax((-2, -1)).unsqueeze(-1)
        # Half the exponents each: the product of the two may itself underflow.
        small = size.sqrt() * scale.sqrt() < math.sqrt(least_normal(rows.dtype))
        underflow = (small & (size > 0) & (scale > 0)).any()
    if overflow or bool(underflow):
        raise OutOfRangeError(_range_message(what, rows.dtype))


def _check_shapes(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] | None) -> None:
    if not weights or weights[-1].shape[-1] != 1:
        raise ValueError("expected at least one weight matrix, the last with one column")
    chain = [x.shape[-1]] + [w.shape[-1] for w in weights]
    fan_in = [w.shape[-2] for w in weights]
    if fan_in != chain[:-1]:
        raise ValueError(f"weights expect inputs of {fan_in} columns, got {chain[:-1]}")
    if biases is not None and [b.shape[-1] for b in biases] != chain[1:]:
        raise ValueError(f"expected biases of sizes {chain[1:]}, one a layer")


def _factors(lin: Linearisation, layer: int) -> tuple[Tensor, Tensor | None]:
    """(F_{l-1}, with a column of ones when there are biases; B_l, or None where it is all 1)."""
    left = lin.features[layer - 1]
    if lin.bias:
        left = torch.cat([left, torch.ones_like(left[..., :1])], dim=-1)
    return left, None if layer == lin.depth else lin.backprops[layer - 1]
