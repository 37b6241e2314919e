"""The restarts of one compression: how they are drawn, and by risk when they are enough.

Restarts are looked at when there are as many as LADDER says; the search ends when what one more
start may be expected to gain is small,

    chance_better * stake <= WORTH,

or after all of them.  ``chance_better`` is read off the minima found so far.  ``stake``, the part
of the loss that a missed minimum may cost, is the larger of what was seen (how far the minima found
lie apart) and of ``choice.prior_stake``: a few starts that agree have seen nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, get_type_hints

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.names import check_name
from lawsweep.kernels.compression.choice import WORTH, prior_stake, sizes
from lawsweep.kernels.compression.solve import Compression, choose
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import frame_norm, optimal_frame
from lawsweep.kernels.gaussian.angles import unit
from lawsweep.kernels.gaussian.homogeneous import RELU, HomogeneousKernel
from lawsweep.kernels.optimise.minimise import Agreement, Result, joined

Outputs = Literal["absorbed", "fixed", "trained"]
Signs = Literal["auto", "mean", "search"]
# Objectives that no direction of the target enters.
AVERAGED = ("simplified", "simplified_mean")
# The loss is taken for this part of |J| at least.
LEAST_LOSS = 0.02


@dataclass(frozen=True, kw_only=True)
class How:
    """How a target is compressed; the defaults suit most.

    ``objective``: the loss against the target (population), or what is left of it where directions
    are averaged: degree 0 (simplified), 0 and 1 (simplified_mean), 0 to 2 (reduced).
    ``outputs`` of the student: absorbed in its rows but for the sign (homogeneous sigma, one
    output), fixed at the target's mean, or trained.  ``signs`` of absorbed ones: all that of A_N
    (mean), every count of the other sign (search), or (auto) the latter where alpha has both.
    ``start``: the first restart from the frame that theory suggests, or random as the others;
    reduced: as frame, and all restarts minimise the reduced objective first.  ``n_restarts`` (of
    each sign pattern), by default as many as the risk asks for; ``method`` of ``minimise``, by
    default what costs least; ``tol``: part of the target's scale that gradients end at, by default
    ``Target.tolerance``.

    Raises ValueError for an unknown name.
    """

    objective: Literal["population", "simplified", "simplified_mean", "reduced"] = "population"
    outputs: Outputs = "absorbed"
    signs: Signs = "auto"
    start: Literal["frame", "random", "reduced"] = "frame"
    n_restarts: int | None = None
    method: str | None = None
    tol: float | None = None
    max_iterations: int = 300

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name in ("objective", "outputs", "signs", "start"):
            check_name(name, getattr(self, name), get_args(hints[name]))


class Search(ABC):
    """Batches of restarts of M rows for one target; subclasses say how these are drawn.

    ``patterns``: of how many sign patterns each batch has its starts; ``frame`` (M, d): the first
    start of all, in place of a random one.
    """

    n_patterns = 1
    frame: Tensor | None = None

    def __init__(self, target: Target, m: int, rng: np.random.Generator, how: How) -> None:
        self.target, self.m, self.rng = target, m, rng
        averaged = target.average is not None or how.objective in AVERAGED
        n = math.inf if averaged else len(target.rows)
        self.stake = float(prior_stake(m, target.dim, n, target.has_both_signs))
        self.sizes = sizes(how.n_restarts, self.stake)
        self.outputs: list[Tensor] = []
        self.parts: list[Result] = []

    @abstractmethod
    def _draw(self, n: int) -> tuple[Tensor, Tensor]:
        """As ``draw``."""

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """The next batch, ``n`` of each pattern: rows (R, M, d) and outputs (R, M, K)."""
        rows, outputs = self._draw(n)
        if not self.outputs:
            rows = both_sides(rows, n)
            if self.frame is not None:
                rows[0] = self.frame
        self.outputs.append(outputs)
        return rows, outputs

    def found(self) -> Compression:
        """All batches so far, compared."""
        shape = (self.m, self.target.dim)
        return choose(joined(self.parts), shape, torch.cat(self.outputs), self.target.scale)

    def is_enough(self) -> bool:
        """Whether no further batch is worth its price."""
        found = self.found()
        value = abs(float(found.result.loss[found.agreement.best]))
        # Where A_N is small L* is no measure of the loss.
        whole = max(self.target.loss_scale(self.m), LEAST_LOSS * value)
        number = torch.arange(self.n_patterns)
        counts = [len(x) // self.n_patterns for x in self.outputs]
        patterns = torch.cat([number.repeat_interleave(n) for n in counts])
        return enough(found.result, found.agreement, self.stake, whole, patterns)


class Absorbed(Search):
    """Outputs are signs, absorbed in the rows but for these."""

    def __init__(self, target: Target, m: int, rng: np.random.Generator, how: How) -> None:
        super().__init__(target, m, rng, how)
        of, kernel = target.moments, target.kernel
        search = how.signs == "search" or (how.signs == "auto" and target.has_both_signs)
        self.patterns = sign_patterns(m, of.scale, search)
        self.n_patterns = len(self.patterns)
        # Where the output weights cancel, A_N says nothing of the size of the optimum's rows.
        self.size = max(abs(of.scale), 0.3 * target.scale)
        if how.start != "random" and m <= target.dim + 1:
            mean = of.mean if of.scale >= 0 else -of.mean
            self.frame = frame_start(m, self.size, mean, of.eigenvectors, kernel).cpu()

    def _draw(self, n: int) -> tuple[Tensor, Tensor]:
        count, target = n * self.n_patterns, self.target
        rows = random_starts(self.rng, count, self.m, target.dim, self.size, target.kernel)
        return rows, self.patterns.repeat_interleave(n, 0).unsqueeze(-1)


class Free(Search):
    """Outputs of their own: all sum_i alpha_i/M (fixed), or those plus a spread (trained).

    Random directions as long as the target's rows; the spread is that of M sums of N/M random
    alpha's.
    """

    def __init__(self, target: Target, m: int, rng: np.random.Generator, how: How) -> None:
        super().__init__(target, m, rng, how)
        self.trained = how.outputs == "trained"
        if not self.trained and target.mean_output_vanishes:
            raise ValueError(
                "expected fixed outputs, the target's mean output, not to vanish, got a mean of "
                "zero; train them"
            )

    def _draw(self, n: int) -> tuple[Tensor, Tensor]:
        w, alpha, m = self.target.rows, self.target.alpha, self.m
        draws, _ = unit(torch.from_numpy(self.rng.standard_normal((n, m, w.shape[1]))))
        rows = draws.to(w) * w.norm(dim=-1).mean()
        outputs = (alpha.sum(0) / m).expand(n, m, -1)
        if self.trained:
            noise = torch.from_numpy(self.rng.standard_normal(outputs.shape)).to(w)
            outputs = outputs + noise * alpha.square().sum(0).sqrt() / math.sqrt(m)
        return rows, outputs.contiguous()


def sign_patterns(m: int, sign: float, search: bool) -> Tensor:
    """The sign patterns to try, (P, M): all equal to ``sign``, or every count of the other sign.

    Rows are interchangeable, so a pattern is its count of minus signs: M + 1 of them.
    """
    ones = torch.full((m,), math.copysign(1.0, sign), dtype=torch.float64)
    if not search:
        return ones.unsqueeze(0)
    flips = torch.arange(m).unsqueeze(0) < torch.arange(m + 1).unsqueeze(1)
    return torch.where(flips, -ones, ones)


def random_starts(
    rng: np.random.Generator,
    n: int,
    m: int,
    d: int,
    scale: float,
    kernel: HomogeneousKernel = RELU,
) -> Tensor:
    """``n`` starts (n, M, d) of independent uniform directions and norms frame_norm(scale)."""
    draws, _ = unit(torch.from_numpy(rng.standard_normal((n, m, d))))
    return frame_norm(scale, d, m, kernel) * draws


def frame_start(
    m: int,
    scale: float,
    mean: Tensor,
    eigenvectors: Tensor,
    kernel: HomogeneousKernel = RELU,
) -> Tensor:
    """The start theory suggests, (M, d): ``optimal_frame`` in the leading directions, M <= d + 1.

    ``eigenvectors`` (d, d) of E_N, largest first.  A thousandth of ``mean`` is added to each row,
    which settles the sign of the sum of the rows and leaves the saddle between its two choices.
    """
    rows = optimal_frame(m, eigenvectors, kernel)
    direction, _ = unit(mean)
    return frame_norm(scale, len(mean), m, kernel) * (rows + 1e-3 * direction)


class Gaining(Protocol):
    """An objective -2 sum_j gain_j + ..., over points that begin with M rows."""

    def gains(self, x: Tensor) -> Tensor:
        """What each row gains on the target, E f times its node; (R, M)."""
        ...


def turned(objective: Gaining, points: Tensor, m: int, d: int) -> Tensor:
    """Starts (R, n) without rows that only shrink: those are replaced by their mirror image.

    A row of gain <= 0 lies in the basin of the zero row, unless the other rows push it out; with
    targets of both signs whole starts do, and in one dimension rows cannot turn away.  A single row
    is turned to its better side always: the best one is never on the worse side, as its mirror
    image would be better.
    """
    rows, rest = points[:, : m * d].reshape(-1, m, d), points[:, m * d :]
    mirrored = torch.cat([-points[:, : m * d], rest], 1)
    gain, other = objective.gains(points), objective.gains(mirrored)
    flip = (other > gain) & ((gain <= 0.0) | (m == 1))
    rows = torch.where(flip.unsqueeze(-1), -rows, rows)
    return torch.cat([rows.flatten(1), rest], 1)


def both_sides(starts: Tensor, n: int) -> Tensor:
    """In one dimension, rows on both sides by turns in the first two of each ``n`` starts.

    ``starts`` (R, M, d).  There rows never turn from one side to the other, and random ones may
    leave one side empty.
    """
    m, d = starts.shape[1:]
    if d > 1 or m == 1:
        return starts
    place, row = torch.arange(len(starts)) % n, torch.arange(m)
    side = 1.0 - 2.0 * ((place[:, None] + row) % 2).to(starts)
    ordered = starts.abs() * side.unsqueeze(-1)
    return torch.where((place < 2)[:, None, None], ordered, starts)


def chance_better(found: Agreement, n_converged: int) -> float | None:
    """Estimate of the chance that one more start ends below the best; None where none converged.

    1/((R + 1) k) of R converged starts, k of which share the best loss.  That the last of R + 1
    independent starts is the only best has a chance of at most 1/(R + 1) by symmetry, whatever the
    basins: this is k = 1.  The factor 1/k is no theorem: over 200 starts on each of 141 targets it
    was above the true chance by a factor of 1.5 or more at every R and k (seen).  No count of
    starts bounds a basin that is small enough.
    """
    return 1.0 / ((n_converged + 1) * found.n_agreeing) if n_converged else None


def enough(
    result: Result,
    found: Agreement,
    stake: float,
    loss_scale: float,
    patterns: Tensor | None = None,
) -> bool:
    """Whether the search ends; ``loss_scale``: the size of the loss, of which stakes are parts.

    ``patterns`` (R,): numbers of the restarts' sign patterns.  Minima of one pattern are compared:
    that another is worse was to be expected.  No start can gain more than the loss.  Where none
    converged, more of the same kind are no help.
    """
    good = result.converged
    chance = chance_better(found, int(good.sum()))
    if chance is None:
        return True
    kind = torch.zeros(len(good), dtype=torch.long) if patterns is None else patterns
    loss = result.loss.detach().cpu().double()
    spread = 0.0
    for one in kind[good].unique():
        mine = loss[good & (kind == one)]
        spread = max(spread, float(mine.max() - mine.min()))
    return chance * min(1.0, max(stake, spread / loss_scale)) <= WORTH
