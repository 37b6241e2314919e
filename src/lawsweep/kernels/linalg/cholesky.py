"""Cholesky factorisation in place, the triangular solves that use it, and what it proves.

On the CPU the factorisation recurses on halves, so that nearly all of its N^3 / 3 operations are
large matrix products (at N = 6000 it runs at 0.83 of a product's rate where LAPACK's runs at 0.67),
and it touches nothing but the lower triangle; several threads each take rows of a panel, or blocks
of the square below it, of their own.  Elsewhere the device's own routine is called.

The theorem.  If the floating-point Cholesky of A completes, then L L^T = A + E with
||E|| <= g tr(L L^T) <= g / (1 - g) tr A, g = gamma_{N+1} = (N+1) u / (1 - (N+1) u), hence
lambda_min(A) >= -g / (1 - g) tr A  (Rump, "Verification of positive definiteness", BIT 2006,
section 2; Higham, "Accuracy and stability", theorem 10.3).  It holds in whatever order the inner
products are summed, so for every blocking, this one included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor

from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.base.crew import Crew
from lawsweep.kernels.base.rounding import gamma

Parts = tuple[Tensor, Tensor, Tensor]


def load(
    matrix: Tensor,
    out: Tensor,
    *,
    shift: float = 0.0,
    direction: Tensor | None = None,
    weight: float = 0.0,
    scale: float = 1.0,
) -> None:
    """Lower triangle of scale (K - weight d d^T) - shift I into ``out`` (N, N), row-major.

    Computed in K's precision and rounded once to ``out``'s; what lies above the diagonal is not
    read by ``factorise`` and is left as it comes.
    """
    n = len(matrix)
    step = devices.CHOLESKY_BLOCK if matrix.device.type == "cpu" else n
    plain = direction is None and scale == 1.0
    # Rows that stay in cache between the arithmetic and the copy.
    strip = None if plain else matrix.new_empty((min(step, n), n))
    for begin in range(0, n, step):
        end = min(begin + step, n)
        source = matrix[begin:end, :end]
        if strip is not None:
            part = strip[: end - begin, :end]
            if direction is None:
                torch.mul(source, scale, out=part)
            else:
                rows, cols = direction[begin:end], direction[:end]
                torch.addr(source, rows, cols, beta=scale, alpha=-weight * scale, out=part)
            source = part
        out[begin:end, :end].copy_(source)
    if shift:
        out.diagonal().sub_(shift)


def factorise(a: Tensor, block: int | None = None) -> bool:
    """Cholesky of the matrix whose lower triangle is in ``a`` (N, N), in place.

    ``a`` is row-major, a view with longer rows will do.  Returns False, with ``a`` half
    overwritten, where a pivot is not positive (or not a number).  ``block``: the order that is
    left to LAPACK, default ``devices.CHOLESKY_BLOCK``.
    """
    block = devices.CHOLESKY_BLOCK if block is None else block
    if len(a) <= block or a.device.type != "cpu":
        return _factorise_whole(a)
    with Crew() as crew:
        return _factorise_halves(a, block, crew)


def _factorise_halves(a: Tensor, block: int, crew: Crew) -> bool:
    n = len(a)
    if n <= block:
        return _factorise_whole(a)
    h = _half(n)
    first, below, second = a[:h, :h], a[h:, :h], a[h:, h:]
    if not _factorise_halves(first, block, crew):
        return False
    _solve_rows(first, below, block, crew if n > devices.CHOLESKY_ALONE else None)
    _subtract_square(second, below, block, crew if n > devices.CHOLESKY_ALONE else None)
    return _factorise_halves(second, block, crew)


def _factorise_whole(a: Tensor) -> bool:
    """The library's routine, without a second N^2: the lower half by rows is the upper by columns.

    A matrix by columns is how LAPACK and cuSOLVER hold one, so torch hands them ``a`` itself.
    """
    info = torch.empty((), dtype=torch.int32, device=a.device)
    torch.linalg.cholesky_ex(a.mT, upper=True, out=(a.mT, info))
    return int(info) == 0


def solve(factor: Tensor, v: Tensor) -> Tensor:
    """(L L^T)^{-1} v for v (N,) or (N, k), by two triangular solves in the factor's precision."""
    columns = v.unsqueeze(1) if v.ndim == 1 else v
    columns = columns.to(factor.dtype)
    columns = torch.linalg.solve_triangular(factor, columns, upper=False)
    columns = torch.linalg.solve_triangular(factor.mT, columns, upper=True).to(v.dtype)
    return columns.squeeze(1) if v.ndim == 1 else columns


@dataclass(frozen=True, eq=False)
class Cholesky:
    """A + shift I = L L^T, as a ``Factorisation``; ``factor`` holds L in its lower triangle."""

    factor: Tensor

    @classmethod
    def of(cls, matrix: Tensor, *, shift: float = 0.0, work: Tensor | None = None) -> Self | None:
        """Of ``matrix`` (N, N), left as it is; None where it is not positive definite to rounding.

        ``work`` (N, N), row-major, holds the factor then, in its own type; None: new memory.
        """
        work = workspace.empty(matrix, tuple(matrix.shape)) if work is None else work
        load(matrix, work, shift=-shift)
        return cls(work) if factorise(work) else None

    def solve(self, v: Tensor) -> Tensor:
        """(A + shift I)^{-1} v for v (N,) or rows (b, N), in the factor's precision."""
        return solve(self.factor, v) if v.ndim == 1 else solve(self.factor, v.mT).mT


