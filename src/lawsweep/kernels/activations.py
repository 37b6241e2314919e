"""Activations by name: one entry says all there is to know of one.

Nobody else asks what an activation is called: what it computes, where it has a kink, its parity,
whether it is homogeneous and which closed forms it has are said here, beside its function.  The
functions are written with the tensors' own methods, so that a plan may ask for names and traits
without importing torch.

One from elsewhere is ``module:function``, a function of one tensor (``torch.nn.functional:mish``):
its slope is autograd's, its expectations are summed or integrated with the error they report, and
nothing is taken for known of its kinks and symmetries.  So no zero of a kernel is named for it
that rests on one, and a product so small that a kink at 0 would lose its sign is out of range.
``module:entry`` of an Activation says its traits itself.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from lawsweep.kernels.base.names import named

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.gaussian.pairs import ClosedForm

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
        from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel

        return HomogeneousKernel(below)

    return make


def _erf_closed() -> ClosedForm:
    from lawsweep.kernels.gaussian.erf import ErfKernel

    return ErfKernel()


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
    """The activation called ``name``, or one of the caller's own, ``module:function``.

    Raises ValueError with the valid names, or with what is wrong with the caller's own; whatever
    importing its module raises.
    """
    if ":" in name:
        return _own(name)
    return named("activation", name, dict(sorted(ACTIVATIONS.items())))


@lru_cache(maxsize=64)
def _own(name: str) -> Activation:
    module, _, attribute = name.partition(":")
    found = getattr(importlib.import_module(module), attribute, None)
    if found is None:
        raise ValueError(f"module {module!r} has no {attribute!r} to be an activation")
    return of_function(found, name)


def of_function(function: Activation | Callable[[Tensor], Tensor], name: str) -> Activation:
    """An entry of an elementwise torch function, or of an entry as it is, called ``name``.

    The slope of a function is autograd's.  Either is tried on a few numbers: ValueError unless it
    maps a tensor to one of its shape and dtype, each number by itself and always alike.
    """
    if not isinstance(function, Activation):
        if not callable(function):
            raise ValueError(
                f"activation {name!r} must be a function of a tensor, got {function!r}"
            )
        function = Activation(name, function, _by_autograd(function), kinks=None)
    found = replace(function, name=name)
    _try(found)
    return found


def _by_autograd(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def df(x: Tensor) -> Tensor:
        import torch

        with torch.inference_mode(False):
            _, back = torch.func.vjp(f, x.clone() if x.is_inference() else x)
            slope: Tensor = back(torch.ones_like(x))[0]
        return slope

    return df


def _try(act: Activation) -> None:
    """Raise ValueError unless the entry does on a few numbers what it must, and what it says."""
    import torch

    for dtype in (torch.float64, torch.float32):
        x = torch.tensor([[-1.7, -0.3, 0.6], [0.3, 1.7, 4.0]], dtype=dtype)
        values = _tried(act.f, f"activation {act.name!r}", x)
        slopes = _tried(act.df, f"the slope of activation {act.name!r}", x)
        sign = {"odd": -1.0, "even": 1.0}.get(act.parity or "")
        said = [
            ("its slope", slopes, _by_autograd(act.f)(x)),
            ("its slope from its value", slopes, act.slope(x, values)),
            (f"parity {act.parity!r}", values, values if sign is None else sign * act.f(-x)),
            (f"below {act.below}", values, values if act.below is None else leaky(act.below).f(x)),
        ]
        for what, one, other in said:
            if not torch.allclose(one, other, rtol=1e-4, atol=1e-5):
                raise ValueError(
                    f"activation {act.name!r} is not what its entry says: {what} does not fit its "
                    f"values, {one.flatten().tolist()} for {other.flatten().tolist()}"
                )


def _tried(function: Callable[[Tensor], Tensor], what: str, x: Tensor) -> Tensor:
    """What ``function`` makes of ``x``; ValueError unless it maps each number by itself."""
    import torch

    asked = f"{what} must map a tensor of shape {tuple(x.shape)} of {x.dtype} to one like it"
    given = x.clone()
    try:
        value = function(given)
        alone = torch.cat([function(one) for one in x.clone().flatten().split(1)])
    except Exception as error:
        said = (str(error).splitlines() or [""])[0].rstrip(".")
        raise ValueError(
            f"{asked}, got {type(error).__name__}: {said}; write it as a torch function"
        ) from error
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{asked}, got {type(value).__name__}; write it as a torch function")
    if (value.shape, value.dtype) != (x.shape, x.dtype):
        raise ValueError(f"{asked}, got one of shape {tuple(value.shape)} of {value.dtype}")
    if not bool(value.isfinite().all()):
        raise ValueError(
            f"{what} is not finite on {x.flatten().tolist()}, got {value.flatten().tolist()}"
        )
    apart = (value.flatten() - alone).abs().max() / (1.0 + value.abs().max())
    if not torch.equal(given, x) or float(apart) > 64.0 * torch.finfo(x.dtype).eps:
        raise ValueError(
            f"{what} must map each number by itself, always alike, and leave its argument as it "
            "is; it does not"
        )
    return value
