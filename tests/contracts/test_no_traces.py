"""A run leaves nothing behind for the next: on every executor, alone and fused."""

# ruff: noqa: NPY002  (numpy's global random state is what this is about)
from __future__ import annotations

import contextlib
import random
import warnings

import numpy as np
import pytest
import torch
from messy import THINGS, messy

from lawsweep.executors.make import make_executor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.worker import process_state
from lawsweep.worker.process_state import borrowed

RANDOM = [name for name in THINGS if "random" in name]


@pytest.fixture(scope="module")
def ray_two_cpus():
    owner = make_executor({"kind": "ray_local", "n_cpus": 2})
    owner.start(messy)
    yield
    owner.close()


@pytest.fixture(params=["serial", "ray_local"])
def kind(request):
    if request.param == "ray_local":
        request.getfixturevalue("ray_two_cpus")
    return request.param


@pytest.fixture
def as_it_was():
    """What a broken restore would leave behind for other tests."""
    with borrowed() as state, warnings.catch_warnings():
        yield
        state.restore()


@pytest.mark.parametrize("fuse", [False, True])
def test_every_run_finds_what_the_first_found(kind, fuse, tmp_path, as_it_was):
    plan = make_plan(messy, axes={"what": list(THINGS), "i": [0.0, 1.0, 2.0, 3.0]})
    table = ParquetTable(tmp_path, messy)
    options = {"kind": kind, "fuse": fuse, "max_fused": 2}
    with contextlib.closing(make_executor(options)) as executor:
        executor.start(messy)
        launch = Loop(plan, table, executor, launch_id="L", on_failure=OnFailure())
        report = launch.run()
    assert dict(report.statuses) == {"ok": 4 * len(THINGS)}
    (note,) = report.notes
    assert "drew from the global generator of numpy.random, random without seeding it" in note
    assert "in 12 of 124 runs" in note
    found: dict[str, set[str]] = {}
    for row in table.read(plan.run_ids).to_pylist():
        found.setdefault(row["what"], set()).add(row["found"])
    assert {what: values for what, values in found.items() if len(values) > 1} == {}
    # And in every process the same, whatever was drawn there before.
    with borrowed():
        here = {}
        for name in RANDOM:
            with borrowed():
                here[name] = {str(THINGS[name][0]())}
    assert {name: found[name] for name in RANDOM} == here


def test_each_item_that_is_listed_is_tried():
    listed = [*process_state.PYTHON, process_state.HANDLERS, *process_state.torch_items()]
    gpus = ("cuda.", "cudnn.")
    assert [i.name for i in listed if i.name not in THINGS and not i.name.startswith(gpus)] == []


def test_the_caller_of_serial_has_its_own_random_states_back(tmp_path, as_it_was):
    def draws():
        return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), \
            torch.rand(1).item()  # fmt: skip

    def seed():
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)
        draws()

    seed()
    expected = draws()
    seed()
    plan = make_plan(messy, axes={"what": RANDOM})
    with contextlib.closing(make_executor("serial")) as executor:
        executor.start(messy)
        table = ParquetTable(tmp_path, messy)
        Loop(plan, table, executor, launch_id="L", on_failure=OnFailure()).run()
    assert draws() == expected


def test_what_the_caller_set_is_what_runs_find(tmp_path, as_it_was):
    """Serial shares the caller's process: it gives runs what is set there, and leaves it so."""
    torch.set_default_dtype(torch.float64)
    plan = make_plan(messy, axes={"what": ["default dtype"], "i": [0.0, 1.0]})
    with contextlib.closing(make_executor("serial")) as executor:
        executor.start(messy)
        table = ParquetTable(tmp_path, messy)
        Loop(plan, table, executor, launch_id="L", on_failure=OnFailure()).run()
    assert set(table.read(plan.run_ids)["found"].to_pylist()) == {str(1 / 3)}
    assert torch.get_default_dtype() == torch.float64
