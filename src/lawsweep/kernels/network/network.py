"""A network as it is described: widths, layers, bias, scales, and which of it the kernel sees.

Nothing is computed and no torch is needed: counts, flops and bytes come from the widths, which
may be numpy columns where a plan prices many points at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.kernels.base.names import check_name, named
from lawsweep.kernels.network.layers import Dense, LayerKind
from lawsweep.kernels.network.residual import Residual

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.activations import Activation

PARAMETERISATIONS = ("standard", "ntk")
LAYER_KINDS: dict[str, LayerKind] = {kind.name: kind for kind in (Dense(), Residual())}


@dataclass(frozen=True)
class Network:
    """f(x) = F_{L-1} W_L with F_0 = x and F_l made of F_{l-1} by layer l; one output, mostly.

    ``widths``: (n_0, ..., n_L).  ``activation``: a name, or an ``Activation``.  ``bias``: whether
    biases are parameters too (0 at initialisation).  ``kinds``: a ``LayerKind`` or its name for
    each hidden layer, or one for all; none: fully connected.  ``betas``: beta_1 .. beta_L, all 1
    where none are given; ``parameterisation``: ``standard``, W_l ~ N(0, beta_l^2 / n_{l-1}) for
    l < L and W_L ~ N(0, beta_L^2), the scaling of [M] (arXiv 2205.10217), section 2; ``ntk`` (Jacot
    et al., arXiv 1806.07572): W_l = s_l V_l, V_l ~ N(0, 1), s_l = beta_l / sqrt(n_{l-1}), and
    gradients are with respect to V_l.
    ``layers``: those whose parameters count in the kernel, None for all.  ``conjugate``: the kernel
    is F_{L-1} F_{L-1}^T, that of the last layer without bias and scale.

    Raises ValueError where these do not fit each other.
    """

    widths: tuple[Any, ...]
    activation: str | Activation
    bias: bool = False
    kinds: tuple[str | LayerKind, ...] = ()
    betas: tuple[float, ...] | None = None
    parameterisation: str = "standard"
    layers: tuple[int, ...] | None = None
    conjugate: bool = False

    def __post_init__(self) -> None:
        for name in ("widths", "kinds", "betas", "layers"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if len(self.widths) < 2:
            raise ValueError(f"expected widths (n_0, ..., n_L) with L >= 1, got {self.widths}")
        if self.betas is not None and len(self.betas) != self.depth:
            raise ValueError(f"expected {self.depth} betas, one a layer, got {len(self.betas)}")
        if len(self.kinds) not in (0, 1, self.depth - 1):
            raise ValueError(
                f"expected a kind for each of the {self.depth - 1} hidden layers, or one for all, "
                f"got {len(self.kinds)}"
            )
        check_name("parameterisation", self.parameterisation, PARAMETERISATIONS)
        check_layers(self.layers, self.depth)
        if self.kinds:
            _ = self.shapes  # which refuses widths that a layer cannot join

    @classmethod
    def of(cls, weights: Sequence[Tensor], activation: str | Activation, **options: Any) -> Network:
        """The fully connected network of ``weights`` (..., n_{l-1}, n_l), whose widths chain."""
        if not weights:
            raise ValueError("expected at least one weight matrix, the last with one column")
        return cls((weights[0].shape[-2], *(w.shape[-1] for w in weights)), activation, **options)

    @classmethod
    def equal(
        cls, input_dim: Any, width: Any, depth: int, activation: str | Activation, **options: Any
    ) -> Network:
        """Of ``depth`` L weight matrices, equal hidden widths and one output."""
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        return cls((input_dim, *([width] * (depth - 1)), 1), activation, **options)

    def select(self, *layers: int) -> Network:
        """The same network, of which these layers count in the kernel; none: all."""
        return replace(self, layers=layers or None)

    @property
    def depth(self) -> int:
        """Number of weight matrices L."""
        return len(self.widths) - 1

    @property
    def act(self) -> Activation:
        """The activation itself."""
        if not isinstance(self.activation, str):
            return self.activation
        from lawsweep.kernels.activations import activation

        return activation(self.activation)

    @cached_property
    def layer_kinds(self) -> tuple[LayerKind, ...]:
        """One a layer 1..L; the output layer is always a linear dense one."""
        kinds = self.kinds or ("dense",)
        kinds = kinds * (self.depth - 1) if len(kinds) == 1 else kinds
        found = (named("layer kind", k, LAYER_KINDS) if isinstance(k, str) else k for k in kinds)
        return (*found, LAYER_KINDS["dense"])

    @property
    def fully_connected(self) -> bool:
        """Whether every layer is dense, as the limits and relations of the papers ask."""
        return all(kind == LAYER_KINDS["dense"] for kind in self.layer_kinds)

    @property
    def chosen(self) -> tuple[int, ...]:
        """The layers that count in the kernel."""
        return (self.depth,) if self.conjugate else check_layers(self.layers, self.depth)

    @property
    def counts_bias(self) -> bool:
        """Whether biases count in the kernel."""
        return self.bias and not self.conjugate

    @property
    def scales(self) -> tuple[float, ...]:
        """s_1 .. s_L: with K_l the Gram of the gradients in W_l, K = sum_l s_l^2 K_l.

        By the chain rule df/dV_l = s_l df/dW_l; every term is of order 1 then as widths grow.
        Biases carry the factor 1.  All 1 where the gradient is in W_l itself.
        """
        if self.parameterisation == "standard" or self.conjugate:
            return (1.0,) * self.depth
        return self.sds

    @property
    def sds(self) -> tuple[float, ...]:
        """Standard deviations of the entries of W_1 .. W_L."""
        betas = self.betas or (1.0,) * self.depth
        # Layers divided by the root of their fan-in.
        last = self.depth if self.parameterisation == "ntk" else self.depth - 1
        return tuple(
            beta / (math.sqrt(fan_in) if layer < last else 1.0)
            for layer, (beta, (fan_in, _)) in enumerate(zip(betas, self.shapes, strict=True))
        )

    @cached_property
    def shapes(self) -> tuple[tuple[Any, Any], ...]:
        """Of the weights W_1 .. W_L."""
        joins = zip(self.layer_kinds, self.widths[:-1], self.widths[1:], strict=True)
        return tuple(kind.shape(a, b) for kind, a, b in joins)

    @property
    def n_weights(self) -> Any:
        """Number of weights."""
        return sum(a * b for a, b in self.shapes)

    @property
    def n_params(self) -> Any:
        """Number p of parameters: weights, and biases where there are any."""
        return self.n_weights + sum(b for _, b in self.shapes) * int(self.bias)

    @property
    def n_counted(self) -> Any:
        """Number of the parameters that count in the kernel: rank K is at most that."""
        pairs = (self.shapes[k - 1] for k in self.chosen)
        return sum((a + int(self.counts_bias)) * b for a, b in pairs)

    @property
    def columns(self) -> Any:
        """Columns of the kernel's factors (a token's times tokens^2): N^2 times it is its flops."""
        total = 0
        for k in self.chosen:
            (a, b), rows = self.shapes[k - 1], self.layer_kinds[k - 1].tokens ** 2
            # The last layer's second factor is all ones: no product.
            total = total + rows * (a + int(self.counts_bias) + (b if k < self.depth else 0))
        return total

    @property
    def kept(self) -> Any:
        """Numbers a sample of all features and errors together."""
        pairs = zip(self.widths[:-1], self.widths[1:], strict=True)
        return sum(a + b for a, b in pairs) - self.widths[-1]

    @property
    def passed(self) -> Any:
        """Numbers a sample at the peak of both passes: F, G and B, and one more in work."""
        hidden = self.widths[1:-1]
        return self.widths[0] + 3 * sum(hidden) + reduce(np.maximum, hidden, 0)

    @property
    def flops(self) -> Any:
        """Of a forward pass, for each sample; a backward pass takes as many."""
        joins = zip(self.layer_kinds, self.widths[:-1], self.widths[1:], strict=True)
        return sum(kind.flops(a, b) for kind, a, b in joins)


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
