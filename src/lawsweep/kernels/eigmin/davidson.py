"""Davidson's method over row shards, for the smallest eigenvalue of K = J J^T.

A basis V grows by preconditioned residuals: with the Ritz pairs (theta, x = V s) of V^T K V, the
block M^{-1} (K x - theta x) is orthonormalised against V and added (generalised Davidson; R. B.
Morgan and D. S. Scott, SIAM J. Sci. Stat. Comput. 7, 1986).  At ``max_basis``
vectors it is cut to its lowest Ritz vectors and those of the step before (thick restart "GD+k"; A.
Stathopoulos, SIAM J. Sci. Comput. 29, 2007), which costs hardly a step.

What is here is small (no N); what is long is the shards'.  Shards of this process leave their
answers where they are, so the small matrices live on their device too, and each iteration asks it
once: for the residual, and whether the block that would come next is orthonormal.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.collective import PATIENCE_S
from lawsweep.kernels.linalg.woodbury import Woodbury
from lawsweep.kernels.ntk.precondition import principal_pairs, woodbury
from lawsweep.kernels.ntk.row_shard import Shards

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
        if shards.in_process:
            shards.each("stay")
        # J^T T, the one thing that is large, is added up by the shards themselves or here.
        meet_at = getattr(shards, "meet_at", "")  # a pool of somebody else's may have none
        self._together = bool(meet_at) and not shards.in_process
        if self._together:
            wait_s = getattr(shards, "timeout_s", PATIENCE_S)
            shards.each("join", next(filter(None, shards.each("meet", meet_at, wait_s))), wait_s)
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

    def each(self, method: str, *args: Any) -> list[Any]:
        """What every shard answers, tensors where they stay in this process."""
        if self.shards.in_process:
            return self.shards.each(method, *args)
        return [_tensors(answer) for answer in self.shards.each(method, *_arrays(args))]

    def total(self, method: str, *args: Any) -> Tensor:
        """The shards' answers added up in their order."""
        answers = self.each(method, *args)
        found: Tensor = answers[0]
        for other in answers[1:]:
            found = found + other
        return found

    def _preconditioner(self, layers: tuple[int, ...], rank: int | None) -> Woodbury:
        moments: list[tuple[Tensor, Tensor | None]] = []
        for parts in zip(*self.each("second_moments"), strict=True):
            left = sum(p[0] for p in parts)
            right = None if parts[0][1] is None else sum(p[1] for p in parts)
            moments.append((left, right))
        if rank is None:
            rank = sum(len(a) + (1 if b is None else len(b)) for a, b in moments)
        pairs = principal_pairs(moments, layers, max(1, min(rank, self.n // 8)))
        plain = [
            {f.name: getattr(pair, f.name) for f in dataclasses.fields(pair)} for pair in pairs
        ]
        inner = self.total("set_columns", plain, 1.0 / math.sqrt(self.unit))
        return woodbury(inner, self.trace / self.unit, self.n)

    def largest(self, key: int) -> tuple[float, float]:
        """(lambda_max, residual): Lanczos, as Davidson without a preconditioner, to 1e-3."""
        most = min(TOP_STEPS, self.max_basis)
        self.shards.each("begin", most)
        self.shards.each("draw", key, 1)
        value, residual = 0.0, 0.0
        overlaps, fine = self._orthonormalised(self.total("overlaps"), 0)
        width = self._width(overlaps, 0, bool(fine))
        small = overlaps.new_empty(0, 0)
        for count in range(1, most + 1):
            if not width:
                break
            small = self._expand(small, width)
            values, vectors = torch.linalg.eigh(small)
            answer = self.total("residuals", vectors[:, -1:], values[-1:], 1.0 / self.unit)
            found = [values[-1], answer[0, 0]]
            if count < most:
                overlaps, fine = self._orthonormalised(self.total("overlaps"), count)
                found.append(fine)
            value, square, *rest = torch.stack(found).tolist()
            residual = math.sqrt(square) * self.unit
            if residual <= 1e-3 * value:
                break
            width = self._width(overlaps, count, bool(rest[0])) if rest else 0
        self.top = value
        return value, residual

    def smallest(self, key: int, tol: float) -> Found:
        """Davidson from the random numbers of ``key``."""
        limit = self.n_matvecs + self.max_matvecs
        self.shards.each("begin", self.max_basis)
        self.shards.each("draw", key, self.block)
        start = self.prec.coefficients(self.total("project_columns"))
        overlaps, fine = self._orthonormalised(self._preconditioned(start), 0)
        width = self._width(overlaps, 0, bool(fine))
        small = before = overlaps.new_empty(0, 0)
        n_iterations = n_restarts = 0
        while True:
            if width:
                small = self._expand(small, width)
            n_iterations += 1
            values, vectors = torch.linalg.eigh(small)
            lead = vectors[:, : self.block]
            answer = self.total("residuals", lead, values[: self.block], 1.0 / self.unit)
            projected = answer[1:]
            coefficients = self.prec.coefficients(projected)
            found = [values[0], answer[0, 0], projected[:, 0] @ coefficients[:, 0]]
            # No new direction is left: the answer is as good as it gets, its residual will tell.
            last = not width or self.n_matvecs >= limit
            if not last:
                if len(small) + self.block > self.max_basis < self.n:
                    small, n_restarts = self._restart(small, vectors, before), n_restarts + 1
                    # The lowest Ritz vectors lead the new basis.
                    lead = torch.eye(len(small), self.block, dtype=small.dtype, device=small.device)
                # The next block is made before it is known whether there is one: one answer then
                # tells both.
                overlaps, fine = self._orthonormalised(
                    self._preconditioned(coefficients), len(small)
                )
                found.append(fine)
            value, square, inner, *rest = torch.stack(found).tolist()
            done = self._accurate(value, square, inner, tol) or not width
            if done or last:
                break
            before = lead
            width = self._width(overlaps, len(small), bool(rest[0]))
        ritz = tuple(values[: self.block].tolist())
        value, residual = self._evidence(lead[:, :1])
        return Found(value, residual, ritz, n_iterations, n_restarts, not done)

    def _accurate(self, value: float, square: float, inner: float, tol: float) -> bool:
        """Whether the residual r is small enough, or as small as it can be seen to be.

        ``square`` is |r|^2, ``inner`` r^T A (c I + A^T A)^{-1} A^T r, of r over the unit of K.

        K x is rounded along the large eigenvectors, eps lambda_max in all.  Below that the norm
        sqrt(c r^T M^{-1} r), in which those directions weigh little, decides.
        """
        norm = math.sqrt(square) * self.unit
        if norm <= tol * value or value <= self.floor:
            return True
        damped = math.sqrt(max(square - inner, 0.0)) * self.unit
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

    def _preconditioned(self, coefficients: Tensor) -> Tensor:
        """T <- M^{-1} T (for K over its unit); the new overlaps."""
        return self.total("precondition", coefficients, self.prec.c)

    def _orthonormalised(self, overlaps: Tensor, m: int) -> tuple[Tensor, Tensor]:
        """T after two projections off V, each with its mixing: the new overlaps, and 1.0 if it is
        orthonormal and orthogonal to V now, 0.0 if not.  Asks nothing of the device.

        Twice is enough unless the new block lies in the basis to rounding.
        """
        for _ in range(2):
            coefficients, gram = overlaps[:m], overlaps[m:]
            mix = _normalising(gram, gram - coefficients.mT @ coefficients)
            overlaps = self.total("project", coefficients, mix)
        return overlaps, (self._off(overlaps, m) <= self._level).to(overlaps.dtype)

    @property
    def _level(self) -> float:
        return 100.0 * self.eps

    @staticmethod
    def _off(overlaps: Tensor, m: int) -> Tensor:
        """The largest entry of [V^T T; T^T T - I], NaN where one is."""
        off = overlaps.clone()
        off[m:].diagonal().sub_(1.0)
        return off.abs().amax()

    def _width(self, overlaps: Tensor, m: int, fine: bool) -> int:
        """How many vectors T has in the end: all if ``fine``, else those that are left of it.

        Directions that lie in the span of the others, to rounding, are dropped (SVQB: A.
        Stathopoulos and K. Wu, SIAM J. Sci. Comput. 23, 2002).
        """
        room = self.max_basis - m
        if fine and overlaps.shape[1] <= room:
            return int(overlaps.shape[1])
        for _ in range(PASSES):
            coefficients, gram = overlaps[:m], overlaps[m:]
            if gram.shape[0] == 0 or room == 0 or not bool(gram.isfinite().all()):
                return 0
            if len(gram) <= room and bool(self._off(overlaps, m) <= self._level):
                return len(gram)
            sizes = gram.diagonal()
            rest = gram - coefficients.mT @ coefficients
            if bool((rest.diagonal() <= 1e-2 * sizes).any()):  # project first, mix later
                mix = torch.diag(sizes.rsqrt())[:, sizes > 0.0]
            else:
                mix = _whitening(rest)[:, :room]
            overlaps = self.total("project", coefficients, mix)
        return 0

    def _expand(self, small: Tensor, width: int) -> Tensor:
        """V <- [V, T] with its image; the new V^T K V."""
        if self._together:
            fresh = self.total("expand")
        else:
            fresh = self.total("append", self.total("transposed"))
        self.n_matvecs += width
        m = len(small)
        grown = small.new_empty(m + width, m + width)
        grown[:m, :m] = small
        grown[:, m:] = fresh
        grown[m:, :m] = fresh[:m].mT
        grown[m:, m:] = (fresh[m:] + fresh[m:].mT) / 2.0
        return grown

    def _restart(self, small: Tensor, vectors: Tensor, before: Tensor) -> Tensor:
        """Cut the basis to its lowest Ritz vectors and the block of the step before."""
        keep = max(self.max_basis // KEEP, 2 * self.block)
        old = small.new_zeros(len(small), before.shape[1])
        old[: len(before)] = before
        rotation = torch.linalg.qr(torch.cat([vectors[:, :keep], old], 1))[0]
        self.each("compress", rotation)
        cut = rotation.mT @ small @ rotation
        return (cut + cut.mT) / 2.0

    def _evidence(self, vector: Tensor) -> tuple[float, float]:
        """(theta, residual) of the Ritz vector, by a product of its own in float64."""
        square = self.total("pick", vector)[0, 0]
        gradients = self.total("transposed")
        value = gradients.square().sum() / square
        misfit = self.total("misfit", gradients, value.reshape(1))
        self.n_matvecs += 1
        found: list[float] = torch.stack([value, (misfit[0] / square).sqrt()]).tolist()
        return found[0], found[1]


def _normalising(gram: Tensor, rest: Tensor) -> Tensor:
    """What a block with Gram matrix ``gram``, and ``rest`` off the basis, is mixed by, (b, b).

    Its whitening; where it nearly lies in the basis (``rest`` has cancelled) or in the span of
    itself, only its vectors' lengths, and of those that are 0 nothing.
    """
    sizes = gram.diagonal()
    cancelled = (rest.diagonal() <= 1e-2 * sizes).any()
    plain = torch.diag(sizes.rsqrt().where(sizes > 0.0, 0.0))
    if len(gram) == 1:
        return torch.where(cancelled, plain, rest.rsqrt())
    scale = rest.diagonal().clamp_min(torch.finfo(gram.dtype).tiny).rsqrt()
    scaled = scale[:, None] * rest * scale
    # eigh refuses what is not finite.
    finite = scaled.isfinite().all()
    values, vectors = torch.linalg.eigh(
        scaled.where(finite, torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    )
    whole = scale[:, None] * vectors * values.clamp_min(1e-10).rsqrt()
    return torch.where(cancelled | ~finite, plain, whole)


def _whitening(gram: Tensor) -> Tensor:
    """Q with Q^T ``gram`` Q = I on the directions that are there to rounding."""
    scale = gram.diagonal().rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * gram * scale)
    good = values > 1e-10
    return scale[:, None] * vectors[:, good] * values[good].rsqrt()


def _tensors(value: Any) -> Any:
    """Arrays that a shard answered, as tensors."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return type(value)(map(_tensors, value)) if isinstance(value, (list, tuple)) else value


def _arrays(value: Any) -> Any:
    """Tensors as arrays, which travel."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {k: _arrays(v) for k, v in value.items()}
    return type(value)(map(_arrays, value)) if isinstance(value, (list, tuple)) else value
