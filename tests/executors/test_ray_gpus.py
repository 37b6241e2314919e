"""GPUs shared by memory: how many workers a card takes, and what their runs may hold."""

from __future__ import annotations

import ctypes
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from engine_toys import placed

from lawsweep import Cost
from lawsweep.core.errors import ExecutorError
from lawsweep.core.outcome import RunSpec, Task
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray import nodes
from lawsweep.executors.ray.needs import Needs
from lawsweep.executors.ray.nodes import CARD_MARGIN, CONTEXT_BYTES, classes, room_in, share_of
from lawsweep.executors.ray.placement import Placement
from lawsweep.grid.plan import make_plan

GIB = 2.0**30
CARD = 80 * GIB
# Point i holds 2**i GiB; nothing is known of point 0.
sized = dataclasses.replace(
    placed, cost=lambda p: Cost(flops=1.0, memory_bytes=np.where(p.i > 0, GIB * 2.0**p.i, 0.0))
)


def test_a_share_holds_the_run_and_what_a_worker_needs_beside_it():
    for n_bytes in (0.1 * GIB, 5 * GIB, 15 * GIB, 20 * GIB, 25 * GIB, 31 * GIB, 60 * GIB):
        share = share_of(n_bytes, CARD)
        assert share == 1.0 or CONTEXT_BYTES + CARD_MARGIN * n_bytes <= share * CARD
        assert n_bytes <= room_in(share, CARD) * (1 + 1e-12)
    sizes = [1 * GIB, 16 * GIB, 22 * GIB, 30 * GIB, 40 * GIB, 200 * GIB]
    assert [round(1 / share_of(n, CARD)) for n in sizes] == [4, 3, 2, 2, 1, 1]
    assert share_of(0.0, CARD) == 1.0
    assert room_in(0.25, GIB) == 0.0


def test_runs_that_need_about_the_same_may_share_a_batch():
    found = classes(np.array([0.0, 1e9, 1.01e9, 1.1e9, 3e9]))
    assert found[0] == 0.0
    assert (found[1:] >= [1e9, 1.01e9, 1.1e9, 3e9]).all()
    assert (found[1:] <= 2**0.25 * np.array([1e9, 1.01e9, 1.1e9, 3e9])).all()
    assert len(set(found)) < 5


class Well:
    def check_processes(self): ...

    def check_own_node(self, nodes): ...

    def head_answers(self):
        return True


class FourCards:
    def nodes(self):
        return [{"Alive": True, "NodeID": "a", "Resources": {"CPU": 32.0, "GPU": 4.0}}]

    def cluster_resources(self):
        return {"CPU": 32.0, "GPU": 4.0}


def task(i):
    return Task(0, (RunSpec(i, str(i), {"i": i}, 0),))


def test_what_a_run_holds_on_its_card_is_not_asked_of_the_node():
    made = Placement(Needs(1, 1), 1, Well())
    large = dataclasses.replace(task(1), memory_bytes=50 * GIB)
    assert made.options(large) == {}
    assert Placement(Needs(1, 0), 1, Well()).options(large).keys() == {"memory"}


def test_the_memory_of_a_run_says_how_many_share_its_card():
    plan = make_plan(sized, axes={"i": "range(8)"})
    made = Placement(Needs(1, "auto"), 1, Well(), CARD)
    kinds = made.kinds_of(plan, range(8))
    assert kinds.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]  # the greediest first; 0: not known
    made.bind(FourCards())
    shares, slots = [], []
    for i in range(8):
        shares.append(made.options(task(i))["num_gpus"])
        slots.append(made.n_slots)
    assert [round(1 / s) for s in shares] == [1, 4, 4, 4, 3, 1, 1, 1]
    assert slots == [4, 16, 16, 16, 12, 4, 4, 4]
    made.options(task(4))
    assert made.slot_memory_bytes == room_in(1 / 3, CARD)  # what fused runs may hold together
    whole = dataclasses.replace(task(1), whole_node=True)
    assert made.options(whole)["num_gpus"] == 1


def test_cards_whose_memory_nobody_tells_are_a_sentence(monkeypatch):
    monkeypatch.setattr(nodes, "cards_of", lambda ray, nodes: [])
    made = Placement(Needs(1, "auto"), 1, Well())
    with pytest.raises(ExecutorError, match=r"no node tells that\. Give executor\.gpu_memory_byt"):
        made.bind(FourCards())
    # The smallest of several kinds counts: a task goes to any.
    cards = [nodes.NodeCard("big", CARD), nodes.NodeCard("small", 24 * GIB)]
    monkeypatch.setattr(nodes, "cards_of", lambda ray, nodes: cards)
    needs = Needs(1, "auto")
    Placement(needs, 1, Well()).bind(FourCards())
    assert needs.card_bytes == 24 * GIB


def test_the_driver_is_asked_for_its_cards(monkeypatch):
    """By its own functions, as a node without this package would."""

    def total(out, device):
        out._obj.value = int(CARD)
        return 0

    def name(out, size, device):
        out.value = b"NVIDIA H100 80GB HBM3"
        return 0

    def count(out):
        out._obj.value = 2
        return 0

    driver = SimpleNamespace(
        cuInit=lambda flags: 0,
        cuDeviceGetCount=count,
        cuDeviceGet=lambda out, i: 0,
        cuDeviceGetName=name,
        cuDeviceTotalMem_v2=total,
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda library: driver)
    assert nodes._asking()() == [("NVIDIA H100 80GB HBM3", CARD)] * 2
    driver.cuInit = lambda flags: 100  # no device
    assert nodes._asking()() == []

    def missing(library):
        raise OSError("no such file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nodes._asking()() == []


def test_auto_is_no_expression():
    made = make_executor({"kind": "ray_local", "gpus_per_task": "auto"})
    assert made.device == "cuda"
    assert made.describe()["gpus_per_task"] == "auto"
    assert not Needs(1, "auto").threads_by_point
