"""How many restarts are enough: by risk, adaptively, and the same for the same run.

Restarts are looked at when there are as many as LADDER says; the search ends when what one more
start may be expected to gain is small,

    chance_better * stake <= WORTH,

or after all of them.  ``chance_better`` is read off the minima found so far.  ``stake``, the part
of the loss that a missed minimum may cost, is the larger of what was seen (how far the minima found
lie apart) and of ``compression_choice.prior_stake``: a few starts that agree have seen nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from lawsweep.kernels.compression.choice import LADDER, WORTH
from lawsweep.kernels.optimise.minimise import Agreement, Result


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


def joined(parts: list[Result]) -> Result:
    """The restarts of several batches as one result, in order."""
    if len(parts) == 1:
        return parts[0]
    return Result(
        x=torch.cat([p.x for p in parts]),
        loss=torch.cat([p.loss for p in parts]),
        grad_norm=torch.cat([p.grad_norm for p in parts]),
        n_iterations=torch.cat([p.n_iterations for p in parts]),
        reason=tuple(r for p in parts for r in p.reason),
        curvature_min=torch.cat([p.curvature_min for p in parts]),
    )


def split(result: Result, counts: list[int]) -> list[Result]:
    """A result of several runs' restarts, run by run."""
    parts, end = [], 0
    for count in counts:
        part = slice(end, end := end + count)
        parts.append(result.part(part))
    return parts


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


def sizes(fixed: int | None, stake: float) -> Iterator[int]:
    """The batches of a run, each of so many restarts (of each sign pattern); ``fixed``: just one.

    The first is as large as has to be before ``enough`` can hold, if all agree.
    """
    if fixed is not None:
        yield fixed
        return
    made = 0
    for rung in LADDER:
        if made or stake <= WORTH * rung * (rung + 1) or rung == LADDER[-1]:
            yield rung - made
            made = rung


def by_risk(
    plans: Sequence[Iterator[int]],
    batch: Callable[[list[int], int], None],
    done: Callable[[int], bool],
) -> None:
    """Run the batches of several runs, whose ``sizes`` are ``plans``, until each is ``done``.

    ``batch(runs, size)`` makes ``size`` restarts of those runs, together.
    """
    live = list(range(len(plans)))
    while live:
        asked = [(i, next(plans[i], None)) for i in live]
        for size in sorted({size for _, size in asked if size is not None}):
            batch([i for i, own in asked if own == size], size)
        live = [i for i, size in asked if size is not None and not done(i)]
