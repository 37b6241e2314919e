"""The forward pass.  Leading batch dimensions: many networks of one shape are one call."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lawsweep.kernels.network.layers import affine
from lawsweep.kernels.network.network import Network


def forward(
    network: Network, weights: Sequence[Tensor], x: Tensor, biases: Sequence[Tensor] | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Features F_0..F_L and preactivations G_1..G_L; F_L = G_L (..., N, n_L) is the output.

    ``x`` (..., N, n_0); ``biases``: one (..., n_l) a layer, or None where they are 0.
    """
    features, preactivations, act = [x], [], network.act
    shifts = [None] * network.depth if biases is None else list(biases)
    layers = list(zip(network.layer_kinds, weights, shifts, strict=True))
    for kind, weight, bias in layers[:-1]:
        g, f = kind.forward(features[-1], weight, bias, act)
        preactivations.append(g)
        features.append(f)
    _, weight, bias = layers[-1]
    preactivations.append(affine(features[-1], weight, bias))
    features.append(preactivations[-1])
    return features, preactivations
