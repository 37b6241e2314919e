"""Fully connected networks f(x) = sigma(... sigma(x W_1) ...) W_L with one output.

Everything takes leading batch dimensions: data (..., N, n_0), weights (..., n_{l-1}, n_l), so
many seeds of one shape run as one call.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base.names import check_name

PARAMETERISATIONS = ("standard", "ntk")


def layer_widths(input_dim: int, width: int, depth: int) -> tuple[int, ...]:
    """(n_0, ..., n_L) of a network of ``depth`` L weight matrices and equal hidden widths."""
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    return (input_dim, *([width] * (depth - 1)), 1)


def n_params(widths: Sequence[int]) -> int:
    """Number of weights, sum of n_{l-1} n_l (no biases)."""
    return sum(a * b for a, b in itertools.pairwise(widths))


def weight_sds(
    widths: Sequence[int], betas: Sequence[float] | None = None, parameterisation: str = "standard"
) -> list[float]:
    """Standard deviation of the entries of W_1 .. W_L; ValueError for a wrong number of betas."""
    depth = len(widths) - 1
    scales = [1.0] * depth if betas is None else list(betas)
    if len(scales) != depth:
        raise ValueError(f"expected {depth} betas, one a layer, got {len(scales)}")
    check_name("parameterisation", parameterisation, PARAMETERISATIONS)
    last = depth if parameterisation == "ntk" else depth - 1  # layers divided by sqrt(fan-in)
    return [
        beta / (math.sqrt(fan_in) if layer < last else 1.0)
        for layer, (beta, fan_in) in enumerate(zip(scales, widths[:-1], strict=True))
    ]


def ntk_scales(widths: Sequence[int], betas: Sequence[float] | None = None) -> list[float]:
    """s_l = beta_l / sqrt(n_{l-1}), the factors of the NTK parameterisation W_l = s_l V_l.

    By the chain rule df/dV_l = s_l df/dW_l, so with K_l the Gram of the gradients in W_l

        K = sum_l s_l^2 K_l,

    every factor of which is of order 1 as widths grow.  Biases, if any, carry the factor 1.
    """
    return weight_sds(widths, betas, "ntk")


def init_weights(
    widths: Sequence[int],
    rng: np.random.Generator,
    betas: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
    parameterisation: str = "standard",
) -> list[Tensor]:
    """The weights the network applies, shapes (n_{l-1}, n_l).

    ``standard``: W_l ~ N(0, beta_l^2 / n_{l-1}) for l < L and W_L ~ N(0, beta_L^2), the scaling
    of [M] (arXiv 2205.10217), section 2.  ``ntk`` (Jacot et al., arXiv 1806.07572): W_l = s_l V_l
    with parameters V_l ~ N(0, 1) and s_l = ``ntk_scales``; what is returned is W_l, so that
    ``forward`` is one for both.  ``betas`` default to 1; the same ``rng`` gives the same draws in
    both.
    """
    sds = weight_sds(widths, betas, parameterisation)
    weights = []
    for sd, (fan_in, fan_out) in zip(sds, itertools.pairwise(widths), strict=True):
        draw = sd * rng.standard_normal((fan_in, fan_out))
        weights.append(torch.from_numpy(draw).to(device=device, dtype=dtype))
    return weights


def init_stacks(
    widths: Sequence[int],
    rngs: Sequence[np.random.Generator],
    betas: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
    parameterisation: str = "standard",
) -> list[Tensor]:
    """``init_weights`` of each of ``rngs``, to the bit, stacked: shapes (B, n_{l-1}, n_l)."""
    sds = weight_sds(widths, betas, parameterisation)
    draws = [np.empty((len(rngs), *shape)) for shape in itertools.pairwise(widths)]
    for k, rng in enumerate(rngs):
        for draw in draws:
            rng.standard_normal(out=draw[k])
    return [
        torch.from_numpy(draw).mul_(sd).to(device=device, dtype=dtype)
        for draw, sd in zip(draws, sds, strict=True)
    ]


def forward(
    x: Tensor, weights: Sequence[Tensor], act: Activation, biases: Sequence[Tensor] | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Features F_0..F_L and preactivations G_1..G_L, each (..., N, n_l); F_L = G_L is the output.

    ``biases``: one (..., n_l) a layer, or None for a bias-free network.
    """
    features, preactivations = [x], []
    for layer, weight in enumerate(weights):
        g = features[-1] @ weight
        if biases is not None:
            g = g + biases[layer].unsqueeze(-2)
        preactivations.append(g)
        features.append(act.f(g) if layer < len(weights) - 1 else g)
    return features, preactivations
