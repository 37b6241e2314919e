"""Davidson's method over row shards, for the smallest eigenvalue of K = J J^T.

A basis V grows by preconditioned residuals: with the Ritz pairs (theta, x = V s) of V^T K V, the
block M^{-1} (K x - theta x) is orthonormalised against V and added (generalised Davidson; R. B.
Morgan and D. S. Scott, SIAM J. Sci. Stat. Comput. 7, 1986).  At ``max_basis``
vectors it is cut to its lowest Ritz vectors and those of the step before (thick restart "GD+k"; A.
Stathopoulos, SIAM J. Sci. Comput. 29, 2007), which costs hardly a step.

What is here is small (no N); what is long is the shards'.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lawsweep.kernels.linalg.woodbury import Woodbury
from lawsweep.kernels.ntk.precondition import principal_pairs, woodbury
from lawsweep.kernels.ntk.row_shard import Array, Shards

KEEP = 3  # a third of the basis is kept at a restart
PASSES = 6  # of orthogonalisation; two do unless the new block lies nearly in the basis
TOP_STEPS = 60


@dataclass(frozen=True)
class Found:
    """Where one start came to."""

    value: float
    residual: float
    ritz_values: tuple[float, ...]
    n_iterations: int
    n_restarts: int
    exhausted: bool


class Davidson:
    """The program over the shards, and what it has used: ``n_matvecs`` products, all starts."""

    def __init__(
        self,
        shards: Shards,
        layers: tuple[int, ...],
        rank: int | None,
        block: int,
        max_basis: int,
        max_matvecs: int,
    ):
        self.shards, self.block, self.max_matvecs = shards, block, max_matvecs
        facts = shards.each("facts")
        self.n = sum(f["n_rows"] for f in facts)
        self.trace = float(sum(f["trace"] for f in facts))
        self.eps = float(facts[0]["eps"])
        self.max_basis = min(max_basis, self.n)
        self.n_matvecs = 0
        self.top = 0.0
        # Columns are scaled to K_ii = 1 on average, by a power of 2: they are kept in float32.
        self.unit = 2.0 ** math.floor(math.log2(self.trace / self.n)) if self.trace > 0 else 1.0
        self.prec = self._preconditioner(layers, rank)

    def total(self, method: str, *args: Any) -> Array:
        """The shards' answers (arrays) added up in their order."""
        answers = self.shards.each(method, *args)
        found: Array = answers[0]
        for other in answers[1:]:
            found = found + other
        return found

    def _preconditioner(self, layers: tuple[int, ...], rank: int | None) -> Woodbury:
        moments: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for parts in zip(*self.shards.each("second_moments"), strict=True):
            left = torch.from_numpy(sum(p[0] for p in parts))
            right = None if parts[0][1] is None else torch.from_numpy(sum(p[1] for p in parts))
            moments.append((left, right))
        if rank is None:
            rank = sum(len(a) + (1 if b is None else len(b)) for a, b in moments)
        pairs = principal_pairs(moments, layers, max(1, min(rank, self.n // 8)))
        plain = [
            {
                f.name: v.numpy() if isinstance(v := getattr(pair, f.name), torch.Tensor) else v
                for f in dataclasses.fields(pair)
            }
            for pair in pairs
        ]
        inner = self.total("set_columns", plain, 1.0 / math.sqrt(self.unit))
        return woodbury(torch.from_numpy(inner), self.trace / self.unit, self.n)

    def largest(self, key: int) -> tuple[float, float]:
        """(lambda_max, residual): Lanczos, as Davidson without a preconditioner, to 1e-3."""
        self.shards.each("begin", min(TOP_STEPS, self.max_basis))
        self.shards.each("draw", key, 1)
        small, value, residual = np.zeros((0, 0)), 0.0, 0.0
        for _ in range(min(TOP_STEPS, self.max_basis)):
            width = self._orthonormalise(self.total("overlaps"), len(small))
            if not width:
                break
            small = self._expand(small, width)
            values, vectors = _eigh(small)
            value = float(values[-1])
            answer = self.total("residuals", vectors[:, -1:], values[-1:], 1.0 / self.unit)
            residual = math.sqrt(float(answer[0, 0])) * self.unit
            if residual <= 1e-3 * value:
                break
        self.top = value
        return value, residual

    def smallest(self, key: int, tol: float) -> Found:
        """Davidson from the random numbers of ``key``."""
        limit = self.n_matvecs + self.max_matvecs
        self.shards.each("begin", self.max_basis)
        self.shards.each("draw", key, self.block)
        overlaps = self._preconditioned(self.total("project_columns"))
        small = np.zeros((0, 0))
        before = np.zeros((0, 0))
        n_iterations = n_restarts = 0
        while True:
            width = self._orthonormalise(overlaps, len(small))
            if width:
                small = self._expand(small, width)
            n_iterations += 1
            values, vectors = _eigh(small)
            lead = vectors[:, : self.block]
            answer = self.total("residuals", lead, values[: self.block], 1.0 / self.unit)
            projected = answer[1:]
            done = self._accurate(values[0], float(answer[0, 0]), projected[:, :1], tol)
            # No new direction is left: the answer is as good as it gets, its residual will tell.
            done = done or not width
            if done or self.n_matvecs >= limit:
                break
            if len(small) + self.block > self.max_basis < self.n:
                small, n_restarts = self._restart(small, vectors, before), n_restarts + 1
                lead = np.eye(len(small), self.block)  # the lowest Ritz vectors lead the new basis
            before = lead
            overlaps = self._preconditioned(projected)
        ritz = tuple(float(v) for v in values[: self.block])
        value, residual = self._evidence(vectors[:, :1])
        return Found(value, residual, ritz, n_iterations, n_restarts, not done)

    def _accurate(self, value: float, square: float, projected: Array, tol: float) -> bool:
        """Whether the residual r is small enough, or as small as it can be seen to be.

        ``square`` is |r|^2 and ``projected`` A^T r, of r over the unit of K.

        K x is rounded along the large eigenvectors, eps lambda_max in all.  Below that the norm
        sqrt(c r^T M^{-1} r), in which those directions weigh little, decides.
        """
        norm = math.sqrt(square) * self.unit
        if norm <= tol * value or value <= self.floor:
            return True
        inner = projected[:, 0] @ self._coefficients(projected)[:, 0]
        damped = math.sqrt(max(square - float(inner), 0.0)) * self.unit
        noise = 4.0 * self.eps * self.top
        level = max(tol * value, self.eps * math.sqrt(self.top * self.prec.c * self.unit))
        return norm <= noise and damped <= level

    @property
    def floor(self) -> float:
        """What lambda_min cannot be told from 0 below.

        Entries of J rounded to u each move its singular values by u ||J||_F at most, so lambda_min
        by the square of some of these.  And below eps lambda_max, in float64, no residual can be
        seen that is smaller than the value.
        """
        rounded = 16.0 * self.eps**2 * self.trace
        return max(rounded, 4.0 * float(np.finfo(np.float64).eps) * self.top)

    def _coefficients(self, projected: Array) -> Array:
        found: Array = self.prec.coefficients(torch.from_numpy(projected)).numpy()
        return found

    def _preconditioned(self, projected: Array) -> Array:
        """T <- M^{-1} T (for K over its unit); the new overlaps."""
        return self.total("precondition", self._coefficients(projected), self.prec.c)

    def _orthonormalise(self, overlaps: Array, m: int) -> int:
        """Make T orthonormal and orthogonal to V; how many vectors are left of it.

        Directions that lie in the span of the others, to rounding, are dropped (SVQB: A.
        Stathopoulos and K. Wu, SIAM J. Sci. Comput. 23, 2002).
        """
        level = 100.0 * self.eps
        room = self.max_basis - m
        for _ in range(PASSES):
            coefficients, gram = overlaps[:m], overlaps[m:]
            if gram.shape[0] == 0 or not np.isfinite(gram).all():
                return 0
            sizes = gram.diagonal()
            off = np.vstack([coefficients, gram - np.eye(len(gram))])
            if np.abs(off).max() <= level:
                return len(gram)
            rest = gram - coefficients.T @ coefficients
            if (rest.diagonal() <= 1e-2 * sizes).any():  # cancelled: project first, mix later
                mix = np.diag([1.0 / math.sqrt(s) if s > 0.0 else 0.0 for s in sizes])
                mix = mix[:, sizes > 0.0]
            else:
                mix = _whitening(rest)[:, :room]
            overlaps = self.total("project", coefficients, mix)
        return 0

    def _expand(self, small: Array, width: int) -> Array:
        """V <- [V, T] with its image; the new V^T K V."""
        fresh = self.total("append", self.total("transposed"))
        self.n_matvecs += width
        m = len(small)
        grown = np.empty((m + width, m + width))
        grown[:m, :m] = small
        grown[:, m:] = fresh
        grown[m:, :m] = fresh[:m].T
        grown[m:, m:] = (fresh[m:] + fresh[m:].T) / 2.0
        return grown

    def _restart(self, small: Array, vectors: Array, before: Array) -> Array:
        """Cut the basis to its lowest Ritz vectors and the block of the step before."""
        keep = max(self.max_basis // KEEP, 2 * self.block)
        old = np.zeros((len(small), before.shape[1]))
        old[: len(before)] = before
        span = torch.from_numpy(np.hstack([vectors[:, :keep], old]))
        rotation = torch.linalg.qr(span)[0]
        self.shards.each("compress", rotation.numpy())
        cut = rotation.mT @ torch.from_numpy(small) @ rotation
        symmetric: Array = ((cut + cut.mT) / 2.0).numpy()
        return symmetric

    def _evidence(self, vector: Array) -> tuple[float, float]:
        """(theta, residual) of the Ritz vector, by a product of its own in float64."""
        square = self.total("pick", vector)[0, 0]
        gradients = self.total("transposed")
        value = float(np.square(gradients).sum() / square)
        misfit = self.total("misfit", gradients, np.array([value]))
        self.n_matvecs += 1
        return value, math.sqrt(float(misfit[0]) / square)


def _eigh(symmetric: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors; by torch.

    numpy's library starts threads of its own from an order of 50, which then spin against torch's.
    """
    found = torch.linalg.eigh(torch.from_numpy(symmetric))
    values: Array = found.eigenvalues.numpy()
    vectors: Array = found.eigenvectors.numpy()
    return values, vectors


def _whitening(gram: Array) -> Array:
    """Q with Q^T ``gram`` Q = I on the directions that are there to rounding."""
    scale = 1.0 / np.sqrt(gram.diagonal())
    values, vectors = _eigh(scale[:, None] * gram * scale)
    good = values > 1e-10
    mixed: Array = scale[:, None] * vectors[:, good] / np.sqrt(values[good])
    return mixed
