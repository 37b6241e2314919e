"""What the params of several experiments share: names to choose from, and whole fields.

The kernels know these names too, but importing them costs a torch; a test holds the two equal.
"""

from __future__ import annotations

import typing
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from lawsweep import Field
from lawsweep.core.errors import unknown_name

Activation: TypeAlias = Literal[
    "relu",
    "leaky_relu",
    "abs",
    "sigmoid",
    "tanh",
    "gelu",
    "silu",
    "softplus",
    "elu",
    "erf",
    "linear",
]
RowLaw: TypeAlias = Literal["gaussian", "sphere", "rademacher", "uniform"]
ROW_LAWS: tuple[str, ...] = get_args(RowLaw)  # mean 0 and covariance I
Precision: TypeAlias = Literal["float64", "float32"]

Samples: TypeAlias = Annotated[int, Field("number of samples N", ge=1)]
InputDim: TypeAlias = Annotated[int, Field("input dimension d", ge=1)]


@cache
def _choices(params: type) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    hints = typing.get_type_hints(params)
    return tuple((n, get_args(h)) for n, h in hints.items() if get_origin(h) is Literal)


def check_choices(params: Any) -> None:
    """Raise UnknownNameError unless each field that is one of several names holds one of them.

    For a Params that was made without its experiment: what runs may then take a name it does not
    know for no other's.
    """
    kind: Any = type(params)
    for name, valid in _choices(kind):
        if getattr(params, name) not in valid:
            raise unknown_name(name, getattr(params, name), valid)
