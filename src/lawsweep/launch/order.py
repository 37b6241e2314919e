"""In which order runs are handed out."""

from __future__ import annotations

import math

import numpy as np

LONG_S = 1.0  # a run so long is a batch of its own
KIN_AT_FIRST, UNITS_AT_FIRST = 4, 6  # of fused runs: so many of each group, of so many groups


def longest_first(
    seconds: np.ndarray, kin: np.ndarray | None = None, kinds: np.ndarray | None = None
) -> np.ndarray:
    """Places by falling ``seconds`` (n,), so that no long run starts last; as they stand if equal.

    Those of one ``kin`` together; else those of one of ``kinds``, if they share batches.
    """
    order = np.argsort(-seconds, kind="stable")
    if kin is not None:
        return _together(kin, order)
    return order if kinds is None else _by_kind(kinds, seconds, order)


def all_over(n: int, share: float, kin: np.ndarray | None = None) -> np.ndarray:
    """Places of a share of ``n`` runs, from all over their order; the first of all is the first.

    One is drawn of each of as many stretches, and the stretches come in an order drawn too, so that
    no stride falls into step with an axis, and the first few are spread as the whole is.  Of runs
    that are fused (``kin``, neighbours) a few of each of some groups.
    """
    rng = np.random.default_rng(0)
    if kin is not None:
        starts = np.concatenate([[0], np.flatnonzero(np.diff(kin)) + 1, [n]])
        n_units = len(starts) - 1
        wanted = max(math.ceil(share * n / KIN_AT_FIRST), min(n_units, UNITS_AT_FIRST))
        units = _drawn(n_units, min(wanted, n_units), rng)
        ends = np.minimum(starts[units] + KIN_AT_FIRST, starts[units + 1])
        return np.concatenate([np.arange(starts[u], e) for u, e in zip(units, ends, strict=True)])
    return _drawn(n, math.ceil(share * n), rng)


def _drawn(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """``m`` of ``n`` places, one of each stretch; the first of all is place 0."""
    edges = np.linspace(0, n, m + 1).round().astype(np.int64)
    chosen = rng.integers(edges[:-1], edges[1:])
    chosen[0] = 0
    return np.concatenate([[0], rng.permutation(chosen[1:])]).astype(np.int64)


def _together(kin: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``order`` with the runs of each kin brought to where its first one stands."""
    _, group = np.unique(kin, return_inverse=True)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    first = np.full(group.max(initial=-1) + 1, len(order), dtype=np.int64)
    np.minimum.at(first, group, place)
    return np.lexsort((place, first[group]))


def _by_kind(kinds: np.ndarray, seconds: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``order`` (longest first) with the runs that share batches brought together by kind.

    Runs longer than a batch keep their places: moved behind another kind they might start last.
    """
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return np.lexsort((place, np.where(seconds > LONG_S, -1, kinds)))
