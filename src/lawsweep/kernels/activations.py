"""Activations and their derivatives, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.names import named

_SQRT2 = math.sqrt(2.0)
_SQRT2PI = math.sqrt(2.0 * math.pi)
LEAKY_SLOPE = 0.01  # torch's default


@dataclass(frozen=True)
class Activation:
    """An elementwise function ``f`` and its derivative ``df``.

    Where ``f`` has a kink the derivative is the one-sided limit from the left (ReLU'(0) = 0, the
    convention of torch's autograd).
    """

    name: str
    f: Callable[[Tensor], Tensor]
    df: Callable[[Tensor], Tensor]
    df_of_f: Callable[[Tensor], Tensor] | None = None

    def slope(self, g: Tensor, value: Tensor) -> Tensor:
        """``df(g)`` where ``value`` = ``f(g)`` is at hand, to the bit: without a second exp."""
        return self.df(g) if self.df_of_f is None else self.df_of_f(value)


def _phi(x: Tensor) -> Tensor:
    """Standard normal density."""
    return torch.exp(-0.5 * x * x) / _SQRT2PI


def _cdf(x: Tensor) -> Tensor:
    """Standard normal distribution function."""
    return 0.5 * torch.erfc(-x / _SQRT2)


def _sigmoid_df_of_f(s: Tensor) -> Tensor:
    return s * (1.0 - s)


def _tanh_df_of_f(t: Tensor) -> Tensor:
    return 1.0 - t * t


def _silu_df(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def _step(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("relu", torch.relu, _step),
        Activation(
            "leaky_relu",
            lambda x: torch.where(x > 0, x, LEAKY_SLOPE * x),
            # Not where(x > 0, 1.0, slope): of two Python numbers that makes a float32 slope.
            lambda x: torch.where(x > 0, torch.ones_like(x), LEAKY_SLOPE),
        ),
        Activation(
            "sigmoid",
            torch.sigmoid,
            lambda x: _sigmoid_df_of_f(torch.sigmoid(x)),
            _sigmoid_df_of_f,
        ),
        Activation("tanh", torch.tanh, lambda x: _tanh_df_of_f(torch.tanh(x)), _tanh_df_of_f),
        Activation("gelu", lambda x: x * _cdf(x), lambda x: _cdf(x) + x * _phi(x)),
        Activation("silu", lambda x: x * torch.sigmoid(x), _silu_df),
        # torch's softplus is linear beyond 20, off its derivative by 2e-9 there.
        Activation("softplus", lambda x: torch.logaddexp(x, torch.zeros_like(x)), torch.sigmoid),
        Activation("erf", torch.erf, lambda x: torch.exp(-x * x) * (2.0 / math.sqrt(math.pi))),
        Activation("linear", lambda x: x, torch.ones_like),
    )
}


def activation(name: str) -> Activation:
    """The activation called ``name``; ValueError lists the valid ones."""
    return named("activation", name, dict(sorted(ACTIVATIONS.items())))
