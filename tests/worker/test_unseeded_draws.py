# ruff: noqa: NPY002  (what is looked for)
"""A run that draws from a global generator says so, unless it seeded it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest

import lawsweep
from lawsweep import Sweep, experiment
from lawsweep.core.outcome import RunSpec
from lawsweep.core.registry import experiment_names, find_experiment
from lawsweep.launch.report import UnseededDrawsWarning
from lawsweep.worker import random_state
from lawsweep.worker.execute import execute_group, execute_run


@dataclass(frozen=True, kw_only=True)
class Params:
    how: str


@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float


def _torch(seed, n=0):
    import torch

    if seed is not None:
        torch.manual_seed(seed)
    return torch.randn(3 + n)[0].item()


def _of_own(seed):
    state = np.random.RandomState(seed)
    return state.rand() + np.random.default_rng(seed).random() + random.Random(seed).random()


def _seed_late(seed):
    random.random()
    random.seed(seed)
    return random.random()


def _shuffled():
    found = list(range(2000))
    random.shuffle(found)
    return found[0]


HOW = {
    "nothing": lambda seed: 1.0,
    "of its own": _of_own,
    "stream": lambda seed: lawsweep.stream(seed, "x").random(),
    "random": lambda seed: random.random(),
    "gauss": lambda seed: random.gauss(0, 1),
    "shuffle": lambda seed: _shuffled(),
    "many": lambda seed: [random.random() for _ in range(40_000)][-1],
    "numpy": lambda seed: np.random.rand(),
    "many of numpy": lambda seed: np.random.standard_normal(10**5)[0],
    "torch": lambda seed: _torch(None),
    "all": lambda seed: random.random() + np.random.rand() + _torch(None),
    "random seeded": lambda seed: (random.seed(seed), random.random())[1],
    "random seeded late": _seed_late,
    "numpy seeded": lambda seed: (np.random.seed(seed), np.random.rand())[1],
    "numpy seeded by a list": lambda seed: (np.random.seed([seed, 1]), np.random.rand())[1],
    "numpy set": lambda seed: (
        np.random.set_state(np.random.RandomState(seed).get_state()), np.random.rand()
    )[1],
    "torch seeded": _torch,
    "torch seeded as a kernel": lambda seed: _torch(seed, 1000),
}  # fmt: skip
DREW = {
    "random": "random", "gauss": "random", "shuffle": "random", "many": "random",
    "numpy": "numpy.random", "many of numpy": "numpy.random", "torch": "torch",
    "all": "random, numpy.random, torch",
}  # fmt: skip


def _all_at_once(params, seeds, device):
    return [Metrics(y=float(HOW[p.how](s))) for p, s in zip(params, seeds, strict=True)]


@experiment(version=1, fused=_all_at_once, fuse_over=("how",))
def drawing(params: Params, seed: int) -> Metrics:
    return Metrics(y=float(HOW[params.how](seed)))


@pytest.fixture(scope="module", autouse=True)
def torch_is_loaded():
    pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def nothing_was_looked_for_in_vain(monkeypatch):
    """How far ahead is looked depends on the runs that this process has seen."""
    for orbit in (random_state._pythons_orbit, random_state._numpys_orbit):
        monkeypatch.setattr(orbit, "_most", orbit.FAR)


@pytest.mark.parametrize("how", HOW)
def test_what_was_drawn_from_unseeded_stands_in_the_row(how):
    for seed in (3, 4):  # as often as it is asked
        outcome = execute_run(drawing, RunSpec(0, "id", {"how": how}, seed))
        assert outcome.unseeded_draws == DREW.get(how), how
        assert outcome.status == "ok"


def test_after_runs_that_seed_others_are_told_of_still():
    for _ in range(40):  # so often that nobody looks far ahead any more
        execute_run(drawing, RunSpec(0, "id", {"how": "random seeded"}, 5))
    for how in ("random", "many of numpy", "gauss"):
        outcome = execute_run(drawing, RunSpec(0, "id", {"how": how}, 5))
        assert outcome.unseeded_draws == DREW[how]


def test_a_fused_group_and_a_failure_say_it_too():
    runs = [RunSpec(i, f"{i}", {"how": how}, 1) for i, how in enumerate(("nothing", "numpy"))]
    assert [o.unseeded_draws for o in execute_group(drawing, runs)] == ["numpy.random"] * 2
    outcome = execute_run(drawing, RunSpec(0, "id", {"how": "no such"}, 1))
    assert (outcome.status, outcome.unseeded_draws) == ("failed", None)


def test_a_seed_that_is_the_fixed_one_is_a_seed():
    state = random_state.save()
    try:
        random_state.reset()
        for seed in (random.seed, np.random.seed):
            seed(random_state.SEED)
            assert random_state.reset() == ()
    finally:
        random_state.give_back(state)


def swept(*how):
    return Sweep(
        name="drawing", experiment=drawing, axes={"how": list(how)}, seeds=2,
        executor={"kind": "serial", "fuse": False},
    )  # fmt: skip


def test_a_launch_says_it_once_and_its_rows_do(folder):
    random.seed(1)
    random.random()  # the caller's own draws are no run's
    words = (
        "drawing drew from the global generator of numpy.random, random without seeding it, in 4 "
        "of 6 runs: these numbers are the same in every run, whatever its seed"
    )
    with pytest.warns(UnseededDrawsWarning, match=words) as told:
        report = lawsweep.run(swept("random", "numpy", "nothing"))
    assert len(told) == 1
    assert str(told[0].message) in report.notes
    rows = lawsweep.load(swept("random", "numpy", "nothing"))
    said = dict(zip(rows["how"], rows["unseeded_draws"].fillna("").tolist(), strict=True))
    assert said == {"random": "random", "numpy": "numpy.random", "nothing": ""}
    assert lawsweep.run(swept("random seeded", "torch seeded", "stream")).notes == ()


SMALL = {
    "ntk_min_eig": {
        "n_samples": 10, "input_dim": 4, "width": 6, "depth": 2, "activation": "relu",
    },
    "compression": {"input_dim": 4, "n_target": 3, "n_compressed": 2},
    "memorization": {"n_samples": 10, "input_dim": 4, "width": 6},
    "ntk_memorization": {"n_samples": 10, "input_dim": 4, "width": 6},
}  # fmt: skip


def test_our_own_experiments_draw_from_streams_alone():
    assert set(SMALL) == set(experiment_names())
    for name, params in SMALL.items():
        outcome = execute_run(find_experiment(name), RunSpec(0, "id", params, 3))
        assert (outcome.status, outcome.unseeded_draws) == ("ok", None), (name, outcome.error)


def test_what_others_draw_beside_runs_is_not_said_to_be_a_run_s():
    def draws_of(how):
        return execute_run(drawing, RunSpec(0, "id", {"how": how}, 3)).unseeded_draws

    with random_state.beside():  # a sink of a launch whose runs are in this process
        assert draws_of("random") is None
    assert draws_of("random") == "random"
    state = random_state.save()
    try:
        with random_state.beside():
            random_state.reset()  # a run begins while it is at work
        random.random()
        assert random_state.reset() == ()
        random.random()
        assert random_state.reset() == ("random",)
    finally:
        random_state.give_back(state)
