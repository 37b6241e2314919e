"""The fused form of an experiment: its definition, and one group of runs."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle

import pytest
from toys import FaultMetrics, FusedParams, fusable, fused_toy

from lawsweep import experiment
from lawsweep.core.errors import UnknownNameError
from lawsweep.core.outcome import RunSpec
from lawsweep.worker.execute import Batch, execute_group, execute_run


def specs(n=4, **params):
    return tuple(RunSpec(i, str(i), {"rate": 0.1 * (i + 1), **params}, i) for i in range(n))


def base(params: FusedParams, seed: int) -> FaultMetrics:
    return FaultMetrics(y=0.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fuse_over": ("rate",)}, TypeError, "fuse_over is given, but no fused form"),
        ({"fused": fused_toy, "fuse_over": "rate"}, TypeError, "fuse_over is a list of params"),
        ({"fused": fused_toy, "fuse_over": ("n",)}, TypeError, "n is int, so runs that differ"),
        ({"fused": fused_toy, "fuse_over": ("raet",)}, UnknownNameError, "Did you mean 'rate'"),
        ({"fused": base}, TypeError, r"fused must be a function \(params, seeds, device\)"),
        ({"fused": "base"}, TypeError, "fused must be a function"),
    ],
)
def test_a_fused_form_that_cannot_be_is_refused_at_definition(options, error, message):
    with pytest.raises(error, match=message):
        experiment(version=1, **options)(base)


def test_a_fused_form_travels_with_its_experiment():
    assert pickle.loads(pickle.dumps(fusable)).fused is fused_toy
    by_value = dataclasses.replace(fusable, function=base)
    assert pickle.loads(pickle.dumps(by_value)).fuse_over == ("rate",)


def test_a_group_answers_as_its_runs_would_alone():
    runs = specs(pause_s=0.01)
    group = execute_group(fusable, runs)
    alone = [execute_run(fusable, run) for run in runs]
    for fused, one in zip(group, alone, strict=True):
        assert (fused.index, fused.status, fused.metrics) == (one.index, one.status, one.metrics)
        assert (fused.n_fused, one.n_fused) == (4, 1)
        # An equal share of the group's time; and its memory is that of no run.
        assert fused.wall_s == group[0].wall_s >= 0.01 / 4
        assert fused.peak_memory_bytes is None
        assert (fused.host, fused.n_threads, fused.device) == (one.host, one.n_threads, one.device)


def test_what_runs_get_passes_through_defaults_and_types():
    seen = []

    def fused(params, seeds, device):
        seen.append((params, seeds, device))
        return [FaultMetrics(y=1.0) for _ in seeds]

    runs = specs(2)
    execute_group(dataclasses.replace(fusable, fused=fused), runs, "cuda:1")
    params = [FusedParams(rate=0.1), FusedParams(rate=0.2)]
    assert seen == [(params, [0, 1], "cuda:1")]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("group_raise", "ValueError: they do not fit together"),
        ("group_exit", "SystemExit: 3"),
        ("too_few", "InvalidValueError: the fused form of fusable must return one answer a run; "
                    "it was given 4 runs and returned 3."),
        ("nothing", "TypeError: 'NoneType' object is not iterable"),
        ("wrong_type", "InvalidValueError: fusable must return FaultMetrics, got str."),
        ("group_slow", "timeout: longer than 4 times on_failure.timeout_s=0.05"),
    ],
)  # fmt: skip
def test_why_a_group_has_no_answers(fault, reason):
    assert execute_group(fusable, specs(fault=fault, at=2), timeout_s=0.05) == reason


def test_an_error_that_is_no_exception_blames_no_member():
    """It would end the process of a run alone; of a group it is not known whose it is."""

    def fused(params, seeds, device):
        raise asyncio.CancelledError("stopped")

    found = execute_group(dataclasses.replace(fusable, fused=fused), specs(2))
    assert found == "CancelledError: stopped"


def test_an_interrupt_of_a_group_is_not_its_failure():
    def fused(params, seeds, device):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute_group(dataclasses.replace(fusable, fused=fused), specs(2))


def test_memory_that_ran_out_is_told_apart():
    reason = execute_group(fusable, specs(5, fault="group_memory"))
    assert reason == "oom: MemoryError: too many at once"


def test_a_batch_is_cut_as_it_is_told_and_goes_alone_after_a_failure():
    batch = Batch(fusable, specs(6, fault="group_raise", at=0), groups=(2, 3))
    assert (len(batch), batch.next_run().index) == (3, 0)
    assert batch.step() == ()
    steps = []
    while batch:
        steps.append([(o.index, o.n_fused, o.fused_error) for o in batch.step()])
    assert steps == [
        [(0, 1, "ValueError: they do not fit together")],  # said once, with the first of them
        [(1, 1, None)],
        [(2, 3, None), (3, 3, None), (4, 3, None)],
        [(5, 1, None)],
    ]


def test_a_batch_without_groups_is_one_run_after_the_other():
    batch = Batch(fusable, specs(3))
    assert [o.index for _ in range(3) for o in batch.step()] == [0, 1, 2]
    assert not batch
