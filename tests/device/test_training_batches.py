"""A batch of training on a device: rows of the CPU, no word between looks, one graph a step."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from card_graph import with_graphs
from card_memory import Held
from pretending import Card

from lawsweep.core.registry import find_experiment
from lawsweep.experiments.memorization import run as rows_of
from lawsweep.experiments.memorization.held import run_bytes
from lawsweep.kernels.activations import activation
from lawsweep.kernels.base.replay import CALLED_FIRST, Replayed, without_graphs
from lawsweep.kernels.training.train import train

memorization = find_experiment("memorization")
RATES = (1e-3, 3e-3, 0.02, 0.1)


def params(**given):
    point = {"n_samples": 23, "input_dim": 7, "width": 5, "depth": 3, "max_steps": 24, **given}
    return memorization.params_type(**point)


def assert_same(here, there, rel=1e-9):
    for f in dataclasses.fields(here):
        a, b = getattr(here, f.name), getattr(there, f.name)
        if isinstance(a, (float, tuple, np.ndarray)):
            np.testing.assert_allclose(b, a, rel, 1e-300, err_msg=f.name)
        else:
            assert a == b, f.name


MIXED = {
    "rates of Adam": [{"learning_rate": r, "activation": "tanh"} for r in RATES],
    "one diverges": [
        {"optimizer": "gd", "activation": "linear", "learning_rate": r} for r in (1e-3, 1e6, 1e-2)
    ],
    "data, targets and how a row is read": [
        {"data": "sphere", "targets": "signs", "learning_rate": 0.01},
        {"memorized_below": 10.0, "keep_curve": True},
        {"targets": "gaussian", "target_loss": 1e3},  # ends at once
        {"data": "rademacher", "learning_rate": 0.05, "target_loss": 0.9},
    ],
    "ends at different looks": [
        {"max_steps": 320, "learning_rate": r, "stop_rule": "checks"} for r in (1e-3, 0.3, 2.0, 5.0)
    ],
    "classes": [
        {"targets": "classes", "n_classes": 3, "loss": "logistic", "learning_rate": r}
        for r in (1e-3, 1e-2)
    ],
    "one run": [{"optimizer": "gd", "schedule": "cosine", "width": 1}],
}


@pytest.mark.parametrize("name", MIXED)
def test_a_mixed_batch_is_the_rows_of_each_alone(name):
    given = [params(**p) for p in MIXED[name]]
    seeds = list(range(3, 3 + len(given)))
    alone = [memorization.function(p, s, "cpu") for p, s in zip(given, seeds, strict=True)]
    here = memorization.fused(given, seeds, "cpu")
    with Card() as card:
        there = memorization.fused(given, seeds, "cuda:0")
    assert card.memory.peak > 0
    for one, fused, on_card in zip(alone, here, there, strict=True):
        rel = 1e-9 if one.n_steps <= 24 else 1e-6  # long training amplifies rounding
        assert_same(one, fused, rel)
        assert_same(one, on_card, rel)
    if name == "one diverges":
        assert [m.stop_reason for m in there] == ["max_steps", "diverged", "max_steps"]
        assert not math.isfinite(there[1].final_loss)
    if name == "ends at different looks":
        assert len({m.n_steps for m in there}) > 1


def test_all_of_a_batch_is_one_training(monkeypatch):
    given, sizes = [params(learning_rate=r) for r in RATES for _ in range(5)], []

    def counted(runs, device, group=rows_of.group):
        sizes.append(len(runs))
        return group(runs, device)

    monkeypatch.setattr(rows_of, "group", counted)
    with Card():
        memorization.fused(given, list(range(5)) * 4, "cuda:0")
    assert sizes == [20]


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_what_cannot_be_drawn_or_trained_costs_the_others_nothing(device, monkeypatch):
    real = rows_of.draw

    def odd(p, seed, where):
        if seed == 1:
            raise OSError("the disk is gone")
        one = real(p, seed, where)
        if seed == 3:
            (one.x[:, 1] if device == "cpu" else one.y)[2] = math.nan
        return one

    given, seeds = [params(learning_rate=r) for r in RATES], [0, 1, 3, 4]
    monkeypatch.setattr(rows_of, "draw", odd)
    with Card():
        found = memorization.fused(given, seeds, device)
        for p, seed, one in zip(given, seeds, found, strict=True):
            if isinstance(one, Exception):
                with pytest.raises(type(one)) as alone:
                    memorization.function(p, seed, device)
                assert str(alone.value) == str(one)
            else:
                assert_same(memorization.function(p, seed, device), one)
    assert [type(one).__name__ for one in found] == ["Metrics", "OSError", "ValueError", "Metrics"]
    assert "finite" in str(found[2])


# -- memory

HELD = {
    "narrow": {"n_samples": 200, "input_dim": 20, "width": 20, "depth": 4},
    "written out": {"n_samples": 150, "input_dim": 9, "width": 21, "activation": "gelu"},
    "data": {"n_samples": 300, "input_dim": 60, "width": 4, "depth": 2, "optimizer": "gd"},
    "weights": {"n_samples": 11, "input_dim": 60, "width": 60, "depth": 4},
    "single": {"n_samples": 120, "input_dim": 17, "width": 30, "dtype": "float32"},
    "outputs": {"n_samples": 90, "targets": "classes", "n_classes": 9, "loss": "logistic"},
}


@pytest.mark.parametrize("name", HELD)
def test_the_memory_model_is_what_is_held_and_at_most_twice_that(name):
    """Alone and in a batch on a card; in a batch on the CPU, whose features are shared, no less."""
    point = params(**HELD[name], max_steps=3)
    model, slack = float(run_bytes(point)), 4000  # small things, once a batch
    held, n = Held(), 6
    with held:
        memorization.function(point, 0, "cpu")
    assert held.memory.peak - slack <= model <= 2.0 * held.memory.peak
    given = [dataclasses.replace(point, learning_rate=1e-3 * (k + 1)) for k in range(n)]
    batch = Held()
    with batch:
        memorization.fused(given, list(range(n)), "cpu")
    assert batch.memory.peak - slack <= n * model
    with Card() as card:
        memorization.fused(given, list(range(n)), "cuda:0")
    assert card.memory.peak - slack <= n * model <= 2.0 * card.memory.peak


def test_a_batch_that_shrinks_keeps_to_the_model():
    given = [
        params(**HELD["narrow"], max_steps=310, stop_rule="checks", learning_rate=r)
        for r in (1e-3, 1e-3, 0.3, 1.0, 3.0, 5.0)
    ]
    model = 6 * float(run_bytes(given[0]))
    held = Held()
    with held:
        found = memorization.fused(given, [1] * 6, "cpu")
    assert len({m.n_steps for m in found}) > 1
    with Card() as card:
        memorization.fused(given, [1] * 6, "cuda:0")
    assert held.memory.peak <= model
    assert card.memory.peak <= model


def test_a_small_card_takes_several_batches_and_a_smaller_one_halves(monkeypatch):
    given = [params(learning_rate=r) for r in RATES for _ in range(4)]
    seeds, sizes = list(range(16)), []
    here = memorization.fused(given, seeds, "cpu")

    def counted(runs, device, group=rows_of.group):
        sizes.append(len(runs))
        return group(runs, device)

    monkeypatch.setattr(rows_of, "group", counted)
    a_run = float(run_bytes(given[0]))
    with Card(memory_bytes=int(5.5 * a_run / 0.7)) as card:
        for one, other in zip(here, memorization.fused(given, seeds, "cuda:0"), strict=True):
            assert_same(one, other)
    assert sizes == [5, 5, 5, 1]
    assert card.memory.refused == 0
    sizes.clear()
    # Somebody else takes most of what was free when it was asked for.
    monkeypatch.setattr("lawsweep.experiments.batches.free_bytes", lambda device: 100 * a_run)
    with Card(memory_bytes=int(5.5 * a_run)) as card:
        for one, other in zip(here, memorization.fused(given, seeds, "cuda:0"), strict=True):
            assert_same(one, other)
    assert sizes[:4] == [16, 8, 4, 4]
    assert card.memory.refused > 0
    with Card(memory_bytes=1000):
        found = memorization.fused(given[:2], [0, 1], "cuda:0")
        with pytest.raises(torch.OutOfMemoryError):
            memorization.function(given[0], 0, "cuda:0")
    assert [type(one) for one in found] == [torch.OutOfMemoryError] * 2


# -- one step

STEPS = [
    (act, method, loss, rates)
    for act, method, loss in (
        ("relu", "adam", "squared"),
        ("tanh", "adam", "logistic"),
        ("gelu", "gd", "squared"),
    )
    for rates in (2e-3, [1e-3, 5e-3, 0.02, 0.05, 0.1])
]


def problem(n_seeds=5, n=17, d=6, width=9):
    draw = np.random.default_rng(0).standard_normal
    x = torch.from_numpy(draw((n_seeds, n, d)))
    y = torch.from_numpy(np.sign(draw((n_seeds, n))))
    shapes = [(n_seeds, d, width), (n_seeds, width, width), (n_seeds, width, 1)]
    return x, y, [torch.from_numpy(draw(s) / s[1] ** 0.5) for s in shapes]


def trained(card, act, method, loss, rates, **settings):
    x, y, weights = problem()
    with card.counting() as counts:
        found = train(
            x.to("cuda"),
            y.to("cuda"),
            [w.to("cuda") for w in weights],
            activation(act),
            learning_rate=rates,
            optimizer=method,
            loss=loss,
            **{"stop_rule": "none", "schedule": "cosine", **settings},
        )
    return found, counts


def same(one, other):
    for f in dataclasses.fields(one):
        a, b = getattr(one, f.name), getattr(other, f.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=f.name)
    assert all(
        torch.equal(a.cpu(), b.cpu()) for a, b in zip(one.weights, other.weights, strict=True)
    )


@pytest.mark.parametrize(("act", "method", "loss", "rates"), STEPS)
def test_a_step_can_be_recorded_and_replayed_to_the_bit(act, method, loss, rates, monkeypatch):
    settings = {"max_steps": 107}
    with Card() as card:
        called, _ = trained(card, act, method, loss, rates, **settings)
        graphs = with_graphs(card, monkeypatch)
        replayed, _ = trained(card, act, method, loss, rates, **settings)
        (graph,) = graphs
    assert (called.stepped, replayed.stepped) == ("calls", "graph")
    assert graph.n_replays == 107 - CALLED_FIRST
    same(called, replayed)


def test_graphs_can_be_left_out(monkeypatch):
    with Card() as card:
        graphs = with_graphs(card, monkeypatch)
        with without_graphs():
            off, _ = trained(card, *STEPS[0], max_steps=5)
        monkeypatch.setenv("LAWSWEEP_CUDA_GRAPHS", "0")
        trained(card, *STEPS[0], max_steps=5)
    assert off.stepped == "calls"
    assert graphs == []


def test_a_batch_of_half_is_recorded_anew(monkeypatch):
    with Card() as card:
        whole, _ = trained(card, "relu", "gd", "squared", 2e-3, max_steps=100)
        ends = [1.001 * loss if k < 3 else 0.0 for k, loss in enumerate(whole.final_loss)]
        settings = {"max_steps": 140, "schedule": "constant", "target_loss": ends}
        called, _ = trained(card, "relu", "gd", "squared", 2e-3, **settings)
        graphs = with_graphs(card, monkeypatch)
        replayed, _ = trained(card, "relu", "gd", "squared", 2e-3, **settings)
    assert called.n_steps.tolist() == [100, 100, 100, 140, 140]
    assert [g.n_replays for g in graphs] == [100 - CALLED_FIRST, 40 - CALLED_FIRST]
    same(called, replayed)


@pytest.mark.parametrize(("act", "method", "loss", "rates"), STEPS)
def test_a_step_says_and_asks_nothing_and_its_operations_are_few(act, method, loss, rates):
    with Card() as card:
        (_, few), (_, many) = (
            trained(card, act, method, loss, rates, max_steps=n) for n in (10, 110)
        )
    # A window's one look and its numbers; no step has any of its own.
    assert many.reads.total() - few.reads.total() == 1
    assert many.uploads.total() - few.uploads.total() == 1
    assert many.waits.total() == few.waits.total() == 0
    operations = (many.operations.total() - few.operations.total()) / 100
    assert operations <= (40 if act == "relu" else 75)


def test_a_step_that_cannot_be_recorded_is_called_and_says_why(monkeypatch):
    with Card() as card:
        with_graphs(card, monkeypatch)
        total = torch.zeros(1, device="cuda")

        def step():
            total.add_(1.0)
            total.sum().item()  # no graph has a read

        steps = Replayed(step, total.device)
        steps(5)
        assert total.cpu().item() == 5.0
    assert steps.how.startswith("calls: CUDA error: operation not permitted when stream")
