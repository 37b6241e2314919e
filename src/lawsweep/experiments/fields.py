"""What the params of several experiments share: names to choose from, and whole fields.

The names of activations are those of the kernels' table, and a user's own is found here.  Other
names the kernels know too, but importing them costs a torch; a test holds the two equal.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from lawsweep import Field
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.plain.annotations import field_specs
from lawsweep.core.registry import find_own
from lawsweep.core.schema import FieldSpec, Own
from lawsweep.kernels.activations import ACTIVATIONS, activation

OWN = Own("activation")
if TYPE_CHECKING:
    Activation: TypeAlias = str
else:  # all there are, or module:function
    Activation = Annotated[Literal[tuple(ACTIVATIONS)], OWN]

RowLaw: TypeAlias = Literal["gaussian", "sphere", "rademacher", "uniform"]
ROW_LAWS: tuple[str, ...] = get_args(RowLaw)  # mean 0 and covariance I
Precision: TypeAlias = Literal["float64", "float32"]

Samples: TypeAlias = Annotated[int, Field("number of samples N", ge=1)]
InputDim: TypeAlias = Annotated[int, Field("input dimension d", ge=1)]


@cache
def _choices(params: type) -> tuple[FieldSpec, ...]:
    specs = field_specs(params)
    return tuple(s for s in specs if s.choices and not (s.optional or s.is_tuple))


def check_choices(params: Any) -> None:
    """Raise UnknownNameError unless each field that is one of several names holds one of them.

    For a Params that was made without its experiment: what runs may then take a name it does not
    know for no other's.  An activation of the user's own is found and tried: UnknownNameError or
    InvalidValueError says what is wrong with it.
    """
    kind: Any = type(params)
    for spec in _choices(kind):
        value = getattr(params, spec.name)
        if spec.is_own(value):
            check_own(value)
        elif value not in (spec.choices or ()):
            raise unknown_name(spec.name, value, spec.choices or ())


@cache
def check_own(name: str) -> None:
    """Raise UnknownNameError or InvalidValueError unless ``module:function`` is an activation."""
    try:
        activation(name)  # as it is importable by now, in a worker for one
    except Exception:  # noqa: BLE001  (whatever importing the user's module raises)
        find_own(OWN.what, name)
        try:
            activation(name)
        except ValueError as error:
            raise InvalidValueError(f"{error}.") from None
