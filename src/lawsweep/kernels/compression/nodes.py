"""Nodes of one hidden layer and their output weights: what a norm or a loss is a sum over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from lawsweep.kernels.compression.theory import directions_norms
from lawsweep.kernels.gaussian.homogeneous import RELU, HomogeneousKernel
from lawsweep.kernels.gaussian.pairs import Profile

# Stands in for the kernel of an activation that is not homogeneous, where only a size is asked for.
LIKE_RELU = HomogeneousKernel(0.01)


@dataclass(frozen=True, eq=False)
class Nodes:
    """f(x) = sum_i alpha_i sigma(<w_i, x>), x ~ N(0, I_d), with N nodes and K outputs.

    ``rows`` w (N, d); ``alpha`` (N, K), or (N,) for one output; ``profile`` of sigma, ReLU's by
    default.

    Raises ValueError for shapes that do not fit.
    """

    rows: Tensor
    alpha: Tensor
    profile: Profile = RELU

    def __post_init__(self) -> None:
        w, alpha = self.rows, self.alpha
        if w.ndim != 2 or alpha.ndim not in (1, 2) or len(alpha) != len(w):
            raise ValueError(
                f"expected target rows (N, d) and alpha (N,) or (N, K), got {tuple(w.shape)} and "
                f"{tuple(alpha.shape)}; give one output weight a row and output"
            )
        object.__setattr__(self, "alpha", alpha.unsqueeze(-1) if alpha.ndim == 1 else alpha)

    @property
    def dim(self) -> int:
        """The input dimension d."""
        return int(self.rows.shape[1])

    @property
    def kernel(self) -> HomogeneousKernel:
        """Of a homogeneous sigma; of another, one of its size."""
        own = self.profile
        return own if isinstance(own, HomogeneousKernel) else LIKE_RELU

    @property
    def weights(self) -> Tensor:
        """Alpha of the one output, (N,); ValueError where there are several."""
        if self.alpha.shape[1] != 1:
            raise ValueError(
                f"expected a target of one output, got {self.alpha.shape[1]}; give one output "
                "weight a row"
            )
        return self.alpha[:, 0]

    @cached_property
    def sides(self) -> tuple[Tensor, Tensor]:
        """Directions w^ (N, d), 0 for a zero row, and norms |w| (N,)."""
        directions, norms = directions_norms(self.rows)
        return directions, norms

    @cached_property
    def beta(self) -> Tensor:
        """alpha_i |w_i| of the one output, (N,)."""
        return self.weights * self.sides[1]
