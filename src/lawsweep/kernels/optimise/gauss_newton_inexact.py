"""Inexact Gauss-Newton steps: (K + mu I) u = r solved as closely as it matters.

A step far from the solution need not solve its linear system to rounding: the network's own
curvature spoils more than that.  So the system (``gauss_newton``) is solved until

    |r - (K + mu I) u| <= eta |r|,

with eta, the forcing term, chosen by the caller (S. C. Eisenstat, H. F. Walker, "Choosing the
forcing terms in an inexact Newton method", SIAM J. Sci. Comput. 17, 1996).

The iteration (``gauss_newton_cg``) runs in float32: its vectors only have to be right to eta.  Then
the residual is formed in the state's own type and, if it is too large, solved for again (iterative
refinement).  A step is only ever taken on the evidence of that residual.  The cheap preconditioner
comes first; where it would take longer than a float32 factor, the factor, which later steps use
again; and where that breaks down or does not get there either, a Cholesky in the state's own type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.answers import plus
from lawsweep.kernels.linalg.cholesky import Cholesky
from lawsweep.kernels.linalg.operator import Factorisation
from lawsweep.kernels.linalg.woodbury import DiagonalAndLowRank
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.optimise.gauss_newton import (
    GramSystem,
    State,
    Step,
    System,
    facts_of,
    promised,
    system_of,
)
from lawsweep.kernels.optimise.gauss_newton_cg import (
    Iterate,
    conjugate_gradients,
    needed,
    principal_directions,
)

FAST = torch.float32
# Flops done while the calls of one iteration are made, and those of making the preconditioner.
CALLS, SETUP_CALLS = 1e7, 5e7
EIGH = 30.0  # flops of an eigendecomposition of order n, over n^3, at their lower rate
LEAST_BUDGET = 16  # iterations for the price of a factor, below which an exact solve is the choice
FLOOR = 1e-3  # relative residual asked of one pass in float32
SAFETY = 0.7  # share of eta asked of the residual that the iteration itself carries along
PASSES = 12  # times that the residual is formed in the state's own type
REFINES = 0.5  # a pass has to lower it at least so
# A forcing term so small tells of a last step so good that K has changed little since: then a
# factor made at earlier weights serves.
SETTLED = 0.02


@dataclass(eq=False)
class Experience:
    """What the solves of one run have taught, and what they left for the next.

    ``n_products`` counts products with K, ``n_factorised`` Cholesky factors made to
    precondition.  ``rate``: natural logarithm by which an iteration with the cheap preconditioner
    lowered the residual, the last time, at ``damping``.  ``factor``: the last one made.
    """

    n_products: int = 0
    n_factorised: int = 0
    rate: float = math.inf
    damping: float = 0.0
    factor: Cholesky | None = None


class IterativeSystem(System):
    """(K + mu I) u = r for p >= N, to a relative residual ``eta``; by a factor where that fails.

    ``most``: iterations of conjugate gradients, of one pass, for the price of a factor.
    """

    eta: float

    def __init__(self, state: State, eta: float, experience: Experience) -> None:
        lin = state.lin
        assert lin is not None
        self.state, self.eta, self.experience = state, eta, experience
        self._lin, self._jacobian = lin, state.jacobian
        self._diagonal = torch.stack([f.squares() for f in lin.layers]).sum(0)
        super().__init__(facts_of(self._diagonal, self._jacobian.rmv(state.residual)))
        self.most = max(1, budget(state))
        self._fast: Jacobian | None = None
        self._dense: GramSystem | None = None

    def send(self, damping: float) -> Step | None:
        """The step for mu = ``damping`` times the mean diagonal; None where no way succeeds."""
        step = self._iterate(damping) if self._dense is None else None
        return self.solve_exactly(damping) if step is None else step

    def solve_exactly(self, damping: float) -> Step | None:
        """The same by a Cholesky factor in the state's type."""
        self.experience.factor = None  # its memory is wanted
        if self._dense is None:
            self._dense = GramSystem(self.state)
        return self._dense.solve(damping)

    def _iterate(self, damping: float) -> Step | None:
        """Passes in float32 until the residual is small; None where they do not get there."""
        mu, r = damping * self.facts[0], self.state.residual
        size = length = r.norm()
        left, u, before, tolerance = r, torch.zeros_like(r), None, SAFETY * self.eta
        for precondition in self._preconditioners(damping, mu):
            for _ in range(PASSES):
                found = self._pass(precondition, damping, left / length, tolerance)
                u = plus(u, found.solution.to(u.dtype), length)
                pulled = self._jacobian.rmv(u)
                image = self._jacobian.mv(pulled)
                left = plus(r - image, u, -mu)
                length = left.norm()
                # One answer of the device a pass; the first brings the facts along.
                asked = torch.stack([length, promised(r, image), size]).to(torch.float64)
                now, promise, whole, *facts = torch.cat([asked, self.facts]).tolist()
                self.learn(facts)
                goal = self.eta * whole
                if now <= goal:
                    return Step(self._jacobian.split(pulled.neg_()), promise, now / whole)
                if not math.isfinite(now):
                    return None
                lowered = now <= REFINES * (whole if before is None else before)
                before, tolerance = now, SAFETY * goal / now
                if not (found.converged and lowered):
                    break
        return None

    def _pass(
        self, precondition: Factorisation, damping: float, right: Tensor, tolerance: float
    ) -> Iterate:
        """Conjugate gradients in float32, and what they teach."""
        kernel, mu = self.fast_jacobian().kernel(), damping * self.facts[0]

        def apply(v: Tensor) -> Tensor:
            return plus(kernel.mv(v), v, mu)

        found = conjugate_gradients(
            apply, precondition, right.to(FAST), max(tolerance, FLOOR), self.most
        )
        known = self.experience
        known.n_products += found.n_iterations + 1
        if isinstance(precondition, DiagonalAndLowRank):
            known.rate, known.damping = found.rate, damping
        return found

    def _preconditioners(self, damping: float, mu: Tensor) -> Iterator[Factorisation]:
        """The cheapest first."""
        known, jacobian = self.experience, self.fast_jacobian()
        if known.factor is not None and self.eta <= SETTLED:
            yield known.factor
        elif damping > known.damping or needed(known.rate, self.eta) <= self.most:
            found = principal_directions(jacobian, rank(self.state), self._diagonal.to(FAST), mu)
            if found is not None:
                yield found
        known.factor = None  # before there is another
        known.n_factorised += 1
        matrix = jacobian.kernel().dense()
        known.factor = Cholesky.of(matrix, shift=damping * self.scale, work=matrix)
        if known.factor is not None:
            yield known.factor

    def fast_jacobian(self) -> Jacobian:
        """J in float32, made once."""
        if self._fast is None:
            self._fast = Jacobian.of(self._lin.map(lambda t: t.to(FAST)))
        return self._fast


def rank(state: State) -> int:
    """Columns of the preconditioner: A^T A then costs what three products with K do."""
    return max(1, min(math.isqrt(6 * state.n_params), len(state.residual) // 4))


def budget(state: State) -> int:
    """Iterations whose flops are those of the Gram and its factor, less the preconditioner's."""
    n, p, r = len(state.residual), state.n_params, rank(state)
    columns = sum(sum(w.shape) for w in state.weights)
    bases = EIGH * sum(a**3 + b**3 for a, b in (w.shape for w in state.weights))
    dense = n * n * columns + n**3 / 3
    return int((dense - SETUP_CALLS - bases - 2 * n * r**2) / (4 * n * (p + r) + CALLS))


def system_for(state: State, eta: float | None, experience: Experience) -> System:
    """The cheapest system that gives a step to ``eta``; None: an exact one."""
    iterative = eta is not None and state.n_params >= len(state.residual)
    if iterative and budget(state) >= LEAST_BUDGET:
        assert eta is not None
        return IterativeSystem(state, eta, experience)
    experience.factor = None  # its memory is wanted
    return system_of(state)
