"""A network that memorizes, built from the NTK at its initialisation and not by training.

Let f(x; W) be a network with hidden widths n_1 .. n_{L-1} and W^0 its initial weights.  Two copies
side by side, hidden layers block-diagonal, with output weights of opposite sign,

    V_1 = [W_1, W_1^0],   V_l = diag(W_l, W_l^0),   V_L = [W_L; -W_L^0] / eps,   W = W^0 + delta,

are one network of hidden widths 2 n_l that computes, exactly,

    g(x) = (f(x; W^0 + delta) - f(x; W^0)) / eps.

To first order g = J delta / eps with J the Jacobian at W^0, so delta = eps J^+ y, J^+ = J^T K^{-1},
K = J J^T, fits all y wherever J has full row rank, whatever y is; what is left is of order
eps |J^+ y|^2.  Simplified Newton removes it: with u = K^{-1} (y - g),

    delta <- delta + eps J^T u

maps the residual to one smaller by a factor of order eps (the derivative of g in delta is J / eps
up to a relative O(|delta|)), so for eps small enough it converges geometrically, and one Cholesky
factor of K serves all steps.  K is the layerwise Gram of ``ntk``: J is never formed.

Rounding.  f(W^0 + delta) and f(W^0) are of order 1 and their difference of order eps, so g is known
to about ``State.rounding_level`` of f over eps and no better: eps is only made as small as
convergence asks.  The residual of the built network, evaluated as any other, is the certificate.

The construction is that of the memorization result of arXiv 2205.10217 (full row rank of J gives
twice the widths); the simplified Newton, its bounds and its choice of eps are this project's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.linalg.cholesky import Cholesky
from lawsweep.kernels.linalg.operator import Factorisation
from lawsweep.kernels.network.forward import forward
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.gram import gram
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.ntk.linearisation import OutOfRangeError, linearise
from lawsweep.kernels.ntk.rank import ZeroReason, rank_report
from lawsweep.kernels.optimise.gauss_newton import State, norm

SHRINK = 1.0 / 16.0
CONTRACTION = 0.5  # a step has to lower the residual at least so; else eps is too large
MAX_STEPS = 60  # at a factor CONTRACTION from 1 to 1e-16, and a few
AT_ROUNDING = 20.0  # the largest of N residuals at rounding level over their root mean square


class ConstructionReason(Reason):
    """How the construction ended.

    Converged: the residual is at the rounding level of g, and that is below the tolerance.
    """

    CONVERGED = "converged"
    SINGULAR_KERNEL = (
        "singular_kernel",
        "J lacks full row rank, for a reason that can be named, or to rounding",
    )
    ROUNDING = (
        "rounding",
        "an eps so small that Newton converges leaves g too few digits; K is nearly singular",
    )
    OUT_OF_RANGE = (
        "out_of_range",
        "features or gradients leave the range of the type; rescale the data or the weights",
    )


@dataclass(frozen=True, eq=False)
class Construction(Ended):
    """The doubled network, and what supports that it memorizes.

    ``weights``: V_1 .. V_L, None unless it converged.  ``residual``: max_i |g(x_i) - y_i| of those
    weights by a forward pass of their own (without them: of the smallest met, inf if none);
    ``rounding``: the root mean square that rounding leaves in g, to first order.  ``eps`` is the
    one used, ``n_steps`` the steps taken with it and ``n_shrunk`` how often it was made smaller;
    ``distance`` is |delta|.  ``zero``: why K is singular, where that has a name.  ``gram``: K, for
    its eigenvalues; None where it was not formed.
    """

    weights: list[Tensor] | None
    residual: float
    rounding: float
    eps: float
    n_steps: int
    n_shrunk: int
    distance: float
    reason: ConstructionReason
    zero: ZeroReason | None
    gram: Tensor | None


def construct(
    network: Network,
    x: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    *,
    eps: float = 1.0,
    tolerance: float = 1e-6,
) -> Construction:
    """Build the doubled network that maps x (N, d) to y (N,) from ``weights`` (n_{l-1}, n_l).

    ``network``: fully connected and without biases, as the doubling takes them.

    ``eps``: the largest to try.  ``tolerance``: the rounding of g, over the largest |y|, beyond
    which it is no fit.  Costs one Gram and one Cholesky of order N, then N^2 and N p a step;
    memory for two N x N matrices.  Raises ValueError for shapes or settings that do not fit.
    """
    _check(x, y, weights, eps, tolerance)
    if not network.fully_connected or network.bias:
        raise ValueError(
            "only fully connected layers without biases can be doubled; leave both out"
        )
    with torch.no_grad():
        try:
            lin = linearise(network, weights, x)
        except OutOfRangeError:
            return _failed(eps, ConstructionReason.OUT_OF_RANGE)
        zero = rank_report(lin).zero
        if zero is not None:
            return _failed(eps, ConstructionReason.SINGULAR_KERNEL, zero)
        matrix = gram(lin)
        factor = Cholesky.of(matrix)
        if factor is None:
            return _failed(eps, ConstructionReason.SINGULAR_KERNEL, gram=matrix)
        return _search(
            _Problem(network, x, y, list(weights), Jacobian.of(lin), factor), matrix, eps, tolerance
        )


@dataclass(frozen=True, eq=False)
class _Problem:
    network: Network
    x: Tensor
    y: Tensor
    weights: list[Tensor]
    jacobian: Jacobian
    factor: Factorisation

    def outputs(self, weights: Sequence[Tensor]) -> Tensor:
        network = Network.of(weights, self.network.activation)  # of twice the widths, once built
        return forward(network, weights, self.x)[0][-1].squeeze(-1)

    def rounding(self, eps: float) -> float:
        """Of both copies, at the initial weights: delta is small beside them."""
        state = State(self.network, self.weights, self.x, self.y)
        return math.sqrt(2.0 * state.rounding_level()) / eps


@dataclass(frozen=True, eq=False)
class _Attempt:
    """Newton with one eps; ``residual`` is the largest entry of y - g."""

    delta: list[Tensor]
    residual: float
    n_steps: int
    contracts: bool


def _search(problem: _Problem, matrix: Tensor, eps: float, tolerance: float) -> Construction:
    """Newton with eps, eps / 16, ... until it converges or rounding hides g."""
    allowed = tolerance * max(float(problem.y.abs().max()), torch.finfo(problem.y.dtype).tiny)
    least, shrunk = math.inf, 0
    while True:
        rounding = problem.rounding(eps)
        if not rounding <= allowed:
            return Construction(
                None, least, rounding, eps, 0, shrunk, math.nan, ConstructionReason.ROUNDING, None,
                matrix,
            )  # fmt: skip
        attempt = _newton(problem, eps, AT_ROUNDING * rounding)
        least = min(least, attempt.residual)
        if attempt.contracts:
            built = doubled(problem.weights, attempt.delta, eps)
            # The network as it stands, in place of the difference that it was built from.
            residual = float((problem.outputs(built) - problem.y).abs().max())
            return Construction(
                built, residual, rounding, eps, attempt.n_steps, shrunk, norm(attempt.delta),
                ConstructionReason.CONVERGED, None, matrix,
            )  # fmt: skip
        eps, shrunk = eps * SHRINK, shrunk + 1


def _newton(problem: _Problem, eps: float, floor: float) -> _Attempt:
    """Simplified Newton until the residual no longer halves: at ``floor`` or below it converged."""
    start = problem.outputs(problem.weights)
    delta = [torch.zeros_like(w) for w in problem.weights]
    left, size = problem.y, float(problem.y.abs().max())
    for step in range(1, MAX_STEPS + 1):
        pulled = problem.jacobian.split(problem.jacobian.rmv(problem.factor.solve(left)))
        trial = [d + eps * j for d, j in zip(delta, pulled, strict=True)]
        moved = [w + d for w, d in zip(problem.weights, trial, strict=True)]
        left_then = problem.y - (problem.outputs(moved) - start) / eps
        residual = float(left_then.abs().max())
        if not residual <= CONTRACTION * size:  # NaN too
            better = residual < size
            return _Attempt(
                trial if better else delta, min(residual, size), step - (not better), size <= floor
            )
        delta, left, size = trial, left_then, residual
        if size == 0.0:
            break
    return _Attempt(delta, size, step, size <= floor)


def doubled(weights: Sequence[Tensor], delta: Sequence[Tensor], eps: float) -> list[Tensor]:
    """V_1 .. V_L of the network that computes (f(x; W + delta) - f(x; W)) / eps."""
    moved = [w + d for w, d in zip(weights, delta, strict=True)]
    if len(moved) == 1:  # no hidden layer to double: the difference itself
        return [(moved[0] - weights[0]) / eps]
    found = [torch.cat([moved[0], weights[0]], 1)]
    found += [torch.block_diag(a, b) for a, b in zip(moved[1:-1], weights[1:-1], strict=True)]
    return [*found, torch.cat([moved[-1], -weights[-1]], 0) / eps]


def _failed(
    eps: float,
    reason: ConstructionReason,
    zero: ZeroReason | None = None,
    gram: Tensor | None = None,
) -> Construction:
    return Construction(None, math.inf, math.nan, eps, 0, 0, math.nan, reason, zero, gram)


def _check(x: Tensor, y: Tensor, weights: Sequence[Tensor], eps: float, tolerance: float) -> None:
    if x.ndim != 2 or 0 in x.shape or tuple(y.shape) != (len(x),):
        raise ValueError(
            "expected x of shape (N, d) and y of shape (N,), none of them empty, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    if not all(bool(t.isfinite().all()) for t in (x, y, *weights)):
        raise ValueError("expected finite x, y and weights, got NaN or inf; check the data")
    for name, value in (("eps", eps), ("tolerance", tolerance)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
