"""The network that is to be compressed, and what is asked of it over and over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base import devices
from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.compression.nodes import Nodes
from lawsweep.kernels.compression.norm import (
    choose_degree,
    profile_norm,
    sampled_target_norm,
    target_norm,
)
from lawsweep.kernels.compression.theory import (
    TargetMoments,
    frame_holds,
    limit_loss,
    quadratic_factor,
    target_moments,
)
from lawsweep.kernels.gaussian.homogeneous import RELU, HomogeneousKernel

# The series is cut where, at the norms of the target, less than this part of E sigma^2 is lost.
SERIES_TOL = 1e-13


@dataclass(frozen=True, eq=False)
class Target(Nodes):
    """Nodes that are to be compressed (``Target.of`` finds the profile of an activation).

    All else is computed once, when it is first asked for.  ``average``: A of the target whose
    directions are averaged over the sphere (``Target.averaged``), which has no rows.
    """

    average: float | None = None

    @classmethod
    def of(cls, rows: Tensor, alpha: Tensor, act: Activation) -> Target:
        """For an activation: its closed form, else a series long enough for norms like these."""
        if act.closed is not None:
            return cls(rows, alpha, act.closed())
        return cls(rows, alpha, choose_degree(act, rows.norm(dim=-1), SERIES_TOL))

    @classmethod
    def averaged(
        cls,
        scale: float,
        d: int,
        kernel: HomogeneousKernel = RELU,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
    ) -> Target:
        """The limit of many isotropic rows, E f(x) = A |x| E|<w^, x^>|..., A = ``scale``."""
        rows = torch.empty(0, d, dtype=dtype, device=device)
        return cls(rows, rows[:, 0], kernel, scale)

    @cached_property
    def moments(self) -> TargetMoments:
        """A_N, m and E_N, of one output; of an averaged target A, 0 and 0."""
        if self.average is None:
            return target_moments(self.rows, self.weights)
        d = self.dim
        zero, eye = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
        return TargetMoments(self.average, zero, zero, eye)

    @cached_property
    def scales(self) -> Tensor:
        """A_N of each output, sum_i alpha_ik |w_i|, (K,), whatever the activation."""
        if self.average is not None:
            return self.rows.new_tensor([self.average])
        return self.rows.norm(dim=-1) @ self.alpha

    @cached_property
    def scale(self) -> float:
        """The size of the gradient's terms: sum_i |alpha_i| |w_i|, or sqrt(1 + |w_i|^2) for |w_i|.

        The latter for a sigma that is not homogeneous.
        """
        if self.average is not None:
            return abs(self.average)
        parts = []
        for w, a in zip(
            self.rows.split(devices.TARGET_ROWS), self.alpha.split(devices.TARGET_ROWS), strict=True
        ):
            size = w.norm(dim=-1)
            if not isinstance(self.profile, HomogeneousKernel):
                size = (1.0 + size**2).sqrt()
            parts.append(a.norm(dim=-1) @ size)
        return float(sum(torch.stack(parts).tolist())) if parts else 0.0

    @property
    def is_zero(self) -> bool:
        """Whether all rows or all output weights are zero."""
        return self.scale == 0.0 or (len(self.rows) > 0 and not bool(self.rows.any()))

    @cached_property
    def has_both_signs(self) -> bool:
        """Whether some output weights are positive and some negative."""
        return bool((self.alpha < 0).any()) and bool((self.alpha > 0).any())

    @property
    def mean_output_vanishes(self) -> bool:
        """Whether the output weights cancel to rounding, sum_i alpha_i = 0."""
        return float(self.alpha.sum(0).norm()) <= 1e-12 * float(self.alpha.norm(dim=-1).sum())

    @property
    def tolerance(self) -> float:
        """The least part of ``scale`` to ask of a gradient: 1e-10, and 64 eps, if that is more.

        The latter counts in float32 only.  A gradient sums terms of total size ``scale``, each
        rounded to eps, so eps of that is the least one can ask for (measured in float32: gradients
        stall at 0.3 to 15 eps).  64 leaves room for long sums, as for the least curvature that
        counts as negative (``minimise``).
        """
        return tolerances(self.rows.dtype).gradient

    def loss_scale(self, m: int) -> float:
        """L* of the most rows up to M that make a frame, at A_N (of several outputs their norm)."""
        scale = float(self.scales.norm())
        while not frame_holds(m, self.dim, self.kernel):
            m -= 1
        return limit_loss(scale, self.dim, m, self.kernel)

    @cached_property
    def norm(self) -> tuple[float, float]:
        """T = E |f|^2, exactly, in O(N^2 d), and a bound of its error by sigma's series."""
        if isinstance(self.profile, HomogeneousKernel) and self.alpha.shape[1] == 1:
            return target_norm(self), 0.0
        return profile_norm(self)

    def sampled_norm(self, rng: np.random.Generator, n_pairs: int) -> tuple[float, float]:
        """T and its standard error from random pairs; homogeneous sigma, one output."""
        return sampled_target_norm(self, rng, n_pairs)

    def norm_to_degree(self, degree: int) -> float:
        """What directions averaged leave of T: degrees 0 to ``degree`` <= 2 (``simplified.py``)."""
        of, kernel = self.moments, self.kernel
        value = of.scale**2 * kernel.mean_factor(self.dim)
        if degree >= 1:
            value += kernel.linear * float(of.mean @ of.mean)
        if degree >= 2:
            value += quadratic_factor(self.dim, kernel) * float(of.eigenvalues.square().sum())
        return value
