"""A second step down the walls of a valley, for losses that hardly change as their rows turn.

A long step along a soft, curved valley climbs its walls a little, and a whole Newton step is then
spent on coming down: seen from outside, the gradient jumps up and down by a factor of a hundred.
The walls hardly change along the valley but for turning with the rows, so the Hessian at hand,
turned, gives that step at the price of a gradient.  Half of all Hessians are saved (measured).
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from lawsweep.kernels.optimise.models import Eigen

# A step that makes the gradient so many times longer has climbed.  Below so many unknowns another
# Hessian costs no more than the correction (measured).
GROWN, LEAST_UNKNOWNS = 2.0, 100


@runtime_checkable
class Turning(Protocol):
    """An objective (``minimise.Objective``) that can turn directions as it turns points."""

    def value_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (R,) and gradient (R, n)."""
        ...

    def retract(self, x: Tensor, step: Tensor) -> Tensor:
        """The point reached by the step."""
        ...

    def take(self, index: Tensor) -> Any:
        """The same loss for those restarts alone."""
        ...

    def transport(self, x: Tensor, step: Tensor, p: Tensor, back: bool = False) -> Tensor:
        """Directions p at x, turned as ``retract`` turns the point; ``back``: turned back."""
        ...


def corrected(
    part: Any,
    model: Eigen,
    index: Tensor,
    begin: tuple[Tensor, Tensor, Tensor],
    ends: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """``ends`` (points, losses, gradients) of steps of ``part``, corrected where that is lower.

    ``begin``: points, steps and gradients they started with.  Restarts whose gradient did not
    grow, or whose eigenvectors ``model`` has not at hand, are returned as they are.
    """
    x, step, before = begin
    if x.shape[1] < LEAST_UNKNOWNS or not isinstance(part, Turning):
        return ends
    grew = ends[2].norm(dim=-1) > GROWN * before.norm(dim=-1)
    own = (grew & ends[1].isfinite()).cpu().nonzero().squeeze(-1)
    own = own[model.decomposed(index[own])]
    if not len(own):
        return ends
    few, at, moved = part.take(own), x[own], step[own]
    trial, loss, gradient = (t.clone() for t in ends)
    fix = model.stiff_step(index[own], few.transport(at, moved, gradient[own], True))
    there = few.retract(trial[own], few.transport(at, moved, fix))
    new_loss, new_gradient = few.value_gradient(there)
    lower = new_loss < loss[own]
    where = own[lower.cpu()]
    trial[where], loss[where], gradient[where] = there[lower], new_loss[lower], new_gradient[lower]
    return trial, loss, gradient
