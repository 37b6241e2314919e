"""The restarts of one run of ``compression``: how they are drawn, and when they are enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep import stream
from lawsweep.experiments.compression.params import AVERAGED, Params
from lawsweep.kernels.compression.choice import prior_stake
from lawsweep.kernels.compression.solve import Compression, choose, random_starts
from lawsweep.kernels.compression.theory import frame_holds, limit_loss
from lawsweep.kernels.gaussian.arccos import HomogeneousKernel
from lawsweep.kernels.optimise.minimise import Result
from lawsweep.kernels.optimise.restarts import both_sides, enough, joined, sizes

# The loss is taken for this part of |J| at least: where A_N is small L* is no measure of it.
LEAST_LOSS = 0.02


class Search:
    """Batches of restarts with outputs absorbed: (n P, M, d) starts of P sign patterns (P, M).

    ``size`` of the target, which rows are drawn for; ``frame`` (M, d) replaces the first start of
    all.  ``scale``: A_N; ``both``: whether the target's outputs have both signs.
    """

    def __init__(
        self,
        params: Params,
        seed: int,
        patterns: Tensor,
        size: float,
        frame: Tensor | None,
        scale: float,
        both: bool,
    ):
        self.patterns, self.size, self.frame = patterns, size, frame
        self.m, self.d = params.n_compressed, params.input_dim
        self.kernel = HomogeneousKernel(params.slope)
        self.rng = stream(seed, "restarts")
        n = math.inf if params.objective in AVERAGED else params.n_target
        self.stake = float(prior_stake(self.m, self.d, n, both))
        self.sizes = sizes(params.n_restarts, self.stake)
        self.loss_scale = loss_scale(scale, self.d, self.m, self.kernel)
        self.signs: list[Tensor] = []
        self.parts: list[Result] = []

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """The next batch, ``n`` of each pattern: starts (n P, M, d) and signs (n P, M)."""
        count = n * len(self.patterns)
        starts = random_starts(self.rng, count, self.m, self.d, self.size, self.kernel)
        if not self.signs:
            starts = both_sides(starts, n)
            if self.frame is not None:
                starts[0] = self.frame
        self.signs.append(self.patterns.repeat_interleave(n, 0))
        return starts, self.signs[-1]

    def found(self, shape: Sequence[int], scale: float) -> Compression:
        """All batches so far, compared; ``scale`` as for ``solve``."""
        result = joined(self.parts)
        return choose(result, shape, torch.cat(self.signs).to(result.x), scale)

    def enough(self, scale: float) -> bool:
        """Whether no further batch is worth its price."""
        found = self.found((self.m, self.d), scale)
        value = abs(float(found.result.loss[found.agreement.best]))
        whole = max(self.loss_scale, LEAST_LOSS * value)
        number = torch.arange(len(self.patterns))
        patterns = torch.cat(
            [number.repeat_interleave(len(s) // len(self.patterns)) for s in self.signs]
        )
        return enough(found.result, found.agreement, self.stake, whole, patterns)


def loss_scale(scale: float, d: int, m: int, kernel: HomogeneousKernel) -> float:
    """L* of the most rows, up to M, that make a frame in R^d."""
    while not frame_holds(m, d, kernel):
        m -= 1
    return limit_loss(scale, d, m, kernel)
