"""Cholesky factorisation in place, and the triangular solves that use it.

It recurses on halves, so that nearly all of its N^3 / 3 operations are large matrix products (on a
CPU at N = 6000 it runs at 0.83 of a product's rate where LAPACK's runs at 0.67), and it touches
nothing but the lower triangle.  On a CPU several threads each take rows of a panel, or blocks of
the square below it, of their own.  What is left at the bottom, a diagonal block and the columns
below it, goes to the library of the device, LAPACK's or cuSOLVER's; a ``Residual`` watches it there
for who wants to prove something by the factor (``certificate``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import Tensor

from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.base.crew import Crew
from lawsweep.kernels.base.rates import Sizes, stated

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
    step = stated("cpu").sizes.cholesky_block if matrix.device.type == "cpu" else n
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


class Residual:
    """What is left of the blocks that a library was given: the sum of their squared residuals.

    For each diagonal block S that came out as L, and each panel S that came out as X, the rows of
    S - L L^T and S - X L^T are computed, in the factor's own type; the squares are added up in
    float64, on the factor's device.  From several threads at once.
    """

    def __init__(self) -> None:
        self._squares: list[Tensor] = []

    def of_block(self, before: Tensor, factor: Tensor) -> None:
        """``before`` S and L, lower triangles with zeros above; S is overwritten."""
        self._add(before.addmm_(factor, factor.mT, alpha=-1.0).tril_())

    def of_panel(self, before: Tensor, panel: Tensor, factor: Tensor) -> None:
        """``before`` S (rows, b), X and L (b, b) with zeros above; S is overwritten."""
        half = -(-len(factor) // 2)  # whose columns need none of the other half's
        before[:, :half].addmm_(panel[:, :half], factor[:half, :half].mT, alpha=-1.0)
        before[:, half:].addmm_(panel, factor[half:].mT, alpha=-1.0)
        self._add(before)

    def _add(self, left: Tensor) -> None:
        self._squares.append(torch.linalg.vector_norm(left, dtype=torch.float64).square())

    def norm(self) -> float:
        """The Frobenius norm of the whole, each block counted on both sides of the diagonal.

        inf where something is no number.
        """
        total = float(torch.stack(self._squares).sum()) if self._squares else 0.0
        return math.sqrt(2.0 * total) if total == total else math.inf


def factorise(a: Tensor, block: int | None = None, *, residual: Residual | None = None) -> bool:
    """Cholesky of the matrix whose lower triangle is in ``a`` (N, N), in place.

    ``a`` is row-major, a view with longer rows will do.  Returns False, with ``a`` half
    overwritten, where a pivot is not positive (or not a number).  ``block``: the order that is
    left to LAPACK, default the device's (``devices.on``).  ``residual`` adds up what the library's
    part leaves, which takes 3 ``block`` / N of the factorisation's operations more.
    """
    if block is None:
        sizes = devices.on(a.device, len(a) ** 3 / 3.0)
        block = sizes.cholesky_block if residual is None else sizes.cholesky_watched
    else:
        sizes = stated(a.device.type).sizes
    sizes = replace(sizes, cholesky_block=block)
    if a.device.type != "cpu":
        return _Factorisation(sizes, None, residual).run(a)
    if len(a) <= block:
        return _Factorisation(sizes, None, residual, waits=True).run(a)
    with Crew() as crew:
        return _Factorisation(sizes, crew, residual, waits=True).run(a)


def factorise_ahead(a: Tensor) -> Tensor:
    """``factorise`` on a GPU, which is not asked whether it completed: that truth value, there."""
    sent = _Factorisation(devices.on(a.device, len(a) ** 3 / 3.0), None, None)
    sent.send(a)
    return sent.completed


class _Factorisation:
    """One factorisation: its sizes (the order that is the library's), the threads, who watches.

    ``waits``: the verdict on each block is read at once; else all of them at the end, so that a
    device goes on (with NaN, at worst) and is waited for once.
    """

    def __init__(
        self,
        sizes: Sizes,
        crew: Crew | None,
        residual: Residual | None,
        *,
        waits: bool = False,
    ) -> None:
        self._sizes, self._block = sizes, sizes.cholesky_block
        self._crew, self._residual, self._waits = crew, residual, waits
        self._infos: list[Tensor] = []

    def run(self, a: Tensor) -> bool:
        return self.send(a) and (self._waits or bool(self.completed))

    def send(self, a: Tensor) -> bool:
        """Factorise; False where it is known already that it broke down."""
        return self._halves(a)

    @property
    def completed(self) -> Tensor:
        return ~torch.stack(self._infos).any()

    def _halves(self, a: Tensor) -> bool:
        n = len(a)
        if n <= self._block:
            return self._whole(a)
        h = _half(n)
        first, below, second = a[:h, :h], a[h:, :h], a[h:, h:]
        if not self._halves(first):
            return False
        crew = self._crew if n > self._sizes.cholesky_alone else None
        if crew is None:
            self._solve_panel(first, below)
            _subtract_square(second, below, self._block, None, len(below))
        else:
            rows = _rows(len(below), crew, self._sizes.cholesky_rows)
            crew.run(partial(self._solve_panel, first, part) for part in below.split(rows))
            _subtract_square(second, below, self._block, crew, rows)
        return self._halves(second)

    def _whole(self, a: Tensor) -> bool:
        """The library's routine, without a second N^2: lower by rows is upper by columns.

        A matrix by columns is how LAPACK and cuSOLVER hold one, so torch hands them ``a`` itself.
        """
        before = None if self._residual is None else a.tril()
        info = torch.empty((), dtype=torch.int32, device=a.device)
        torch.linalg.cholesky_ex(a.mT, upper=True, out=(a.mT, info))
        if self._waits and int(info) != 0:
            return False
        if self._residual is not None:
            self._residual.of_block(before, a.tril())
        self._infos.append(info)
        return True

    def _solve_panel(self, factor: Tensor, panel: Tensor) -> None:
        """panel <- panel L^{-T}."""
        n = len(factor)
        if n <= self._block:
            before = None if self._residual is None else panel.clone()
            # B L^{-T} is the transpose of L^{-1} B^T, and B^T is column-major: solved in place.
            torch.linalg.solve_triangular(factor, panel.mT, upper=False, out=panel.mT)
            if self._residual is not None:
                self._residual.of_panel(before, panel, factor.tril())
            return
        h = _half(n)
        self._solve_panel(factor[:h, :h], panel[:, :h])
        panel[:, h:].addmm_(panel[:, :h], factor[h:, :h].mT, alpha=-1.0)
        self._solve_panel(factor[h:, h:], panel[:, h:])


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


def _half(n: int) -> int:
    """About n / 2, a multiple of the grain where n is large enough for that to leave two parts."""
    half = -(-n // 2)
    rounded = -(-half // devices.CHOLESKY_GRAIN) * devices.CHOLESKY_GRAIN
    return rounded if rounded < n else half


def _subtract_square(
    target: Tensor, panel: Tensor, block: int, crew: Crew | None, rows: int
) -> None:
    """Lower triangle of target - panel panel^T; only diagonal blocks compute both halves."""
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


def _rows(n: int, crew: Crew, most: int) -> int:
    """How many rows a piece of work takes of ``n``: not too many, and as much for each thread."""
    least = max(-(-n // most), crew.n_threads)
    pieces = -(-least // crew.n_threads) * crew.n_threads
    return -(-n // (pieces * devices.CHOLESKY_GRAIN)) * devices.CHOLESKY_GRAIN
