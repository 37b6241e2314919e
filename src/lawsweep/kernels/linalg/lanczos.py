"""Lanczos for the largest eigenvalue of a symmetric operator, with full reorthogonalisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# The Ritz values are looked at every step at first (an isolated eigenvalue is found in a few),
# then at every fourth: a look costs m^3 of a small m.
CHECK_ALL, CHECK_EVERY = 8, 4
# How many times the error that ``allowed`` permits the two estimates of it may be: the one that
# rests on the residual alone is cautious by a factor of 10 to 20 (NTKs, Wishart matrices, spaced
# spectra); the one that the rise of theta has calibrated was right within a factor of 2 on the
# same, and is trusted no further than the first lets it.
CAUTIOUS, CALIBRATED, TRUSTED = 2.0, 0.5, 40.0
LOOKBACK = 2  # looks


@dataclass(frozen=True, eq=False)
class Ritz:
    """The largest Ritz pair: ``vector`` (N,) of unit norm, and its residual estimate.

    ``basis`` (n_iterations, N): the orthonormal vectors whose span it was found in.
    """

    value: float
    vector: Tensor
    estimate: float
    n_iterations: int
    converged: bool
    basis: Tensor


def lanczos_largest(
    apply: Callable[[Tensor], Tensor],
    start: Tensor,
    tol: float,
    max_iterations: int,
    allowed: Callable[[float], float] | None = None,
    *,
    count: int = 1,
    image: Tensor | None = None,
) -> Ritz:
    """Largest eigenvalue of the symmetric operator ``apply`` on R^N, from ``start`` (N,).

    Stops when |beta_m s_m|, which in exact arithmetic is the residual ||A y - theta y||, is at
    most ``tol`` |theta|; the eigenvalue's error is of that squared over the gap.  With ``allowed``
    it also stops where the error of theta is estimated at ``allowed(theta)`` or less: by that
    estimate, the gap taken between the two largest Ritz values, or by what theta still rose.  With
    ``count`` each of the so many largest pairs must meet ``tol``.  ``image``: ``apply(start)``,
    where it is known and ``start`` of unit norm.  An invariant subspace ends the iteration with
    the exact answer on that subspace.
    The basis is kept and every new vector is orthogonalised against it twice, which keeps the
    Ritz values free of copies (Parlett, "The symmetric eigenvalue problem", section 13.8): 8 N m
    flops a step.
    """
    n = start.shape[0]
    limit = min(max_iterations, n)
    basis = start.new_empty((limit, n))
    alphas: list[float] = []
    betas: list[float] = []
    looks: list[tuple[float, float]] = []
    q = start / start.norm()
    for m in range(1, limit + 1):
        basis[m - 1] = q
        w = image if m == 1 and image is not None else apply(q)
        alpha, active = w @ q, basis[:m]
        for _ in range(2):
            w = w - (active @ w) @ active
        length = w.norm()
        # One answer of the device a step.
        diagonal, beta = torch.stack([alpha, length]).tolist()
        alphas.append(diagonal)
        largest = max(abs(a) for a in alphas)
        invariant = beta <= torch.finfo(start.dtype).eps * largest
        if invariant or m == limit or m <= CHECK_ALL or m % CHECK_EVERY == 0:
            thetas, vectors = _ritz(alphas, betas)
            theta, s = float(thetas[-1]), vectors[:, -1]
            last = 0.0 if invariant or m == n else beta
            estimate = last * abs(float(s[-1]))
            errors = last * vectors[-1, -count:].abs()
            done = m >= min(count, n) or invariant
            done = done and bool((errors <= tol * thetas[-count:].abs()).all())
            looks.append((theta, estimate**2))
            if allowed is not None and m > 1:
                done = done or _settled(looks, float(thetas[-1] - thetas[-2]), allowed(theta))
            # A NaN ends it as well: nothing after it would be a number.
            if done or m == limit or math.isnan(estimate):
                break
        betas.append(beta)
        q = w / length
    coefficients = s.to(device=start.device, dtype=start.dtype)
    vector = coefficients @ active
    return Ritz(theta, vector / vector.norm(), estimate, m, done, active)


def _settled(looks: list[tuple[float, float]], gap: float, allowed: float) -> bool:
    """Whether the last of ``looks`` (theta, squared residual) is right to ``allowed``.

    theta's error falls as the squared residual does, so by what theta rose between two looks it is
    known how many times the one the other is.
    """
    theta, square = looks[-1]
    if square <= CAUTIOUS * allowed * gap:
        return True
    if len(looks) <= LOOKBACK or square > TRUSTED * allowed * gap:
        return False
    before, larger = looks[-1 - LOOKBACK]
    if larger < 4.0 * square:
        return False
    return (theta - before) * square / (larger - square) <= CALIBRATED * allowed


def _ritz(alphas: list[float], betas: list[float]) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of the tridiagonal matrix; NaN for NaN.

    In float64 whatever the operator's dtype, and by torch: numpy's library starts threads of
    its own for a matrix of order 50, which then compete with torch's.
    """
    diagonal, beside = (torch.tensor(c, dtype=torch.float64) for c in (alphas, betas))
    tridiagonal = torch.diag(diagonal) + torch.diag(beside, -1)  # eigh reads the lower half
    if not bool(torch.isfinite(tridiagonal).all()):
        return torch.full_like(diagonal, math.nan), torch.full_like(tridiagonal, math.nan)
    values, vectors = torch.linalg.eigh(tridiagonal)
    return values, vectors
