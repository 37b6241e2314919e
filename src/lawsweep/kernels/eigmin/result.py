"""What is reported of lambda_min, and how it is judged: bounds, verdict, reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.base.rounding import gamma
from lawsweep.kernels.linalg.certificate import cholesky_margin

# How wide, relative to the value, what is known of lambda_min may be for the value to be used.  The
# bounds are worst cases, some N times what rounding does, so within them lies little beside noise;
# a percent is far below the scatter of lambda_min over draws.
RESOLUTION = 1e-2


class EigenReason(Reason):
    """Why a computation of lambda_min ended as it did."""

    CONVERGED = "converged"
    MAX_ITERATIONS = (
        "max_iterations",
        "Lanczos met its iteration limit; raise max_iterations or take solver=dense",
    )
    LARGE_RESIDUAL = (
        "large_residual",
        "the residual exceeds its rounding level; take solver=dense or float64",
    )
    NOT_SMALLEST = (
        "not_smallest",
        "Lanczos missed a smaller eigenvalue; take another start vector or solver=dense",
    )
    NUMERICALLY_SINGULAR = (
        "numerically_singular",
        "lambda_min lies at the rounding level of the matrix: neither value nor sign is known",
    )
    UNRESOLVED = (
        "unresolved",
        "rounding leaves more than a hundredth of lambda_min open: trust the bounds, not the value",
    )
    MAX_MATVECS = (
        "max_matvecs",
        "Davidson met its limit of products; raise max_matvecs or max_basis",
    )
    ROUNDING = (
        "rounding",
        "the residual is at the rounding level of K v; take float64, or a larger tol",
    )
    STARTS_DISAGREE = (
        "starts_disagree",
        "two random starts came to different eigenvalues; take a smaller tol",
    )


def resolved(value: float, spread: float) -> bool:
    """Whether ``spread``, the width of what is known of an eigenvalue, is little beside it."""
    return spread <= RESOLUTION * abs(value)


@dataclass(frozen=True)
class MinEigenvalue(Ended):
    """lambda_min of K and what supports it.

    ``lower <= lambda_min(K) <= upper`` always, with ``lower`` = -inf where nothing was proved;
    ``certified``: both are, and tight: upper - lower <= RESOLUTION |value|, a hundredth.
    ``value`` is the Rayleigh quotient (or a dense solver's value), ``residual`` the norm
    ||K v - value v|| with |v| = 1, ``n_iterations`` the Lanczos steps (0 for a dense solve),
    ``solver`` what actually ran.  ``sign_trusted``: lower > 0.  ``converged`` is False
    whenever ``value`` should not be used as lambda_min, among others where the bracket is wider
    than that hundredth (without a proof: the one a proof would leave); ``reason`` says why.
    """

    value: float
    residual: float
    lower: float
    upper: float
    certified: bool
    lambda_max: float
    lambda_max_residual: float
    n_iterations: int
    solver: str
    converged: bool
    reason: Reason

    @property
    def sign_trusted(self) -> bool:
        """Whether lambda_min(K) > 0 is proved."""
        return self.lower > 0.0

    @property
    def condition_number(self) -> float | None:
        """lambda_max / lambda_min, None where lambda_min is not positive."""
        return self.lambda_max / self.value if self.value > 0.0 else None

    def given_error(self, error: float) -> MinEigenvalue:
        """The verdict on the matrix that was meant, ``error`` away from K in spectral norm.

        The bounds stay those of K; a value or a bracket that the error leaves open is none.
        """
        # Where no proof was asked for the bracket is none, and the value was judged without it.
        spread = 2.0 * error + (self.upper - self.lower if self.certified else 0.0)
        known, reason = resolved(self.value, spread), self.reason
        if self.converged and not known:
            reason = EigenReason.UNRESOLVED
        return replace(
            self,
            certified=self.certified and known,
            converged=reason is EigenReason.CONVERGED,
            reason=reason,
        )


@dataclass(frozen=True)
class Facts:
    """What the verdict reads off a matrix K (N, N): ||K||_F, tr K and max |K_ii|."""

    n: int
    dtype: torch.dtype
    norm: float
    trace: float
    peak: float

    @classmethod
    def of(cls, matrix: Tensor, norm: float) -> Facts:
        """The facts of one matrix whose norm is known."""
        diagonal = matrix.diagonal()
        trace, peak = float(diagonal.sum()), float(diagonal.abs().amax())
        return cls(len(matrix), matrix.dtype, norm, trace, peak)

    def room(self, value: float, doubt: float) -> float:
        """How far below ``value`` the shift tau goes, for the factorisation to complete.

        It does for certain where lambda_min(A) = lambda_min - tau > margin(tr A), A = K - tau I
        (the theorem of the certificate, read the other way).  To first order tr A is
        sum(K_ii - lambda_min) >= 0, whatever the sign of K.  Beside it: ``doubt``, how far the
        value may lie above lambda_min; and some ulps of the numbers that tau is subtracted from,
        without which -I or 0 I would leave A = 0.
        """
        spread = max(self.trace - self.n * value, 0.0)
        info = torch.finfo(self.dtype)
        ulps = 4.0 * info.eps * max(self.peak, abs(value)) + info.tiny
        return cholesky_margin(self.n, spread, self.dtype) + doubt + float(ulps)

    def level(self, value: float, top: float, tol: float) -> float:
        """The residual that a pair should have: ``tol``, and what rounding in K v leaves."""
        eps = float(torch.finfo(self.dtype).eps)
        level: float = tol * abs(value) + math.sqrt(self.n) * eps * abs(top)
        return level


@dataclass(frozen=True)
class Pair:
    """The eigenvalues a solver found, before they are judged; ``lower`` where one is proved.

    ``quotient``: whether ``value`` is the Rayleigh quotient of a vector.  ``finds_all``: the solver
    misses no eigenvalue, so a bound that was not proved is open and nothing worse.
    """

    solver: str
    value: float
    residual: float
    top: float
    top_residual: float
    n_iterations: int
    reason: Reason
    lower: float | None
    quotient: bool = True
    finds_all: bool = False


def judge(facts: Facts, pair: Pair, certify: bool) -> MinEigenvalue:
    """The bounds, and the verdict they allow."""
    # The computed quotient differs from v^T K v by at most gamma_{2N+4} |v|^T |K| |v|, and
    # || |K| || <= ||K||_F; a dense value is within its residual of its vector's quotient.
    upper = pair.value + (0.0 if pair.quotient else pair.residual)
    upper += gamma(2 * facts.n + 4, facts.dtype) * facts.norm
    # No entry exceeds this: K - lambda_min I is positive semidefinite, so its entries lie below
    # its largest diagonal one.
    largest = facts.peak + max(0.0, -pair.value)
    # Entries rounded to eps |K_ij|, independently, move eigenvalues by about sqrt(N) eps max K_ij
    # (the norm of a random matrix): nothing below a few times that is known about lambda_min.
    noise = 8.0 * math.sqrt(facts.n) * float(torch.finfo(facts.dtype).eps) * largest
    reason = pair.reason
    if reason is EigenReason.CONVERGED and abs(pair.value) <= max(noise, 2.0 * pair.residual):
        reason = EigenReason.NUMERICALLY_SINGULAR
    if reason is EigenReason.CONVERGED and pair.lower is None and not pair.finds_all:
        reason = EigenReason.NOT_SMALLEST
    spread = math.inf if pair.lower is None else upper - pair.lower
    certified = certify and resolved(pair.value, spread)
    if not certify:
        # What a proof would leave: it was not asked for, so it cannot be asked of the value.
        margin = cholesky_margin(facts.n, facts.trace - facts.n * pair.value, facts.dtype)
        spread = upper - pair.value + facts.room(pair.value, pair.residual) + margin
    if reason is EigenReason.CONVERGED and not resolved(pair.value, spread):
        reason = EigenReason.UNRESOLVED
    return MinEigenvalue(
        value=pair.value,
        residual=pair.residual,
        lower=-math.inf if pair.lower is None else pair.lower,
        upper=upper,
        certified=certified,
        lambda_max=pair.top,
        lambda_max_residual=pair.top_residual,
        n_iterations=pair.n_iterations,
        solver=pair.solver,
        converged=reason is EigenReason.CONVERGED,
        reason=reason,
    )


def scaled_back(found: MinEigenvalue, scale: float) -> MinEigenvalue:
    """The result for s K; a bound that leaves the range is rounded outwards."""
    if scale == 1.0:
        return found
    lower, upper = found.lower * scale, found.upper * scale
    return replace(
        found,
        value=found.value * scale,
        residual=found.residual * scale,
        lower=lower if lower / scale == found.lower else math.nextafter(lower, -math.inf),
        upper=upper if upper / scale == found.upper else math.nextafter(upper, math.inf),
        lambda_max=found.lambda_max * scale,
        lambda_max_residual=found.lambda_max_residual * scale,
    )
