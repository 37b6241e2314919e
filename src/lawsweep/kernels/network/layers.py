"""What a layer is: how it maps features on, how errors come back, what its gradient is made of.

A kind of layer is one object with the methods of ``LayerKind``.  With weights W of ``shape``, it
maps the features F (..., N, n_in) below it to those above through preactivations G = G(F, W), and
the gradient of the output in W is, for every sample, a sum of outer products of a row of ``left``
and a row of B = df/dG:

    dW = sum over the sample's rows (tokens) of left[i]^T B[i],      db = sum of B[i].

All else (Gram, J v, J^T v, diagonal, rank) is made of those factors and asks for no kind.  Methods
take tensors and use their operators alone: this module needs no torch, and widths may be numpy
columns where sizes and flops are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.activations import Activation


class LayerKind(Protocol):
    """A kind of hidden layer.  Shapes may have leading batch dimensions."""

    @property
    def name(self) -> str:
        """How messages and params call it."""

    @property
    def tokens(self) -> int:
        """Rows of factors for each sample: 1 where the weights see it once."""

    def shape(self, fan_in: Any, fan_out: Any) -> tuple[Any, Any]:
        """Of the weights between so many units; ValueError for widths it cannot join."""

    def forward(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, act: Activation
    ) -> tuple[Tensor, Tensor]:
        """(G, features above): (..., N tokens, columns of W) and (..., N, n_out)."""

    def left(self, features: Tensor) -> Tensor:
        """The rows that W multiplies, (..., N tokens, rows of W)."""

    def errors(self, above: Tensor, g: Tensor, out: Tensor, act: Activation) -> Tensor:
        """B = df/dG from ``above`` = df/d(features above), G and those features ``out``."""

    def below(self, errors: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """df/d(features below), from B and the ``above`` that ``errors`` left behind."""

    def flops(self, fan_in: Any, fan_out: Any) -> Any:
        """Of a forward pass, for each sample; the errors take as many."""


@dataclass(frozen=True)
class Dense:
    """F -> sigma(F W + b), W (n_in, n_out): the layer of a fully connected network."""

    name: str = "dense"
    tokens: int = 1

    def shape(self, fan_in: Any, fan_out: Any) -> tuple[Any, Any]:
        """(n_in, n_out)."""
        return fan_in, fan_out

    def forward(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, act: Activation
    ) -> tuple[Tensor, Tensor]:
        """(F W + b, sigma of it)."""
        g = affine(features, weight, bias)
        return g, act.f(g)

    def left(self, features: Tensor) -> Tensor:
        """F."""
        return features

    def errors(self, above: Tensor, g: Tensor, out: Tensor, act: Activation) -> Tensor:
        """sigma'(G) o above, in the memory of ``above``."""
        return above.mul_(act.slope(g, out))

    def below(self, errors: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """B W^T."""
        del above
        return errors @ weight.mT

    def flops(self, fan_in: Any, fan_out: Any) -> Any:
        """2 n_in n_out."""
        return 2.0 * fan_in * fan_out


def affine(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``rows`` W + b for rows (..., N, a), W (..., a, b) and b (..., b) or None."""
    g = rows @ weight
    return g if bias is None else g + bias.unsqueeze(-2)
