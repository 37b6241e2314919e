"""lambda_min of many matrices of one order: each step one call over a stack that fits the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.names import check_name
from lawsweep.kernels.eigmin.checked import SAFE_RANGE, SOLVERS, checked, default_tol, gamma
from lawsweep.kernels.eigmin.dense import dense_pairs
from lawsweep.kernels.eigmin.result import Facts, MinEigenvalue, judge
from lawsweep.kernels.eigmin.smallest import DENSE_BELOW, smallest_eigenvalue

# Numbers of a stack that goes through the steps together: 2 MB of doubles stay in a core's cache.
STACK_CPU, STACK_GPU = 2**18, 2**28


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
    check_name("solver", solver, SOLVERS)
    if not len(matrices):
        return []
    n = checked(matrices[0], solver).shape[0]
    if isinstance(starts, Tensor) and starts.shape != matrices.shape[:2]:
        raise ValueError(
            f"expected starts of shape {tuple(matrices.shape[:2])}, got {tuple(starts.shape)}"
        )
    options = {"solver": solver, "tol": tol, "max_iterations": max_iterations, "certify": certify}
    alone = solver not in ("auto", "dense") or (solver == "auto" and n >= DENSE_BELOW)
    size = STACK_CPU if matrices.device.type == "cpu" else STACK_GPU
    step = 1 if alone else max(1, size // n**2)
    found: list[MinEigenvalue | ValueError] = []
    for begin in range(0, len(matrices), step):
        stack, given = matrices[begin : begin + step], starts[begin : begin + step]
        if step == 1:
            found.append(_solo(stack[0], given[0], options))
        else:
            found += _stack(stack, given, options)
    return found


def _solo(
    matrix: Tensor, start: np.random.Generator | Tensor, options: Mapping[str, Any]
) -> MinEigenvalue | ValueError:
    try:
        return smallest_eigenvalue(matrix, start=start, **options)
    except ValueError as error:
        return error


def _stack(
    matrices: Tensor,
    starts: Sequence[np.random.Generator | Tensor] | Tensor,
    options: Mapping[str, Any],
) -> list[MinEigenvalue | ValueError]:
    """The dense steps on one stack; a member that needs scaling, or is refused, goes alone."""
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
        pairs = dense_pairs(chosen, facts, v[good], tol, certify)
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
