"""Activations by name: one entry says all there is to know of one.

Nobody else asks what an activation is called: what it computes, where it has a kink, its parity,
whether it is homogeneous and which closed forms it has are said here, beside its function.  The
functions are written with the tensors' own methods, so that a plan may ask for names and traits
without importing torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lawsweep.kernels.base.names import named

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.gaussian.closed import ClosedForm

_SQRT2 = math.sqrt(2.0)
_SQRT2PI = math.sqrt(2.0 * math.pi)
LEAKY_SLOPE = 0.01  # torch's default
AT_ZERO = (0.0,)


@dataclass(frozen=True, eq=False)
class Activation:
    """An elementwise function ``f``, its derivative ``df``, and their traits.

    ``df_of_f``: df(g) from f(g), where that saves an exp.  ``kinks``: where the slope jumps, and
    ``creases``: where a higher derivative does (a quadrature ends its panels at both); None where
    that is not known: what depends on it then takes a kink for possible.  At a kink df is what
    torch's autograd gives (ReLU'(0) = 0).  ``parity``: odd or even, None for neither.  ``below``:
    of a homogeneous f, max(z, 0) + below min(z, 0).  ``closed``: makes the closed forms of its
    expectations under a Gaussian; None: they are summed or integrated.
    """

    name: str
    f: Callable[[Tensor], Tensor]
    df: Callable[[Tensor], Tensor]
    df_of_f: Callable[[Tensor], Tensor] | None = None
    kinks: tuple[float, ...] | None = ()
    creases: tuple[float, ...] = ()
    parity: Literal["odd", "even"] | None = None
    below: float | None = None
    closed: Callable[[], ClosedForm] | None = None

    def slope(self, g: Tensor, value: Tensor) -> Tensor:
        """``df(g)`` where ``value`` = ``f(g)`` is at hand, to the bit: without a second exp."""
        return self.df(g) if self.df_of_f is None else self.df_of_f(value)

    @property
    def kinked(self) -> bool:
        """Whether the slope jumps somewhere, or may for all that is known."""
        return self.kinks is None or bool(self.kinks)

    @property
    def homogeneous(self) -> bool:
        """Whether f(c z) = c f(z) for c > 0, so that f'(z) z = f(z)."""
        return self.below is not None

    @property
    def linear(self) -> bool:
        """Whether f(z) = z."""
        return self.below == 1.0

    @property
    def rectifies(self) -> bool:
        """Whether it is ReLU: units of z < 0 are off, with value and slope 0."""
        return self.below == 0.0

    @property
    def tells_region(self) -> bool:
        """Whether f(z) > 0 where z > 0 alone, so that features tell which linear piece f is on."""
        return self.below is not None and 0.0 <= self.below < 1.0


def _phi(x: Tensor) -> Tensor:
    """Standard normal density."""
    return (-0.5 * x * x).exp() / _SQRT2PI


def _cdf(x: Tensor) -> Tensor:
    """Standard normal distribution function."""
    return 0.5 * (-x / _SQRT2).erfc()


def _sigmoid_df_of_f(s: Tensor) -> Tensor:
    return s * (1.0 - s)


def _tanh_df_of_f(t: Tensor) -> Tensor:
    return 1.0 - t * t


def _silu_df(x: Tensor) -> Tensor:
    s = x.sigmoid()
    return s * (1.0 + x * (1.0 - s))


def _elu(x: Tensor) -> Tensor:
    return x.where(x > 0, x.clamp(max=0.0).expm1())


def _homogeneous(below: float) -> Callable[[], ClosedForm]:
    def make() -> ClosedForm:
        from lawsweep.kernels.gaussian.closed import Homogeneous

        return Homogeneous(below)

    return make


def _erf_closed() -> ClosedForm:
    from lawsweep.kernels.gaussian.closed import Erf

    return Erf()


def leaky(below: float) -> Activation:
    """Leaky ReLU of another slope below zero."""
    return Activation(
        "leaky_relu",
        lambda x: x.where(x > 0, below * x),
        lambda x: x.new_ones(x.shape).where(x > 0, below),
        kinks=AT_ZERO,
        below=below,
        closed=_homogeneous(below),
    )


ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation(
            "relu",
            lambda x: x.relu(),
            lambda x: (x > 0).to(x.dtype),
            kinks=AT_ZERO,
            below=0.0,
            closed=_homogeneous(0.0),
        ),
        leaky(LEAKY_SLOPE),
        Activation(
            "abs",
            lambda x: x.abs(),
            lambda x: x.sign(),
            kinks=AT_ZERO,
            parity="even",
            below=-1.0,
            closed=_homogeneous(-1.0),
        ),
        Activation(
            "sigmoid",
            lambda x: x.sigmoid(),
            lambda x: _sigmoid_df_of_f(x.sigmoid()),
            _sigmoid_df_of_f,
        ),
        Activation(
            "tanh",
            lambda x: x.tanh(),
            lambda x: _tanh_df_of_f(x.tanh()),
            _tanh_df_of_f,
            parity="odd",
        ),
        Activation("gelu", lambda x: x * _cdf(x), lambda x: _cdf(x) + x * _phi(x)),
        Activation("silu", lambda x: x * x.sigmoid(), _silu_df),
        # torch's softplus is linear beyond 20, off its derivative by 2e-9 there.
        Activation("softplus", lambda x: x.logaddexp(x.new_zeros(())), lambda x: x.sigmoid()),
        Activation("elu", _elu, lambda x: x.clamp(max=0.0).exp(), creases=AT_ZERO),
        Activation(
            "erf",
            lambda x: x.erf(),
            lambda x: (-x * x).exp() * (2.0 / math.sqrt(math.pi)),
            parity="odd",
            closed=_erf_closed,
        ),
        Activation(
            "linear",
            lambda x: x,
            lambda x: x.new_ones(x.shape),
            parity="odd",
            below=1.0,
            closed=_homogeneous(1.0),
        ),
    )
}


def activation(name: str) -> Activation:
    """The activation called ``name``; ValueError lists the valid ones."""
    return named("activation", name, dict(sorted(ACTIVATIONS.items())))
