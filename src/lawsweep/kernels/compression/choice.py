"""Which solver suits a target, and how many restarts: from the sizes alone.

No torch, so that planning may ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

# Up to so many unknowns a dense Hessian and its eigenvectors cost less than products with it.
DENSE_UNKNOWNS = 800
# With many target rows more unknowns pay: up to MOST_DENSE (memory), where a Hessian, 2 N d^2 M,
# and its eigenvectors, some 10 (M d)^3, are fewer flops than CG_PRODUCTS products, 8 N M d each.
# Along soft valleys conjugate gradients take hundreds of products a step.
MOST_DENSE, CG_PRODUCTS = 2000, 100


def dense_pays(n: Any, m: Any, d: Any) -> Any:
    """Whether dense Hessians suit M rows in R^d and N = ``n`` target rows; arrays or numbers."""
    unknowns = 1.0 * m * d
    dense = 2.0 * n * d * unknowns + 10.0 * unknowns**3
    many = (unknowns <= MOST_DENSE) & (dense <= CG_PRODUCTS * 8.0 * n * unknowns)
    return (unknowns <= DENSE_UNKNOWNS) | many


# Restarts are added until one more is not worth its price (``search.py``): until what it may be
# expected to gain is below WORTH of the loss.  They are looked at when there are so many of them.
LADDER = (3, 6, 12, 24, 48)
WORTH = 5e-4
PRIOR, CROWDED = 0.3, 0.03


def prior_stake(m: Any, d: Any, n: Any, both_signs: Any = False) -> Any:
    """The part of the loss that a missed minimum may cost, before any was found; or arrays.

    0.3 ((M-1)/d)^2 d/N, and 0.03 more past M = d + 1, where minima coexist at any N; M <= 2 and
    outputs of one sign had one minimum only.  Fitted by eye to 3 starts against 30 on 592 targets
    (d = 2 to 12, N/d = 1 to 32, M = 3 to 8): the losses missed fall from tens of percent at M > d
    to below 0.1 % at M <= d/2, N >= 8 d.

    ``n``: target nodes N, inf where directions are averaged; ``both_signs``: of the outputs.
    """
    wide = np.maximum(m - 1, np.where(both_signs, 1, 0)) / d
    stake = PRIOR * wide**2 * d / n + np.where(np.greater(m, d + 1), CROWDED, 0.0)
    return np.where(np.greater(m, 2) | np.asarray(both_signs), stake, 0.0)


def likely_restarts(stake: Any) -> Any:
    """How many restarts a run of this prior stake takes, if half of them find the best."""
    return np.clip(np.sqrt(2.0 * np.asarray(stake) / WORTH), LADDER[0], LADDER[-1])


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