def cholesky_margin(n: int, trace: float, dtype: torch.dtype) -> float:
    """g / (1 - g) * trace: how negative lambda_min may be though the Cholesky completes."""
    g = gamma(n + 1, dtype)
    return g / (1.0 - g) * trace if g < 1.0 else math.inf


def prove_above(matrix: Tensor, tau: float, work: Tensor) -> float | None:
    """A proved lower bound on lambda_min(K), just below ``tau``, or None where it fails.

    ``work`` (N, N), row-major and of K's type, holds the factor of K - tau I afterwards.
    """
    # The arithmetic is K's: a tau between its numbers would be rounded behind our back.
    tau = float(torch.tensor(tau, dtype=matrix.dtype))
    load(matrix, work, shift=tau)
    if not factorise(work):
        return None
    return bounds_proved(matrix.diagonal().unsqueeze(0), [tau])[0]


def bounds_proved(diagonals: Tensor, taus: Sequence[float]) -> list[float]:
    """Lower bounds on lambda_min once the Cholesky of each K - tau I completed.

    ``diagonals`` (B, N) are those of the matrices, ``taus`` numbers of their type.
    """
    n, dtype = diagonals.shape[-1], diagonals.dtype
    rest = diagonals - torch.tensor(taus, dtype=dtype, device=diagonals.device).unsqueeze(-1)
    # Forming that diagonal rounds each entry once: at most u |K_ii - tau|.
    roundings = (torch.finfo(dtype).eps * rest.abs().amax(-1)).tolist()
    margins = [cholesky_margin(n, trace, dtype) for trace in rest.sum(-1).tolist()]
    return [t - m - r for t, m, r in zip(taus, margins, roundings, strict=True)]


def _half(n: int) -> int:
    """About n / 2, a multiple of the grain where n is large enough for that to leave two parts."""
    half = -(-n // 2)
    rounded = -(-half // devices.CHOLESKY_GRAIN) * devices.CHOLESKY_GRAIN
    return rounded if rounded < n else half


def _solve_rows(factor: Tensor, panel: Tensor, block: int, crew: Crew | None) -> None:
    """``_solve_panel``, whose rows do not need each other."""
    if crew is None:
        _solve_panel(factor, panel, block)
    else:
        parts = panel.split(_rows(len(panel), crew))
        crew.run(partial(_solve_panel, factor, part, block) for part in parts)


def _solve_panel(factor: Tensor, panel: Tensor, block: int) -> None:
    """panel <- panel L^{-T}; substitution, as the theorem wants, never an inverse."""
    n = len(factor)
    if n <= block:
        # B L^{-T} is the transpose of L^{-1} B^T, and B^T is column-major: solved in place.
        torch.linalg.solve_triangular(factor, panel.mT, upper=False, out=panel.mT)
        return
    h = _half(n)
    _solve_panel(factor[:h, :h], panel[:, :h], block)
    panel[:, h:].addmm_(panel[:, :h], factor[h:, :h].mT, alpha=-1.0)
    _solve_panel(factor[h:, h:], panel[:, h:], block)


def _subtract_square(target: Tensor, panel: Tensor, block: int, crew: Crew | None) -> None:
    """Lower triangle of target - panel panel^T; only diagonal blocks compute both halves."""
    rows = len(panel) if crew is None else _rows(len(panel), crew)
    parts = list(_lower_parts(target, panel, block, rows))
    if crew is None:
        for part, left, right in parts:
            part.addmm_(left, right, alpha=-1.0)
        return
    # The largest first, so that the threads end together.
    parts.sort(key=lambda part: -part[0].numel())
    crew.run(partial(part.addmm_, left, right, alpha=-1.0) for part, left, right in parts)


def _lower_parts(target: Tensor, panel: Tensor, block: int, rows: int) -> Iterator[Parts]:
    """(part of the lower triangle, its rows of the panel, its columns of the panel's transpose)."""
    n = len(target)
    if n <= block:
        yield target, panel, panel.mT
        return
    h = _half(n)
    yield from _lower_parts(target[:h, :h], panel[:h], block, rows)
    for part, left in zip(target[h:, :h].split(rows), panel[h:].split(rows), strict=True):
        yield part, left, panel[:h].mT
    yield from _lower_parts(target[h:, h:], panel[h:], block, rows)


def _rows(n: int, crew: Crew) -> int:
    """How many rows a piece of work takes of ``n``: not too many, and as much for each thread."""
    least = max(-(-n // devices.CHOLESKY_ROWS), crew.n_threads)
    pieces = -(-least // crew.n_threads) * crew.n_threads
    return -(-n // (pieces * devices.CHOLESKY_GRAIN)) * devices.CHOLESKY_GRAIN
