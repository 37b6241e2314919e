"""Cells of a search that learn widths and lapses from one another, whatever the order."""

from __future__ import annotations

import math

import numpy as np
from search_toys import memory

from lawsweep.analysis.laws.threshold.model import CHANCES, Lattice, Posterior
from lawsweep.analysis.laws.threshold.pooling import pooled_priors
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import make_plan
from lawsweep.sampling.threshold.cell_search import PILOT_RUNS
from lawsweep.sampling.threshold.options import ThresholdOptions
from lawsweep.sampling.threshold.sampler import ThresholdSearch

PLAN = make_plan(
    memory,
    axes={"d": [20, 30, 40], "ratio": "logspace(0.3, 1.5, 40)"},
    derive={"n": "round(ratio * d**2)"},
    seeds=40,
)


def answer(run, status="ok"):
    params, seed = PLAN.params_of(run), PLAN.seed_of(run)
    draw = np.random.default_rng([int(params["n"]), int(seed)]).random()
    u = math.log(params["n"] / (0.7 * params["d"] ** 2))
    return Outcome(run, status, {"loss": 0.0 if draw < 1 / (1 + math.exp(u / 0.03)) else 9.0})


def walk(order, known=None, **given):
    options = ThresholdOptions("n", "loss < 1", **{"tolerance": 0.1, "max_runs": 30, **given})
    search = ThresholdSearch(PLAN, options, known)
    while wanted := search.wanted():
        search.tell(answer(order(wanted)))
    return search


def test_the_runs_that_are_asked_for_know_no_order():
    rng = np.random.default_rng(0)
    first = walk(lambda wanted: wanted[0])
    assert {s.state for s in first.searches} == {"resolved"}
    for order in (lambda w: w[-1], lambda w: w[rng.integers(len(w))]):
        other = walk(order)
        assert other.asked() == first.asked()
        assert other.results() == first.results()
    # Nor does it matter what of them the table holds already, or holds besides.
    done = [*first.asked()[::3], *range(0, len(PLAN), 57)]
    known = {run: ("ok", answer(run).metrics) for run in done}
    assert walk(lambda w: w[0], known).results() == first.results()


def test_cells_wait_once_for_the_pilot_of_all_and_go_on_with_what_it_says():
    options = ThresholdOptions("n", "loss < 1", tolerance=0.02, max_runs=30)
    search = ThresholdSearch(PLAN, options)
    n_seeds = len(PLAN.seeds)
    own = [set(cell.points) for cell in search.cells]
    while mine := [r for r in search.wanted() if r // n_seeds not in own[2]]:
        search.tell(answer(mine[0]))
    assert [len(s.asked) for s in search.searches] == [PILOT_RUNS, PILOT_RUNS, 4]
    assert [s.state for s in search.searches] == ["open"] * 3
    while len(search.searches[2].asked) <= PILOT_RUNS and search.wanted():
        search.tell(answer(search.wanted()[0]))
    assert not any(s.waiting for s in search.searches)
    assert min(len(s.asked) for s in search.searches) > PILOT_RUNS
    # And again where it has doubled.
    while mine := [r for r in search.wanted() if r // n_seeds not in own[2]]:
        search.tell(answer(mine[0]))
    ahead = [s for s in search.searches[:2] if s.state == "open"]
    assert ahead
    assert {(s.waiting, len(s.asked)) for s in ahead} == {(True, 2 * PILOT_RUNS)}


def test_a_tolerance_changes_how_far_cells_go_and_not_the_way():
    loose, tight = (walk(lambda w: w[0], tolerance=t) for t in (0.2, 0.03))
    for a, b in zip(loose.searches, tight.searches, strict=True):
        assert b.asked[: len(a.asked)] == a.asked
    assert loose.n_asked < tight.n_asked


def test_a_cell_s_prior_is_what_the_others_say():
    values = tuple(np.geomspace(500, 5000, 60))
    lattice = Lattice(values)
    # Sharp cells, by hand: a step between two neighbours of the axis, without an exception.
    sharp = Posterior(lattice)
    sharp.add({20: (4, 0), 28: (4, 0), 29: (4, 0), 30: (0, 4), 31: (0, 4), 40: (0, 4)})
    wide = Posterior(lattice)
    wide.add(dict.fromkeys((20, 25, 30, 35), (2, 2)))
    evidences = [sharp.log_evidences] * 6 + [wide.log_evidences]
    *of_sharp, of_wide = (p.prior for p in pooled_priors([lattice] * 7, evidences))
    for prior in (*of_sharp, of_wide):
        assert prior.shape == (len(lattice.s), len(CHANCES))
        assert abs(prior.sum() - 1) < 1e-12
    # The wide cell's own answers are no part of its prior: six sharp ones are.
    narrow = lattice.s < 0.05
    assert of_wide[narrow].sum() > of_sharp[0][narrow].sum()
    assert of_wide[narrow].sum() > 1.5 * narrow.mean()
    # Two cells that say nothing leave the other's prior symmetric in nothing but ignorance.
    (alone,) = pooled_priors([lattice], [sharp.log_evidences])
    none, _ = pooled_priors([lattice] * 2, [sharp.log_evidences, np.zeros_like(alone.prior)])
    np.testing.assert_allclose(none.prior, alone.prior, rtol=0, atol=1e-9)


def test_cells_may_be_alike_until_their_answers_speak_against_it():
    lattice = Lattice(tuple(np.linspace(0, 1, 60)))
    u, draws = lattice.u, 40

    def told(s):
        posterior = Posterior(lattice)
        share = 1 / (1 + np.exp(np.clip((u[::3] - 0.5) / s, -60, 60)))
        yes = np.round(draws * share).astype(int).tolist()
        posterior.add({3 * i: (n, draws - n) for i, n in enumerate(yes)})
        return posterior.log_evidences

    alike = pooled_priors([lattice] * 8, [told(0.03)] * 8)
    unlike = pooled_priors([lattice] * 8, [told(s) for s in (0.01, 0.03, 0.1, 0.3)] * 2)
    assert all(p.alike is not None for p in alike)
    assert all(p.alike is None for p in unlike)
    # Where it stands, it is the narrower: all its mass is about the width of the others.
    for p in alike:
        assert abs(p.alike.sum() - 1) < 1e-9
        near = abs(np.log(lattice.s / 0.03)) < 0.5
        assert p.alike[near].sum() > 0.9
        assert p.alike[near].sum() > p.prior[near].sum()
