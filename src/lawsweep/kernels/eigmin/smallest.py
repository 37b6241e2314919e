"""Smallest eigenvalue of symmetric positive (semi)definite matrices, with its evidence.

One matrix, or many of one order, by the solvers of ``eigmin.solvers`` in turn.

Evidence.  Upper: a Rayleigh quotient theta = v^T K v never lies below lambda_min.  Lower: a
Cholesky of K - tau I that completes (``linalg.cholesky`` has the theorem).  Both bounds speak about
the matrix as it is stored, not about the rounding of what built it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.rounding import gamma
from lawsweep.kernels.eigmin.problem import (
    SAFE_RANGE,
    Problem,
    checked,
    default_tol,
    scaled,
    start_vector,
)
from lawsweep.kernels.eigmin.result import Facts, MinEigenvalue, judge, scaled_back
from lawsweep.kernels.eigmin.solvers import MatrixSolver, chain, first

__all__ = ["MinEigenvalue", "smallest_eigenvalue", "smallest_eigenvalues_batched"]


@full_precision()
def smallest_eigenvalue(
    matrix: Tensor,
    *,
    start: np.random.Generator | Tensor,
    solver: str = "auto",
    tol: float | None = None,
    max_iterations: int = 300,
    certify: bool = True,
) -> MinEigenvalue:
    """lambda_min of the symmetric ``matrix`` (N, N), which is read and never written.

    ``start``: the Lanczos start, a vector (N,) or a generator to draw it from.  ``solver``:
    ``auto``, ``dense``, ``cholesky_lanczos`` (float64 or the matrix's type throughout) or
    ``mixed`` (a float32 factor steers; needs float64 and ``certify``); a solver that meets its
    limits hands over to the next slower one.  ``tol``: relative residual of the pair, default
    1e-10 (float32: 3e-4): some eigenvalue lies so close to the value.  It is lambda_min, and the
    error about tol^2 over the relative gap, unless another lies between ``lower`` and the value:
    of eigenvalues closer than the proof tells apart, the value may be any.  ``certify``: prove a
    tight lower bound; without it ``lower`` is what the factorisation of K proves, or -inf.  Memory
    beside ``matrix``: one N^2 factor; a dense solve takes about 3 N^2; and a copy of a matrix whose
    entries are near the ends of the floating-point range, which is scaled by a power of 2.

    A Cholesky that breaks down (lambda_min at rounding level) is followed by a dense solve; the
    certificate then brackets lambda_min around 0, ``sign_trusted`` is False, and ``converged``
    is False with the reason NUMERICALLY_SINGULAR: that value is rounding noise.

    Raises ValueError for a matrix that is not square, not floating point, not symmetric or not
    finite, and for an unknown solver.
    """
    checked(matrix)
    tries = chain(solver, len(matrix), matrix.dtype, matrix.device, certify)
    one = next(tries)  # a name that is unknown is told before anything is computed
    matrix, norm, scale = scaled(matrix)
    vector, image = start_vector(matrix, norm, start)
    tol = default_tol(matrix.dtype) if tol is None else tol
    facts = Facts.of(matrix, norm)
    problem = Problem(matrix, facts, vector, image, tol, max_iterations, certify)
    pair = one.pair(problem)
    while pair is None:
        pair = next(tries).pair(problem)
    return scaled_back(judge(facts, pair, certify), scale)


@full_precision()
def smallest_eigenvalues_batched(
    matrices: Tensor,
    *,
    starts: Sequence[np.random.Generator | Tensor] | Tensor,
    solver: str = "auto",
    tol: float | None = None,
    max_iterations: int = 300,
    certify: bool = True,
) -> list[MinEigenvalue | ValueError]:
    """``smallest_eigenvalue`` of each of ``matrices`` (B, N, N), in order.

    ``starts``: one start a matrix, or a tensor (B, N) of them; the other arguments are those of
    ``smallest_eigenvalue``, and so are the results: the small orders take the same steps as there,
    the large ones one matrix at a time.  A matrix that is refused (NaN, not symmetric) has its
    ValueError in its place.
    Memory beside ``matrices``: that of one large matrix, or a few stacks of 2 MB.

    Raises ValueError for what is wrong with all of them: shape, type, solver, count of starts.
    """
    if matrices.ndim != 3 or len(starts) != len(matrices):
        raise ValueError(
            f"expected matrices (B, N, N) and B starts, got {tuple(matrices.shape)} "
            f"and {len(starts)}"
        )
    solve = first(solver, matrices.shape[-1], matrices.dtype, matrices.device)
    if not len(matrices):
        return []
    n = checked(matrices[0]).shape[0]
    if isinstance(starts, Tensor) and starts.shape != matrices.shape[:2]:
        raise ValueError(
            f"expected starts of shape {tuple(matrices.shape[:2])}, got {tuple(starts.shape)}"
        )
    options = {"solver": solver, "tol": tol, "max_iterations": max_iterations, "certify": certify}
    size = devices.on(matrices.device).stack
    step = max(1, size // n**2) if solve.batched else 1
    found: list[MinEigenvalue | ValueError] = []
    for begin in range(0, len(matrices), step):
        stack, given = matrices[begin : begin + step], starts[begin : begin + step]
        if step == 1:
            found.append(_solo(stack[0], given[0], options))
        else:
            found += _stack(solve, stack, given, options)
    return found


def _solo(
    matrix: Tensor, start: np.random.Generator | Tensor, options: Mapping[str, Any]
) -> MinEigenvalue | ValueError:
    try:
        return smallest_eigenvalue(matrix, start=start, **options)
    except ValueError as error:
        return error


def _stack(
    solve: MatrixSolver,
    matrices: Tensor,
    starts: Sequence[np.random.Generator | Tensor] | Tensor,
    options: Mapping[str, Any],
) -> list[MinEigenvalue | ValueError]:
    """One stack in one call; a member that needs scaling, or is refused, goes alone."""
    n, dtype = matrices.shape[-1], matrices.dtype
    if isinstance(starts, Tensor):
        vectors: Sequence[Tensor] = list(starts)
        v = starts.to(device=matrices.device, dtype=dtype)
    else:
        # What a generator draws is gone: one vector serves both ways.
        vectors = [
            torch.from_numpy(s.standard_normal(n)) if isinstance(s, np.random.Generator) else s
            for s in starts
        ]
        if any(v.shape != (n,) for v in vectors):
            return [_solo(m, v, options) for m, v in zip(matrices, vectors, strict=True)]
        v = torch.stack([v.to(device=matrices.device, dtype=dtype) for v in vectors])
    v = v / v.abs().amax(-1, keepdim=True)
    v = v / v.norm(dim=-1, keepdim=True)
    norms = torch.linalg.matrix_norm(matrices)
    high = torch.finfo(dtype).max ** SAFE_RANGE
    column = v.unsqueeze(-1)
    lopsided = (matrices @ column - matrices.mT @ column).norm(dim=-2).squeeze(-1)
    # A NaN anywhere, in the start too, is not below any limit.
    plain = (norms >= 1.0 / high) & (norms <= high) & (lopsided <= 2.0 * gamma(n, dtype) * norms)
    good = plain.nonzero().flatten().tolist()
    found: dict[int, MinEigenvalue | ValueError] = {}
    if good:
        chosen = matrices if len(good) == len(matrices) else matrices[good]
        facts = _facts(chosen, norms[good].tolist())
        tol = default_tol(dtype) if options["tol"] is None else options["tol"]
        certify = options["certify"]
        pairs = solve.pairs(chosen, facts, v[good], tol, certify)
        judged = [judge(f, p, certify) for f, p in zip(facts, pairs, strict=True)]
        found = dict(zip(good, judged, strict=True))
    return [
        found[i] if i in found else _solo(matrices[i], vectors[i], options)
        for i in range(len(matrices))
    ]


def _facts(matrices: Tensor, norms: Sequence[float]) -> list[Facts]:
    n, diagonals = matrices.shape[-1], matrices.diagonal(dim1=-2, dim2=-1)
    traces, peaks = diagonals.sum(-1).tolist(), diagonals.abs().amax(-1).tolist()
    return [
        Facts(n, matrices.dtype, norm, trace, peak)
        for norm, trace, peak in zip(norms, traces, peaks, strict=True)
    ]
