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

    from lawsweep.kernels.base.answers import Where
    from lawsweep.kernels.optimise.objective import Move, Objective

Need = Literal["hessian", "hessian_product"]


@dataclass(frozen=True, eq=False)
class Ends:
    """Where steps of some restarts lead: points (R, n), losses (R,) and gradients (R, n)."""

    point: Tensor
    loss: Tensor
    gradient: Tensor


@dataclass(eq=False)
class Ahead:
    """What a method worked out of the restarts ``index`` before it was known which of them go on.

    ``asked`` (R,): truth values it wants to be told, on the CPU in ``told`` by the time of the
    step; ``parts`` (R, ...): what else it keeps for it.
    """

    index: Tensor
    asked: Tensor
    parts: tuple[Tensor, ...]
    told: Tensor | None = None

    def take(self, index: Tensor) -> Ahead:
        """Of some of its restarts."""
        from lawsweep.kernels.base.answers import Where, positions

        if len(index) == len(self.index):
            return self
        which = positions(index, self.index)
        at = Where(len(self.index))(which, self.asked)
        told = None if self.told is None else self.told[which]
        return Ahead(index, self.asked[at], tuple(part[at] for part in self.parts), told)


@dataclass(frozen=True, eq=False)
class Ask:
    """The step that is asked for: of the restarts ``index`` (R,), on the CPU, at ``x`` (R, n).

    ``gradient`` (R, n), ``radius`` (R,); ``product``: p -> Hessian p, for a method that needs it;
    ``ahead``: what the method foresaw of them, if it did.
    """

    index: Tensor
    x: Tensor
    gradient: Tensor
    radius: Tensor
    product: Callable[[Tensor], Tensor] | None
    ahead: Ahead | None = None


class Method(ABC):
    """A quadratic model of the loss about each restart, made new where the restart has moved.

    ``needs``: the derivatives that it is given beside the gradient.  One that needs Hessians is
    given them by ``update``, and vouches for the curvature where it ends.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    def __init__(self, n_restarts: int) -> None:
        from lawsweep.kernels.base.answers import Where

        self.n_restarts = n_restarts
        self.where: Where = Where(n_restarts)
        """Where restarts lie in arrays over all that the method keeps on their device."""

    @abstractmethod
    def solve(self, ask: Ask) -> tuple[Tensor, Tensor]:
        """Steps (R, n) that make g.p + p.Hp/2 small over |p| <= radius, and the fall (R,), >= 0."""

    def update(self, index: Tensor, hessian: Tensor) -> None:  # noqa: B027  (for those that need it)
        """The Hessians (len(index), n, n), finite, of restarts that are new or have moved."""

    def foresee(self, ask: Ask, hessian: Tensor) -> Ahead | None:
        """What the next step takes that needs no answer; asked on a GPU, before ``update``.

        The Hessians are those of ``ask``'s points, which may be no new ones and need not be finite.
        """
        return None

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
