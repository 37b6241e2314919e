"""Thresholds of rows that no search chose: draws of a seed, what lines tell each other."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad

from lawsweep.analysis.laws.threshold.model import CHANCES, Lattice
from lawsweep.analysis.laws.threshold.rows import edge_of_rows
from lawsweep.analysis.laws.threshold.seeds import SHARES, log_likelihoods


def falls(u, edge, s):
    return 1 / (1 + math.exp(min(max((u - edge) / s, -500), 500)))


def of_one_seed(lattice, told, m, s, c):
    """Its likelihood at m, s and c by its definition: quadrature over the seed's own edge."""

    def of_answers(edge, within):
        found = 1.0
        for place, yes in told:
            p = c + (1 - 2 * c) * falls(lattice.u[place], edge, within)
            found *= p if yes else 1 - p
        return found

    total = of_answers(m, s)  # independent answers
    for share in SHARES:
        between, within = s * math.sqrt(share), max(s * math.sqrt(1 - share), lattice.step / 4)

        def weighed(e, between=between, within=within):
            return of_answers(m + between * e, within) * falls(e, 0, 1) * (1 - falls(e, 0, 1))

        points = [(lattice.u[place] - m) / between for place, _ in told]
        points = [p for p in points if abs(p) < 30]
        total += quad(weighed, -30, 30, points=points, limit=400)[0]
    return total / (1 + len(SHARES))


def test_rows_of_a_seed_are_as_likely_as_an_edge_of_its_own_makes_them():
    lattice = Lattice((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    told = [(0, 1), (1, 1), (2, 0), (3, 1), (4, 0), (5, 0)]  # it flickers between 0.4 and 0.6
    places, happens = (np.array(v) for v in zip(*told, strict=True))
    found = log_likelihoods(lattice, np.full(6, 7), places, happens.astype(float))
    for i in (130, 250, 300):
        for j in (6, 11, 15):
            for k, c in enumerate(CHANCES):
                wanted = of_one_seed(lattice, told, lattice.m[i], lattice.s[j], c)
                # Nodes are a 256th apart: a step of the sharpest seed is rounded to one, some
                # tenths of a percent of the widths that are looked at.
                assert abs(found[i, j, k] - math.log(wanted)) < 0.02


def test_seeds_with_one_answer_each_are_independent_and_their_order_is_nothing():
    lattice, rng = Lattice(tuple(np.linspace(0, 1, 9))), np.random.default_rng(0)
    places, happens = rng.integers(9, size=30), rng.integers(2, size=30).astype(float)
    found = log_likelihoods(lattice, np.arange(30), places, happens)
    wanted = sum(
        lattice.log_likelihood(int(p), int(y), 1 - int(y))
        for p, y in zip(places, happens, strict=True)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    seeds, order = rng.integers(4, size=30), rng.permutation(30)
    a = log_likelihoods(lattice, seeds, places, happens)
    b = log_likelihoods(lattice, seeds[order], places[order], happens[order])
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


def lines(rng, share, n_lines, n_seeds, values, s):
    """Rows of lines whose seeds share ``share`` of the variance along them; the true edges."""
    edges = rng.uniform(0.3, 0.7, n_lines)
    own = rng.logistic(size=(n_lines, n_seeds)) * math.sqrt(share) * s
    at = np.broadcast_to(values, (n_lines, n_seeds, len(values)))
    z = at - edges[:, None, None] - own[:, :, None]
    p = 1 / (1 + np.exp(np.clip(z / max(s * math.sqrt(1 - share), 1e-9), -60, 60)))
    happens = (rng.random(p.shape) < p).astype(float)
    x, seeds, _ = np.indices(p.shape)
    return edges, x.ravel().astype(float), at.ravel(), happens.ravel(), seeds.ravel()


def test_an_interval_holds_where_rows_of_a_seed_fall_in_step():
    # 40 lines at 90 %, 4 sd of the binomial: 19 %.  (Seeded.)  As if independent, the same rows
    # give intervals that hold far less often.
    rng, values = np.random.default_rng(1), np.linspace(0, 1, 12)
    inside, naive = [], []
    for _ in range(4):
        edges, x, y, happens, seeds = lines(rng, 1.0, 10, 8, values, 0.1)
        for told, given in ((inside, seeds), (naive, None)):
            found = edge_of_rows(x, y, happens, 0.9, given)
            held = {int(f[0]): bool(f[2] <= edges[int(f[0])] <= f[3]) for f in found}
            told += [held.get(k, False) for k in range(10)]
    assert np.mean(inside) >= 0.9 - 4 * math.sqrt(0.09 / 40)
    assert np.mean(naive) < np.mean(inside)


def test_lines_that_say_little_of_their_width_learn_it_from_the_others():
    # Nine sharp lines with many places, and one with three places: alone it may be wide.
    x, y, happens = [], [], []
    for line in range(9):
        values = np.linspace(0, 1, 21)
        x += [float(line)] * 21
        y += values.tolist()
        happens += (values < 0.31 + 0.04 * line).astype(float).tolist()
    few = [(9.0, v, float(v < 0.5)) for v in (0.0, 0.45, 0.55, 1.0)]
    together = edge_of_rows(
        np.array(x + [f[0] for f in few]),
        np.array(y + [f[1] for f in few]),
        np.array(happens + [f[2] for f in few]),
    )
    (alone,) = edge_of_rows(*(np.array(v) for v in zip(*few, strict=True)))
    last = together[-1]
    assert last[0] == alone[0] == 9.0
    assert last[3] - last[2] < 0.7 * (alone[3] - alone[2])
    assert last[2] < 0.5 < last[3]
