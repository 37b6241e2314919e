"""The residual layer F -> F + sigma(F W + b), of equal widths (K. He et al., arXiv 1512.03385)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.kernels.network.layers import affine

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.activations import Activation


@dataclass(frozen=True)
class Residual:
    """One branch of one layer, its input added to it."""

    name: str = "residual"
    tokens: int = 1

    def shape(self, fan_in: Any, fan_out: Any) -> tuple[Any, Any]:
        """(n, n); ValueError where n_in and n_out differ."""
        if not bool(np.all(np.asarray(fan_in) == np.asarray(fan_out))):
            raise ValueError(
                f"a residual layer adds its input, so it has as many units as the layer below; "
                f"got {fan_in} below and {fan_out}; make them equal or take kind 'dense'"
            )
        return fan_in, fan_out

    def forward(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, act: Activation
    ) -> tuple[Tensor, Tensor]:
        """(F W + b, F + sigma of it)."""
        g = affine(features, weight, bias)
        return g, features + act.f(g)

    def left(self, features: Tensor) -> Tensor:
        """F."""
        return features

    def errors(self, above: Tensor, g: Tensor, out: Tensor, act: Activation) -> Tensor:
        """sigma'(G) o above, which ``below`` needs as it is."""
        return above * act.df(g)

    def below(self, errors: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """above + B W^T."""
        return above + errors @ weight.mT

    def flops(self, fan_in: Any, fan_out: Any) -> Any:
        """2 n^2."""
        return 2.0 * fan_in * fan_out
