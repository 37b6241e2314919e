"""Batched trust-region Newton: many restarts of one smooth problem held as one tensor.

The iteration is ``trust_region``'s.  Its model of the loss is a method's (``methods``): ``newton``
solves it exactly from the Hessian's eigenvectors and so also certifies the curvature; ``newton_cg``
needs only products with it, ``lbfgs`` only gradients.

Nothing unconverged is returned as converged: every restart carries the reason it stopped for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.optimise import methods
from lawsweep.kernels.optimise.methods import Method
from lawsweep.kernels.optimise.objective import Objective
from lawsweep.kernels.optimise.trust_region import MinimiseReason, TrustRegion, loss_noise

__all__ = [
    "Agreement",
    "MinimiseReason",
    "Result",
    "agreement",
    "joined",
    "loss_noise",
    "minimise",
    "split",
]


@dataclass(frozen=True)
class Result(Ended):
    """Where each of R restarts ended, and the evidence.

    ``curvature_min`` is the smallest Hessian eigenvalue at ``x`` (NaN where not computed: always
    with newton_cg and lbfgs, whose CONVERGED speaks of the gradient alone).
    """

    x: Tensor
    loss: Tensor
    grad_norm: Tensor
    n_iterations: Tensor
    reason: tuple[Reason, ...]
    curvature_min: Tensor

    @property
    def converged(self) -> Tensor:
        """Boolean, shape (R,), on the CPU."""
        return torch.tensor([r is MinimiseReason.CONVERGED for r in self.reason])

    @property
    def verdict(self) -> Reason:
        """Converged where a restart did, else the end of the first."""
        return next((r for r in self.reason if r.ok), self.reason[0])

    def part(self, which: slice) -> Result:
        """Some of the restarts."""
        return Result(
            x=self.x[which],
            loss=self.loss[which],
            grad_norm=self.grad_norm[which],
            n_iterations=self.n_iterations[which],
            reason=self.reason[which],
            curvature_min=self.curvature_min[which],
        )


def joined(parts: list[Result]) -> Result:
    """The restarts of several batches as one result, in order."""
    if len(parts) == 1:
        return parts[0]
    return Result(
        x=torch.cat([p.x for p in parts]),
        loss=torch.cat([p.loss for p in parts]),
        grad_norm=torch.cat([p.grad_norm for p in parts]),
        n_iterations=torch.cat([p.n_iterations for p in parts]),
        reason=tuple(r for p in parts for r in p.reason),
        curvature_min=torch.cat([p.curvature_min for p in parts]),
    )


def split(result: Result, counts: list[int]) -> list[Result]:
    """A result of several runs' restarts, run by run."""
    parts, end = [], 0
    for count in counts:
        part = slice(end, end := end + count)
        parts.append(result.part(part))
    return parts


@dataclass(frozen=True)
class Agreement:
    """The best restart, how many share its loss, and how many distinct minima were found.

    ``best`` is the first of the converged restarts that share the lowest loss (which of them is
    lower is rounding, and would differ from batch to batch); the lowest where none converged.
    The counts are over converged restarts alone.
    """

    best: int
    n_agreeing: int
    n_minima: int


def agreement(loss: Tensor, converged: Tensor, tolerance: float) -> Agreement:
    """Compare restarts: losses (R,) closer than ``tolerance`` (absolute) are the same minimum."""
    loss, converged = loss.detach().cpu(), converged.cpu()
    if not bool(converged.any()):
        finite = torch.where(loss.isfinite(), loss, torch.inf)
        return Agreement(int(finite.argmin()), 0, 0)
    ranked = loss[converged].sort().values
    best = int((converged & (loss - ranked[0] <= tolerance)).int().argmax())
    n_minima = 1 + int((ranked.diff() > tolerance).sum())
    return Agreement(best, int((ranked - ranked[0] <= tolerance).sum()), n_minima)


@full_precision()
def minimise(
    objective: Objective,
    start: Tensor,
    *,
    scale: float | Tensor = 1.0,
    tol: float = 1e-10,
    max_iterations: int = 200,
    method: str | type[Method] = "newton",
    radius: float | None = None,
) -> Result:
    """Minimise from every row of ``start``, shape (R, n).

    ``method``: one of the folder ``methods``, or a class of one's own.  ``scale`` is a typical size
    of the gradient away from a minimum, a number or one a restart (R,): a restart has converged
    when |gradient| <= tol * scale and (methods that need Hessians) no Hessian eigenvalue is below
    minus ``Tolerances.curvature`` of the largest.  ``radius``: first trust radius, by default 0.3
    |start|, or 1 at zero.

    Raises ValueError for an unknown method, a start that is not (R, n) or not finite, or a tol or
    scale that is not positive.
    """
    make = methods.method(method) if isinstance(method, str) else method
    if start.ndim != 2 or start.shape[0] < 1 or start.shape[1] < 1:
        raise ValueError(f"expected starts of shape (R, n), got {tuple(start.shape)}; reshape them")
    if not bool(start.isfinite().all()):
        raise ValueError("expected finite starts, got NaN or inf; draw them again")
    scale = torch.as_tensor(scale, dtype=start.dtype, device=start.device).expand(len(start))
    if not (tol > 0 and bool(((scale > 0) & scale.isfinite()).all())):
        raise ValueError(
            f"expected tol > 0 and a finite scale > 0, got {tol} and {scale.tolist()}; change them"
        )
    state = TrustRegion(objective, start, make(len(start)), scale, tol, radius)
    state.run(max_iterations)
    if "hessian" in state.model.needs:
        state.last_curvatures()
    return Result(
        x=state.x,
        loss=state.loss,
        grad_norm=state.gradient.norm(dim=-1),
        n_iterations=state.n_iterations,
        reason=tuple(r if r is not None else MinimiseReason.MAX_ITERATIONS for r in state.reason),
        curvature_min=state.curvature,
    )
