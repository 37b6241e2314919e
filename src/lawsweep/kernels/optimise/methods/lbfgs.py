"""Limited-memory BFGS as the model of a trust-region step: gradients only, for many unknowns."""

from __future__ import annotations

import torch
from torch import Tensor

from lawsweep.kernels.base.answers import Places, put
from lawsweep.kernels.optimise.methods import Ask, Method

HISTORY = 20


class Lbfgs(Method):
    """The step -H g, cut to the radius, H from the last HISTORY moves (Nocedal 1980).

    H starts as (s.y/y.y) I of the latest move.  For p = -t H g the model g.p + p.Bp/2, B = H^-1,
    falls by (t - t^2/2) g.Hg.  A move whose curvature s.y is not positive says nothing of H and
    is left out.  Moves are read off the points themselves, so a curved retraction is allowed.
    """

    def __init__(self, n_restarts: int) -> None:
        super().__init__(n_restarts)
        self._x: Tensor | None = None

    def _start(self, x: Tensor) -> None:
        n_restarts, n, h = self.n_restarts, x.shape[-1], HISTORY
        self._x, self._gradient = x.new_full((n_restarts, n), torch.nan), x.new_zeros(n_restarts, n)
        # Newest last; a move that is not there has inverse curvature 0 and changes nothing.
        self._s, self._y = x.new_zeros(n_restarts, h, n), x.new_zeros(n_restarts, h, n)
        self._inverse = x.new_zeros(n_restarts, h)

    def _remember(self, at: Places, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take in the moves since the last call; the moves of these restarts that are kept."""
        assert self._x is not None
        s, y = x - self._x[at], gradient - self._gradient[at]
        curvature = (s * y).sum(-1)
        eps = torch.finfo(x.dtype).eps
        # NaN (no earlier point) and 0 (a rejected step) are not greater.
        good = (curvature > eps * s.norm(dim=-1) * y.norm(dim=-1)) & (s.norm(dim=-1) > 0)

        def later(kept: Tensor, new: Tensor) -> Tensor:
            moved = torch.cat([kept[:, 1:], new.unsqueeze(1)], 1)
            return torch.where(good.reshape(-1, *[1] * (kept.ndim - 1)), moved, kept)

        found = later(self._s[at], s), later(self._y[at], y)
        inverse = later(self._inverse[at], 1.0 / curvature)
        self._s, self._y = put(self._s, at, found[0]), put(self._y, at, found[1])
        self._inverse = put(self._inverse, at, inverse)
        # Of their own: the minimiser writes into its points.
        self._x = put(self._x, at, x.clone())
        self._gradient = put(self._gradient, at, gradient.clone())
        return *found, inverse

    def solve(self, ask: Ask) -> tuple[Tensor, Tensor]:
        """Step and predicted fall, by the two-loop recursion over all restarts at once."""
        x, gradient, radius = ask.x, ask.gradient, ask.radius
        if self._x is None:
            self._start(x)
        s, y, inverse = self._remember(self.where(ask.index, x), x, gradient)
        q, weights = gradient.clone(), []
        for k in reversed(range(HISTORY)):
            weight = inverse[:, k] * (s[:, k] * q).sum(-1)
            weights.append(weight)
            q = q - weight.unsqueeze(-1) * y[:, k]
        square = (y[:, -1] * y[:, -1]).sum(-1)
        known = inverse[:, -1] > 0
        first = torch.where(known, 1.0 / (inverse[:, -1] * square), torch.ones_like(square))
        # Before any move: steepest descent to the radius.
        steep = radius / gradient.norm(dim=-1).clamp_min(torch.finfo(x.dtype).tiny)
        q = torch.where(known, first, steep).unsqueeze(-1) * q
        for k, weight in zip(range(HISTORY), reversed(weights), strict=True):
            back = inverse[:, k] * (y[:, k] * q).sum(-1)
            q = q + (weight - back).unsqueeze(-1) * s[:, k]
        slope, length = (gradient * q).sum(-1), q.norm(dim=-1)
        t = (radius / length.clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1.0)
        return -t.unsqueeze(-1) * q, ((t - 0.5 * t * t) * slope).clamp_min(0.0)


METHOD = Lbfgs
