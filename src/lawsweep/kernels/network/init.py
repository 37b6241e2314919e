"""The weights of a network at its initialisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.network.network import Network


def init_weights(
    network: Network,
    rng: np.random.Generator,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> list[Tensor]:
    """The weights W_1 .. W_L that the network applies, shapes (n_{l-1}, n_l) where it is dense.

    What is returned is W_l = s_l V_l in the NTK parameterisation too, so that ``forward`` is one
    for both; the same ``rng`` gives the same draws in both.
    """
    weights = []
    for sd, shape in zip(network.sds, network.shapes, strict=True):
        draw = sd * rng.standard_normal(shape)
        weights.append(torch.from_numpy(draw).to(device=device, dtype=dtype))
    return weights


def init_stacks(
    network: Network,
    rngs: Sequence[np.random.Generator],
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> list[Tensor]:
    """``init_weights`` of each of ``rngs``, to the bit, stacked: shapes (B, n_{l-1}, n_l)."""
    draws = [np.empty((len(rngs), *shape)) for shape in network.shapes]
    for k, rng in enumerate(rngs):
        for draw in draws:
            rng.standard_normal(out=draw[k])
    return [
        torch.from_numpy(draw).mul_(sd).to(device=device, dtype=dtype)
        for draw, sd in zip(draws, network.sds, strict=True)
    ]
