"""What a solver may ask of a matrix, whatever it is held as: products, rows, a solve.

A solver that only multiplies takes an ``Operator`` and one that needs all numbers says ``dense()``,
so nobody asks what kind of object it was given.  A ``Factorisation`` is an inverse, to be applied.
Vectors lie as rows: ``v`` is (n,) for one or (b, n) for several, and so is what comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class LinearMap(Protocol):
    """A from R^n to R^m."""

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""

    @property
    def dtype(self) -> torch.dtype:
        """The type its numbers are held in."""

    @property
    def device(self) -> torch.device:
        """Where they are held."""

    def mv(self, v: Tensor) -> Tensor:
        """A v, (m,) or (b, m)."""

    def rmv(self, v: Tensor) -> Tensor:
        """A^T v, (n,) or (b, n)."""

    def rows(self, which: slice) -> Tensor:
        """Some rows of A, (k, n)."""

    def dense(self) -> Tensor:
        """A itself, (m, n)."""


class Operator(LinearMap, Protocol):
    """A square A: n = m."""

    def diagonal(self) -> Tensor:
        """A_ii, (n,)."""


class Factorisation(Protocol):
    """The inverse of a symmetric positive definite A of order N."""

    def solve(self, v: Tensor) -> Tensor:
        """A^{-1} v, (N,) or (b, N)."""


@dataclass(frozen=True, eq=False)
class Dense:
    """A matrix (m, n) in memory, as an operator."""

    matrix: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return (self.matrix.shape[0], self.matrix.shape[1])

    @property
    def dtype(self) -> torch.dtype:
        """The matrix's type."""
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        """The matrix's device."""
        return self.matrix.device

    def mv(self, v: Tensor) -> Tensor:
        """A v."""
        return self.matrix @ v if v.ndim == 1 else v @ self.matrix.mT

    def rmv(self, v: Tensor) -> Tensor:
        """A^T v."""
        return v @ self.matrix

    def rows(self, which: slice) -> Tensor:
        """A view of some rows."""
        return self.matrix[which]

    def dense(self) -> Tensor:
        """The matrix, not a copy."""
        return self.matrix

    def diagonal(self) -> Tensor:
        """A view of the diagonal."""
        return self.matrix.diagonal()
