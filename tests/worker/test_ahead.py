"""Draws made ahead are those of the run, and cost it nothing when they fail."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
import pytest
from pretending import Card
from toys import fusable

from lawsweep import stream
from lawsweep.core.outcome import RunSpec
from lawsweep.core.registry import find_experiment
from lawsweep.executors.serial import SerialExecutor
from lawsweep.experiments import batches
from lawsweep.experiments.batches import in_batches
from lawsweep.experiments.memorization import run as memorization_run
from lawsweep.experiments.ntk_min_eig import fused as ntk_fused
from lawsweep.kernels.base.rates import stated
from lawsweep.worker import ahead
from lawsweep.worker.ahead import drawn
from lawsweep.worker.execute import Batch

PATIENCE_S = 60.0


class Toy:
    """An experiment that draws, and waits for the draws of the next run before it answers."""

    def __init__(self, device, waits_for=(), fails=()):
        self.device, self.fails = device, fails
        self.begun = {seed: threading.Event() for seed in range(9)}
        self.waits_for, self.by, self.overlapped = set(waits_for), [], []
        self.experiment = dataclasses.replace(fusable, function=self.run, fused=None)

    def draws(self, params, seed):
        self.by.append((seed, threading.current_thread().name))
        self.begun[seed].set()
        if seed in self.fails:
            raise ValueError(f"no draw for {seed}")
        return stream(seed, "data").standard_normal(params.n)

    def run(self, params, seed):
        x = drawn(self.draws, params, seed, self.device)
        if seed + 1 in self.waits_for:
            self.overlapped.append(self.begun[seed + 1].wait(PATIENCE_S))
        return fusable.metrics_type(y=float(x.sum()))

    def outcomes(self, n):
        batch = Batch(self.experiment, specs(n), device=self.device)
        return [o for _ in range(n) for o in batch.step()]


def specs(n, **params):
    return tuple(RunSpec(k, str(k), params or {"n": 5}, k) for k in range(n))


def sums(n):
    return [float(stream(k, "data").standard_normal(5).sum()) for k in range(n)]


def main(seeds):
    return {seed for seed, name in seeds if name != "draws"}


def test_the_next_run_is_drawn_while_this_one_computes():
    toy = Toy("cuda", waits_for=range(1, 4))
    found = toy.outcomes(4)
    assert [o.metrics["y"] for o in found] == sums(4)
    assert toy.overlapped == [True] * 3
    assert sorted(seed for seed, _ in toy.by) == [0, 1, 2, 3]  # each once
    assert main(toy.by) == {0}
    assert not ahead._under_way


def test_on_a_cpu_each_run_draws_its_own():
    toy = Toy("cpu")
    assert [o.metrics["y"] for o in toy.outcomes(3)] == sums(3)
    assert main(toy.by) == {0, 1, 2}


def test_draws_that_fail_are_the_failure_of_their_own_run():
    toy = Toy("cuda", fails=[1])
    found = toy.outcomes(3)
    assert [o.status for o in found] == ["ok", "failed", "ok"]
    assert found[1].error == "ValueError: no draw for 1"
    assert [o.metrics["y"] for o in (found[0], found[2])] == [sums(3)[0], sums(3)[2]]


def test_an_interrupt_costs_no_draw_and_what_did_not_come_is_let_go():
    toy = Toy("cuda", waits_for=[1])
    toy.experiment = dataclasses.replace(toy.experiment, function=interrupted(toy, at=0))
    batch = Batch(toy.experiment, specs(3), device="cuda", called_off=lambda: True)
    with pytest.raises(KeyboardInterrupt):
        batch.step()
    assert toy.overlapped == [True]
    assert [o.metrics["y"] for _ in range(2) for o in batch.step()] == sums(3)[1:]
    # Another run than the one that was said to come: it draws its own.
    params = fusable.build({"n": 5})
    ahead.coming(params, 7)
    drawn(toy.draws, params, 6, "cuda")
    other = drawn(toy.draws, params, 8, "cuda")
    np.testing.assert_array_equal(other, stream(8, "data").standard_normal(5))
    ahead.coming(params, 7)
    drawn(toy.draws, params, 6, "cuda")
    ahead.forget()
    assert not ahead._under_way
    assert not [t for t in threading.enumerate() if t.name == "draws"]


def test_a_launch_that_ends_keeps_no_draws():
    toy, params = Toy("cuda"), fusable.build({"n": 5})
    ahead.coming(params, 1)
    drawn(toy.draws, params, 0, "cuda")
    ahead.coming_group([(params, 2)])
    assert ahead._under_way
    SerialExecutor().close()
    assert not ahead._under_way
    assert not ahead.later()


def interrupted(toy, at):
    def function(params, seed):
        found = toy.run(params, seed)
        if seed == at:
            raise KeyboardInterrupt
        return found

    return function


def test_rows_on_a_card_are_those_without(monkeypatch):
    """ntk_min_eig: each run of a batch but the first has its draws from the thread."""
    experiment = find_experiment("ntk_min_eig")
    params: dict[str, Any] = {"n_samples": 30, "input_dim": 12, "width": 12, "depth": 3,
                              "activation": "sigmoid"}  # fmt: skip
    begun: list[int] = []
    begin = ahead._Ahead

    def counted(draws, params, seed):
        begun.append(seed)
        return begin(draws, params, seed)

    monkeypatch.setattr(ahead, "_Ahead", counted)
    rows = []
    for device in ("cuda", "cpu"):
        batch = Batch(experiment, specs(3, **params), device=device)
        with Card():
            rows.append([o for _ in range(3) for o in batch.step()])
    assert begun == [1, 2]
    for there, here in zip(*rows, strict=True):
        assert there.error is None
        assert there.metrics["lambda_min"] == pytest.approx(here.metrics["lambda_min"], rel=1e-9)
        assert there.metrics["trace"] == pytest.approx(here.metrics["trace"], rel=1e-12)


def fused_toy(toy, most):
    """Batches of ``most``; each waits for the draws of the next one before it answers."""

    def draws(runs):
        toy.by.append(([s for _, s in runs], threading.current_thread().name))
        for _, seed in runs:
            toy.begun[seed].set()
        if toy.fails and any(seed in toy.fails for _, seed in runs):
            raise ValueError("no draws for these")
        return [float(stream(s, "data").standard_normal(p.n).sum()) for p, s in runs]

    def compute(runs):
        sums = ahead.drawn_together(draws, runs, toy.device)
        after = runs[-1][1] + 1
        if after in toy.waits_for:
            toy.overlapped.append(toy.begun[after].wait(PATIENCE_S))
        return [fusable.metrics_type(y=y) for y in sums]

    def fused(params, seeds, device):
        runs = list(zip(params, seeds, strict=True))
        return in_batches(runs, compute, most, ahead.later())

    return dataclasses.replace(fusable, fused=fused)


def test_the_next_batch_is_drawn_while_this_one_computes():
    """Of the same group, of the next group, and not of a run that goes alone."""
    toy = Toy("cuda", waits_for=[2, 4])
    batch = Batch(fused_toy(toy, 2), specs(7), groups=(4, 2), device="cuda")
    found = [*batch.step(), *batch.step()]
    assert [o.metrics["y"] for o in found] == sums(6)
    assert toy.overlapped == [True, True]
    assert toy.by == [([0, 1], "MainThread"), ([2, 3], "draws"), ([4, 5], "draws")]
    ahead.forget()


def test_on_a_cpu_a_batch_draws_its_own():
    toy = Toy("cpu")
    batch = Batch(fused_toy(toy, 2), specs(4), groups=(4,), device="cpu")
    assert [o.metrics["y"] for o in batch.step()] == sums(4)
    assert {name for _, name in toy.by} == {"MainThread"}


def test_draws_of_a_batch_that_fail_are_its_own_failure():
    toy = Toy("cuda", waits_for=[2], fails=[3])
    batch = Batch(fused_toy(toy, 2), specs(4), groups=(4,), device="cuda")
    assert batch.step() == ()  # as a group; its runs go alone
    assert toy.by[1:] == [([2, 3], "draws"), ([2, 3], "MainThread")]


@pytest.mark.parametrize("name", ["memorization", "ntk_min_eig"])
def test_fused_rows_on_a_card_are_those_without(name, monkeypatch):
    experiment = find_experiment(name)
    params: dict[str, Any] = {"n_samples": 12, "input_dim": 5, "width": 6, "depth": 2,
                              "activation": "tanh"}  # fmt: skip
    params |= {"max_steps": 20} if name == "memorization" else {}
    begun, begin = [], ahead._Ahead

    def counted(draws, runs):
        begun.append([seed for _, seed in runs])
        return begin(draws, runs)

    monkeypatch.setattr(ahead, "_Ahead", counted)
    for module in (memorization_run, ntk_fused):
        monkeypatch.setattr(module, "most_at_once", lambda *_: 2)
    rows = []
    for device in ("cuda", "cpu"):
        batch = Batch(experiment, specs(6, **params), groups=(4, 2), device=device)
        with Card():
            rows.append([*batch.step(), *batch.step()])
    assert begun == [[2, 3], [4, 5]]
    metric = "final_loss" if name == "memorization" else "lambda_min"
    for there, here in zip(*rows, strict=True):
        assert there.error is None
        assert there.metrics[metric] == pytest.approx(here.metrics[metric], rel=1e-9)


@pytest.mark.parametrize(
    ("draws", "flops", "launches", "size"),
    [
        (1e6, 5e11, 100, 13),  # 1 s of draws beside as much of work, .5 ms to send: 8 pieces
        (1e6, 5e11, 2e4, 34),  # .1 s to send: three
        (1e6, 5e11, 2e6, 100),  # sending is all
        (0.0, 5e11, 100, 100),  # nothing to hide
        (1e6, 0.0, 100, 100),  # nothing to hide behind
    ],
)
def test_a_batch_goes_in_pieces_where_that_hides_its_draws(
    draws, flops, launches, size, monkeypatch
):
    rates = dataclasses.replace(stated("cuda").rates, draws=1e8, launch=5e-6, matmul_float64=5e13)
    monkeypatch.setattr(batches.devices, "rates", lambda device: rates)
    work = {"draws": draws, "matmul_float64": flops, "launch": launches}
    assert batches.overlapping(work, 100, 1000, "cuda") == size
    assert batches.overlapping(work, 100, 7, "cuda") == 7  # never more than fit
