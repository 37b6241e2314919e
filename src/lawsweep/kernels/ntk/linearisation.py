"""A network linearised in its parameters: the factors of every sample's gradient, layer by layer.

With F_0 = X, G_l = F_{l-1} W_l (+ b_l), F_l = sigma(G_l) and the output f = G_L, the chain rule
gives for one sample  df/dW_l[i, j] = F_{l-1}[i] B_l[j]  and  df/db_l[j] = B_l[j], where
B_L = 1 and B_l = sigma'(G_l) o (B_{l+1} W_{l+1}^T); other kinds of layers have their own F, B
(``network.layers``).  Setting: M. Bombari et al., arXiv 2205.10217, section 2.

Shapes may have leading batch dimensions throughout; N is the number of samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.network.forward import forward
from lawsweep.kernels.network.network import Network, check_layers
from lawsweep.kernels.ntk.factors import LayerFactors


class OutOfRangeError(ValueError):
    """Features, backprops or gradients leave the range of the floating-point type."""


@dataclass(frozen=True, eq=False)
class Linearisation:
    """What the gradient of every sample is made of.

    ``every``: the factors of layers 1..L.  ``chosen``: the numbers of those that count in the
    kernel.  ``outputs``: f(x), (..., N).  ``affine``: whether biases are parameters, or not 0.
    """

    network: Network
    every: tuple[LayerFactors, ...]
    chosen: tuple[int, ...]
    outputs: Tensor
    affine: bool

    @property
    def layers(self) -> tuple[LayerFactors, ...]:
        """The factors of the layers that count."""
        return tuple(self.every[k - 1] for k in self.chosen)

    @property
    def features(self) -> tuple[Tensor, ...]:
        """F_0 .. F_{L-1}, without scales, as the weights multiply them."""
        return tuple(layer.features for layer in self.every)

    @property
    def depth(self) -> int:
        """Number of weight matrices L."""
        return len(self.every)

    @property
    def n_samples(self) -> int:
        """Number of samples N."""
        return self.every[0].n_samples

    @property
    def dtype(self) -> torch.dtype:
        """The type of the factors."""
        return self.every[0].features.dtype

    @property
    def batch(self) -> tuple[int, ...]:
        """The leading dimensions."""
        return tuple(self.every[0].features.shape[:-2])

    def select(
        self, layers: Sequence[int] | None = None, scales: Sequence[float] | None = None
    ) -> Linearisation:
        """The same with other layers that count (1..L; None: all), or other factors s_1 .. s_L."""
        every = self.every
        if scales is not None:
            if len(scales) != self.depth:
                raise ValueError(f"expected {self.depth} scales, one a layer, got {len(scales)}")
            every = tuple(replace(f, scale=s) for f, s in zip(every, scales, strict=True))
        return replace(self, every=every, chosen=check_layers(layers, self.depth))

    def map(self, change: Callable[[Tensor], Tensor]) -> Linearisation:
        """The same of changed tensors: a member of a batch, another type or device."""
        every = tuple(layer.map(change) for layer in self.every)
        return replace(self, every=every, outputs=change(self.outputs))

    def member(self, i: int) -> Linearisation:
        """Network ``i`` of a batch with one leading dimension, as views."""
        return self.map(lambda t: t[i])


@full_precision()
def linearise(
    network: Network,
    weights: Sequence[Tensor],
    inputs: Tensor,
    biases: Sequence[Tensor] | None = None,
) -> Linearisation:
    """Forward and backward pass of all samples: O(N p) flops, O(N sum n_l) memory.

    ``inputs`` (..., N, n_0), ``weights[l]`` (..., n_l, n_{l+1}) with one output, ``biases[l]``
    (..., n_{l+1}) or None where they are 0.  The layers that count, their scales and whether
    biases do are the network's.  Raises ValueError when the shapes do not chain or the network has
    more than one output; OutOfRangeError, one too, when a value overflows or (activations with a
    kink at 0) so small a product is met that its sign is lost.
    """
    passed = passes(network, weights, inputs, biases)
    if not bool(passed.in_range):
        passed.settle()
    return passed.lin


class Passes(NamedTuple):
    """The passes' values and whether all are seen to be in range, a truth value on the device.

    Where ``in_range`` is False, ``settle`` raises OutOfRangeError if one is not.
    """

    lin: Linearisation
    in_range: Tensor
    settle: Callable[[], None]


@full_precision()
def passes(
    network: Network,
    weights: Sequence[Tensor],
    inputs: Tensor,
    biases: Sequence[Tensor] | None = None,
) -> Passes:
    """``linearise`` for a caller who asks more of the device before it waits for an answer."""
    _check_shapes(network, weights, inputs, biases)
    act, kinds = network.act, network.layer_kinds
    features, preactivations = forward(network, weights, inputs, biases)
    one = torch.ones_like(preactivations[-1])  # B_L
    errors: list[Tensor | None] = [None]
    above = one if network.depth == 1 else one @ weights[-1].mT
    for k in range(network.depth - 1, 0, -1):
        kind, g = kinds[k - 1], preactivations[k - 1]
        found = kind.errors(above, g, features[k], act)
        errors.append(found)
        if k > 1:
            above = kind.below(found, above, weights[k - 1])
    errors.reverse()
    # The last product is the output: no unit's sign hangs on it.
    checked = [
        ("features", *pair) for pair in zip(features[:-1], [*weights[:-1], None], strict=True)
    ]
    for rows, weight in zip(errors, [None, *weights[1:]], strict=True):
        back = one if rows is None else rows
        checked.append(("backprops", back, None if weight is None else weight.mT))
    seen = torch.stack([_in_range(rows, weight, act) for _, rows, weight in checked]).all()
    every = tuple(
        LayerFactors(k, kind.left(f), b, scale, network.counts_bias, kind.tokens)
        for k, (kind, f, b, scale) in enumerate(
            zip(kinds, features[:-1], errors, network.scales, strict=True), 1
        )
    )
    affine = biases is not None or network.counts_bias
    lin = Linearisation(network, every, network.chosen, features[-1].squeeze(-1), affine)
    return Passes(lin, seen, partial(_settle, checked, act))


def range_message(what: str, dtype: torch.dtype) -> str:
    """What OutOfRangeError says."""
    return (
        f"the network's {what} leave the range of {str(dtype).removeprefix('torch.')}; "
        "rescale the weights (or take float64)"
    )


def _settle(products: Sequence[tuple[str, Tensor, Tensor | None]], act: Activation) -> None:
    """OutOfRangeError if rows (..., N, n) overflowed or ``rows @ weight`` may underflow.

    ``products``: what the rows are, the rows, and the weight that multiplies them or None.
    Where a kink makes the sign of a product part of the result (is the unit on?), a product that
    underflows to 0 turns units off that are on.  With |row| |W| >= tiny/eps in the maximum norm,
    what underflow takes from a product is less than its rounding; a zero is then a zero.
    """
    for what, rows, weight in products:
        # The 2-norm may have overflowed where no entry did.
        finite = bool(rows.abs().amax(-1).isfinite().all())
        if not finite or (_signed(weight, act) and not bool(_in_range(rows, weight, act))):
            raise OutOfRangeError(range_message(what, rows.dtype))


def _signed(weight: Tensor | None, act: Activation) -> bool:
    """Whether the signs of a product with ``weight`` are part of the result."""
    return weight is not None and act.kinked


def _in_range(rows: Tensor, weight: Tensor | None, act: Activation) -> Tensor:
    """Whether all of it is seen to be in range, a truth value on the rows' device."""
    if weight is None or not act.kinked:
        # Ten times faster than the entries' sizes, which decide where it overflows.
        return torch.linalg.vector_norm(rows, dim=-1).isfinite().all()
    size = rows.abs().amax(-1)
    scale = weight.abs().amax((-2, -1)).unsqueeze(-1)
    # Half the exponents each: the product of the two may itself underflow.
    small = size.sqrt() * scale.sqrt() < math.sqrt(tolerances(rows.dtype).least_normal)
    return size.isfinite().all() & ~(small & (size > 0) & (scale > 0)).any()


def _check_shapes(
    network: Network, weights: Sequence[Tensor], x: Tensor, biases: Sequence[Tensor] | None
) -> None:
    if network.widths[-1] != 1:
        raise ValueError(
            f"expected a network with one output, the last weights with one column; got "
            f"{network.widths[-1]}"
        )
    if x.shape[-1] != network.widths[0]:
        raise ValueError(f"the network takes {network.widths[0]} columns, got {x.shape[-1]}")
    got = [tuple(w.shape[-2:]) for w in weights]
    if got != list(network.shapes):
        raise ValueError(f"expected weights of shapes {list(network.shapes)}, got {got}")
    sizes = [b for _, b in network.shapes]
    if biases is not None and [b.shape[-1] for b in biases] != sizes:
        raise ValueError(f"expected biases of sizes {sizes}, one a layer")
