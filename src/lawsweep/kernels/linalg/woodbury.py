"""Woodbury's formula: the inverse of a diagonal and a few columns, by a factor of their number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Woodbury:
    """M^{-1} for M = c I + A A^T: ``c`` and the factor of c I + A^T A (r, r).

    A itself is not held: it may lie in parts, elsewhere.  NaN where the factor breaks down.
    """

    c: float
    factor: Tensor

    @classmethod
    def of(cls, inner: Tensor, c: float) -> Woodbury:
        """From ``inner`` = A^T A (r, r), which is left as it is."""
        shifted = inner.clone()
        shifted.diagonal().add_(c)
        return cls(c, torch.linalg.cholesky_ex(shifted)[0])

    @property
    def rank(self) -> int:
        """Number of columns r of A."""
        return int(self.factor.shape[0])

    def coefficients(self, projected: Tensor) -> Tensor:
        """(c I + A^T A)^{-1} ``projected`` for ``projected`` = A^T y, shape (r, b)."""
        return torch.cholesky_solve(projected, self.factor)


class DiagonalAndLowRank:
    """M^{-1} for M = D + A A^T, a ``Factorisation``, from A^T (r, N) and the diagonal D (N,)."""

    def __init__(self, rows: Tensor, diagonal: Tensor) -> None:
        self._inverse = diagonal.reciprocal()
        self._scaled = rows * self._inverse
        # D^{-1/2} takes M to I + A' A'^T.
        self._woodbury = Woodbury.of(rows @ self._scaled.mT, 1.0)

    def solve(self, v: Tensor) -> Tensor:
        """M^{-1} v for v (N,) or (b, N)."""
        projected = self._scaled @ v.mT if v.ndim > 1 else (self._scaled @ v).unsqueeze(1)
        inner = self._woodbury.coefficients(projected)
        return (v * self._inverse).sub_(inner.mT.reshape(*v.shape[:-1], -1) @ self._scaled)
