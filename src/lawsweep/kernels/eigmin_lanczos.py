"""Lanczos for the largest eigenvalue of a symmetric operator, with full reorthogonalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CHECK_EVERY = 4  # steps between two looks at the Ritz values; a look costs m^3 of a small m


@dataclass(frozen=True, eq=False)
class Ritz:
    """The largest Ritz pair: ``vector`` (N,) of unit norm, and its residual estimate."""

    value: float
    vector: Tensor
    estimate: float
    n_iterations: int
    converged: bool


def lanczos_largest(
    apply: Callable[[Tensor], Tensor], start: Tensor, tol: float, max_iterations: int
) -> Ritz:
    """Largest eigenvalue of the symmetric operator ``apply`` on R^N, from ``start`` (N,).

    Stops when |beta_m s_m|, which in exact arithmetic is the residual ||A y - theta y||, is at
    most ``tol`` |theta|; the eigenvalue's error is of that squared over the gap.  An invariant
    subspace ends the iteration with the exact answer on that subspace.  The basis is kept and
    every new vector is orthogonalised against it twice, which keeps the Ritz values free of
    copies (Parlett, "The symmetric eigenvalue problem", section 13.8): 8 N m flops a step.
    """
    n = start.shape[0]
    limit = min(max_iterations, n)
    basis = start.new_empty((limit, n))
    alphas: list[float] = []
    betas: list[float] = []
    q = start / start.norm()
    for m in range(1, limit + 1):
        basis[m - 1] = q
        w = apply(q)
        alphas.append(float(w @ q))
        active = basis[:m]
        for _ in range(2):
            w = w - (active @ w) @ active
        beta = float(w.norm())
        largest = max(abs(a) for a in alphas)
        invariant = beta <= torch.finfo(start.dtype).eps * largest
        if invariant or m == limit or m % CHECK_EVERY == 0:
            theta, s = _top_ritz(alphas, betas)
            estimate = 0.0 if invariant or m == n else beta * abs(float(s[-1]))
            if estimate <= tol * abs(theta) or m == limit:
                break
        betas.append(beta)
        q = w / beta
    coefficients = torch.from_numpy(s).to(device=start.device, dtype=start.dtype)
    vector = coefficients @ active
    done = estimate <= tol * abs(theta)
    return Ritz(theta, vector / vector.norm(), estimate, m, done)


def _top_ritz(alphas: list[float], betas: list[float]) -> tuple[float, np.ndarray]:
    """Largest eigenpair of the tridiagonal matrix, in float64 whatever the operator's dtype."""
    tridiagonal = np.diag(alphas) + np.diag(betas, 1) + np.diag(betas, -1)
    values, vectors = np.linalg.eigh(tridiagonal)
    return float(values[-1]), np.ascontiguousarray(vectors[:, -1])
