"""Methods of ``minimise``: a file each, whose ``METHOD`` is its class.

The file's name is the method's, and the folder is the table: a file that is put
here is a method, with nothing else to edit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from lawsweep.kernels.base.names import from_folder, in_folder

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.optimise.objective import Move, Objective

Need = Literal["hessian", "hessian_product"]


@dataclass(frozen=True, eq=False)
class Ends:
    """Where steps of some restarts lead: points (R, n), losses (R,) and gradients (R, n)."""

    point: Tensor
    loss: Tensor
    gradient: Tensor


@dataclass(frozen=True, eq=False)
class Ask:
    """The step that is asked for: of the restarts ``index`` (R,), at ``x`` (R, n).

    ``gradient`` (R, n), ``radius`` (R,); ``product``: p -> Hessian p, for a method that needs it.
    """

    index: Tensor
    x: Tensor
    gradient: Tensor
    radius: Tensor
    product: Callable[[Tensor], Tensor] | None


class Method(ABC):
    """A quadratic model of the loss about each restart, made new where the restart has moved.

    ``needs``: the derivatives that it is given beside the gradient.  One that needs Hessians is
    given them by ``update``, and vouches for the curvature where it ends.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    def __init__(self, n_restarts: int) -> None:
        self.n_restarts = n_restarts

    @abstractmethod
    def solve(self, ask: Ask) -> tuple[Tensor, Tensor]:
        """Steps (R, n) that make g.p + p.Hp/2 small over |p| <= radius, and the fall (R,), >= 0."""

    def update(self, index: Tensor, hessian: Tensor) -> None:  # noqa: B027  (for those that need it)
        """The Hessians (len(index), n, n), finite, of restarts that are new or have moved."""

    def extremes(self, index: Tensor) -> tuple[Tensor, Tensor] | None:
        """Smallest eigenvalue, and largest in absolute value, of the Hessians; None: not known."""
        return None

    def correct(self, part: Objective, ask: Ask, move: Move, ends: Ends) -> Ends:
        """``ends`` of a step of ``part``, or lower ones that the model knows of."""
        return ends


def names() -> tuple[str, ...]:
    """The methods there are; none is imported, and neither is torch."""
    return in_folder(__path__)


def method(name: str) -> type[Method]:
    """The method of that name; ValueError with the valid names where there is none."""
    found: type[Method] = from_folder("method", name, __name__, __path__).METHOD
    return found
