"""What the params of several experiments share: names to choose from, and whole fields.

The kernels know these names too, but importing them costs a torch; a test holds the two equal.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from lawsweep import Field

Activation: TypeAlias = Literal[
    "relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "softplus", "erf", "linear"
]
RowLaw: TypeAlias = Literal["gaussian", "sphere", "rademacher", "uniform"]
ROW_LAWS: tuple[str, ...] = get_args(RowLaw)  # mean 0 and covariance I
Precision: TypeAlias = Literal["float64", "float32"]

Samples: TypeAlias = Annotated[int, Field("number of samples N", ge=1)]
InputDim: TypeAlias = Annotated[int, Field("input dimension d", ge=1)]
