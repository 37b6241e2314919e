from __future__ import annotations

import sys
import types

import pytest
from toys import fusable

from lawsweep.core.errors import ExecutorError, InvalidValueError
from lawsweep.core.outcome import RunSpec
from lawsweep.executors.ray import worker as ray_worker
from lawsweep.executors.ray.cards import Began
from lawsweep.executors.ray.session import RaySession
from lawsweep.executors.serial import SerialExecutor
from lawsweep.worker import cards
from lawsweep.worker.visible import VARIABLE, n_slices, visible_cards


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0,1", ("0", "1")),
        (" 3 , GPU-1a2b ", ("3", "GPU-1a2b")),
        ("MIG-ab-12,MIG-GPU-ab12/3/0", ("MIG-ab-12", "MIG-GPU-ab12/3/0")),
        ("", ()),
        ("NoDevFiles", ()),
        ("-1", ()),
        ("2,-1,0", ("2",)),
    ],
)
def test_the_list_as_cuda_reads_it(given, expected):
    assert visible_cards(given) == expected


@pytest.mark.parametrize("given", ["a,b", "0;1", "0,,1", "0 1", "all", "cuda:0", "GPU", "MIG-x/1"])
def test_what_cuda_would_not_read_is_a_sentence(given):
    with pytest.raises(InvalidValueError, match=r"must be numbers .* for none, got '.*'\. S"):
        visible_cards(given)


def test_a_gpu_that_is_named_twice_is_a_sentence():
    with pytest.raises(InvalidValueError, match=r"='1,0,1' names 1 twice, and CUDA sees no GPU"):
        visible_cards("1,0,1")


def test_a_device_that_is_hidden_is_refused_before_anything_runs(monkeypatch):
    def start(device):
        SerialExecutor(SerialExecutor.Options(device=device)).start(fusable)

    monkeypatch.delenv(VARIABLE, raising=False)
    start("cuda:7")
    assert visible_cards() is None
    monkeypatch.setenv(VARIABLE, "4,6")
    start("cuda")
    start("cuda:1")
    message = "device=cuda:2 is not there: .*='4,6' shows this process 2 GPUs, cuda:0 to cuda:1"
    with pytest.raises(InvalidValueError, match=message):
        start("cuda:2")
    monkeypatch.setenv(VARIABLE, "MIG-a,MIG-b")  # a process computes on one slice
    with pytest.raises(InvalidValueError, match="shows this process 1 GPU, cuda:0"):
        start("cuda:1")
    monkeypatch.setenv(VARIABLE, "-1")
    start("cpu")
    with pytest.raises(InvalidValueError, match=r"device=cuda is not there: .* process no GPU"):
        start("cuda")
    monkeypatch.setenv(VARIABLE, "0;1")
    with pytest.raises(InvalidValueError, match="got '0;1'"):
        start("cuda")


@pytest.mark.parametrize(
    ("given", "asked", "expected"),
    [
        (None, None, None),  # Ray detects
        (None, 4, 4),
        ("0,1", None, None),  # Ray counts those of them that are there
        ("0,1", 1, 1),
        ("", None, 0),
        ("-1", None, 0),
        ("1,-1", None, 1),
        ("MIG-a,MIG-b,MIG-c", None, 3),  # Ray would count the one card that they are slices of
    ],
)
def test_the_gpus_of_a_ray_that_is_started(monkeypatch, given, asked, expected):
    monkeypatch.delenv(VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VARIABLE, given)
    assert RaySession("ray_local", None, 1, asked)._gpus() == expected
    assert n_slices() == (3 if given and "MIG" in given else None)


def test_more_gpus_than_are_seen_is_a_sentence(monkeypatch):
    monkeypatch.setenv(VARIABLE, "0,1")
    with pytest.raises(ExecutorError, match=r"n_gpus=3 is more than .*='0,1' shows \(2\)"):
        RaySession("ray_local", None, 1, 3)._gpus()


def test_a_warm_worker_that_is_handed_another_gpu_takes_nothing(monkeypatch):
    """CUDA reads the list once: it would compute on the first one, beside whoever has that."""
    monkeypatch.setattr(cards, "_bound", [])
    monkeypatch.setattr(ray_worker, "_hold", lambda: None)
    monkeypatch.setattr(ray_worker, "_card", lambda device: (f"GPU {sees[0]}", 1.0))
    in_use, sees = [False], ["0"]
    cuda = types.SimpleNamespace(is_initialized=lambda: in_use[0], synchronize=lambda device: None)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))

    def begins(card, in_use_after=True):
        sees[0] = card
        monkeypatch.setenv(VARIABLE, card)
        told = ray_worker.run_batch(fusable, (RunSpec(0, "0", {"n": 1}, 0),), (), None, "cuda")
        first = next(told)
        in_use[0] = in_use_after
        list(told)
        return first

    assert begins("0", in_use_after=False) == Began("GPU 0")
    assert begins("1") == Began("GPU 1")  # it had used none yet
    assert begins("1") == Began("GPU 1")
    assert begins("0") == Began("GPU 0", stale=True)
    assert begins("1") == Began("GPU 1")
