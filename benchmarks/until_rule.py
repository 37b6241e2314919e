"""The rule by which ``until`` of a straight law stops, over many replicates at once.

The same sums as the sampler's, a replicate a row of arrays, as far as its values of x stay the
coarse ones; those replicates whose rule may take in more are told apart, for the sampler itself.
``adaptive.py`` compares the two.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.special import fdtrc, stdtrit

from lawsweep.analysis.laws.straight import LACK
from lawsweep.sampling.adaptive.design import coarse_set
from lawsweep.sampling.adaptive.groups import BOUND_P, CONFIRM, DOUBT
from lawsweep.sampling.adaptive.intervals import GROWTH

FIRST = 6


@dataclass
class Stops:
    """Where each replicate stops, (n,) each: seeds, the slope's error and half width, seconds."""

    n_seeds: np.ndarray
    error: np.ndarray
    half: np.ndarray
    seconds: np.ndarray
    left: np.ndarray  # true: not decided here

    def put(self, k: int, seconds: float, error: float, half: float, n_seeds: float) -> None:
        """Replicate ``k`` as the sampler decided it."""
        self.seconds[k], self.error[k], self.half[k], self.n_seeds[k] = (
            seconds,
            error,
            half,
            n_seeds,
        )

    def check(self, k: int, *told: float) -> None:
        """Raise where the sampler decided replicate ``k`` otherwise."""
        ours = (self.seconds[k], self.error[k], self.half[k], self.n_seeds[k])
        if not np.allclose(ours, told, rtol=1e-9, atol=1e-9):
            raise RuntimeError(f"Replicate {k}: the rule has {ours}, the sampler {told}. Mend one.")


def joined(parts: Sequence[Stops]) -> Stops:
    """All replicates of some parts."""
    return Stops(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Stops))
    )


class Table:
    """Running sums of noise ``y`` (n_replicates, n_seeds, n_values) at some values of x."""

    def __init__(self, v: np.ndarray, y: np.ndarray, level: float = 0.95):
        m = len(v)
        design = np.stack([np.ones(m), v], axis=1)
        a = np.linalg.pinv(design)[1]
        left = np.linalg.svd(design, full_matrices=True)[0][:, 2:]
        self.q, self.square = m - 2, float(a @ a)
        self.cap = y.shape[1]
        n = np.arange(1.0, self.cap + 1)
        slopes, r = y @ a, y @ left
        self.mean = np.cumsum(slopes, axis=1) / n
        squares = np.cumsum(slopes**2, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.var = np.maximum(squares - n * self.mean**2, 0) / (n - 1)
        self._r = np.cumsum(r, axis=1) / n[:, None]
        self._outer = np.cumsum(np.einsum("rsi,rsj->rsij", r, r), axis=1)
        p = (1 + level) / 2
        self.t = np.concatenate([[np.inf], stdtrit(n[1:] - 1, p)])
        self.per_root = self.t / np.sqrt(n)
        self.t_scatter = float(stdtrit(float(self.q), p))

    def at(self, rows: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, ...]:
        """Variances of slope and residual, squared residual of the means, and p of the scatter."""
        r = self._r[rows, n - 1]
        c = (self._outer[rows, n - 1] - n[:, None, None] * np.einsum("ri,rj->rij", r, r)) / (n - 1)[
            :, None, None
        ]
        trace, squares = np.einsum("rii->r", c), np.sum(c * c, axis=(1, 2))
        found = np.sum(r**2, axis=1)
        own = (n - 1) ** 2 / ((n - 2) * (n + 1)) * (squares - trace**2 / (n - 1))
        e = np.where(
            own > 0, (trace**2 - 2 * own / (n - 1)) / (self.q * np.where(own > 0, own, 1.0)), 1.0
        )
        dof = self.q * np.clip(e, 1 / self.q, 1.0)
        p = fdtrc(dof, dof * (n - 1), n * found / trace)
        return self.var[rows, n - 1], trace / self.q, found, p


def needed(table: Table, n: np.ndarray, sd: np.ndarray, target: float, scatter: Any = 0.0) -> Any:
    """Seeds, ``n`` or more, at which ``sd`` is enough; the cap + 1 where none are."""
    sizes = np.arange(1.0, table.cap + 1)
    half = np.maximum(table.per_root * sd[:, None], np.reshape(scatter, (-1, 1)) / np.sqrt(sizes))
    good = (half <= target) & (sizes >= n[:, None])
    return np.where(good.any(axis=1), good.argmax(axis=1) + 1, table.cap + 1)


def stops(
    v: np.ndarray, y: np.ndarray, seconds: np.ndarray, target: float,
    *, keep: int = 5, wider: bool = False,
) -> Stops:  # fmt: skip
    """Where the rule stops on noise ``y`` (n_replicates, n_seeds, n_values) of values ``v``."""
    chosen = coarse_set(v, seconds, keep)
    others = [i for i in range(len(v)) if i not in chosen]
    more = [
        sorted([*chosen, *some])
        for k in range(1, len(others) + 1)
        for some in itertools.combinations(others, k)
    ]
    costs = np.array([float(seconds[at].sum()) for at in more])
    spread = np.array([1 / np.sum((v[at] - v[at].mean()) ** 2) for at in more])
    table, price = Table(v[chosen], y[:, :, chosen]), float(seconds[chosen].sum())
    size = len(y)
    n = np.full(size, FIRST)
    confirming, left, done = (np.zeros(size, dtype=bool) for _ in range(3))
    ends = np.full(size, np.nan)
    while not done.all():
        rows = np.flatnonzero(~done)
        at = n[rows]
        var, own, found, p = table.at(rows, at)
        scatter = table.t_scatter * np.sqrt(found / table.q * table.square)
        half = table.t[at - 1] * np.sqrt(var / at)
        half = np.where((p >= LACK) & (not wider), half, np.maximum(half, scatter))
        narrow, full = half <= target, at >= table.cap
        stop = (narrow & confirming[rows]) | full
        ends[rows[stop]] = half[stop]
        # What the sampler's design would make of it.
        of_own = own * table.square
        shared, share = np.maximum(0, var - of_own), np.minimum(1, var / of_own)
        scatters = table.t_scatter * np.sqrt(of_own) if wider else 0.0
        goal = needed(table, at, np.sqrt(shared + share * of_own), target, scatters)
        seconds_here = np.where(goal > table.cap, np.inf, goal * price)
        away = ~narrow & ~stop & ((p < BOUND_P) | (wider & (p < LACK)))
        for cost, square in zip(costs, spread, strict=True):
            sd = np.sqrt(shared + share * own * square)
            there = needed(table, at, sd, target)
            away |= ~narrow & ~stop & (there <= table.cap) & (there * cost < seconds_here)
        left[rows[away]] = True
        goal = (
            np.where(p < LACK, np.maximum(goal, np.ceil(DOUBT * at)), goal) if not wider else goal
        )
        goal = np.minimum(np.ceil(GROWTH * at), np.maximum(at + 1, goal))
        goal = np.where(narrow, at + CONFIRM, goal)
        done[rows[stop | away]] = True
        confirming[rows] = narrow
        n[rows] = np.where(stop | away, at, np.minimum(goal, table.cap)).astype(int)
    every = np.arange(size)
    return Stops(n, table.mean[every, n - 1], ends, n * price, left)
