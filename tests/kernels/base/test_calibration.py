"""Sizes and ways follow the rates they are given; rates are measured in bounded time, and kept."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from pretending import Card

import lawsweep
from lawsweep.core.outcome import RunSpec
from lawsweep.core.registry import find_experiment
from lawsweep.kernels.base import calibration, devices
from lawsweep.kernels.base.rates import Rates, Sizes, Table, dense_below, sizes_of, stated
from lawsweep.kernels.eigmin import solvers
from lawsweep.tools.replay import replay_row
from lawsweep.worker.execute import Batch

CORE = dataclasses.replace(stated("cpu").rates, cache=float(2**21))
DATA_CENTRE = stated("cuda").rates  # float64 at the rate of float32
# 1:64, as consumer cards and the small ones of data centres: 40 and 0.6 Tflop/s.
CONSUMER = dataclasses.replace(
    DATA_CENTRE,
    matmul_float32=4e13,
    cholesky_float32=1e13,
    matmul_float64=6e11,
    cholesky_float64=4e11,
    bandwidth=6e11,
)
CARDS = {"data_centre": DATA_CENTRE, "consumer": CONSUMER}


def first(rates, kind, n):
    """The solver that ``auto`` begins with on a device of such rates."""
    record = Table.of(kind, rates, "measured").record()
    with devices.forced({"x": record}):
        return solvers.first("auto", n, torch.float64, torch.device(kind)).name


def test_the_mixed_solver_goes_by_the_rates_of_the_device_at_hand():
    assert first(CORE, "cpu", 3000) == "mixed"
    assert first(DATA_CENTRE, "cuda", 3000) == "cholesky_lanczos"
    assert first(CONSUMER, "cuda", 3000) == "mixed"
    even = dataclasses.replace(
        CORE,
        matmul_float32=CORE.matmul_float64,
        cholesky_float32=CORE.cholesky_float64,
        solve_float32=CORE.solve_float64,
    )
    assert first(even, "cpu", 3000) == "cholesky_lanczos"
    for rates in (CORE, CONSUMER):
        one = solvers.chain("auto", 3000, torch.float32, torch.device("cpu"))
        assert next(one).name == "cholesky_lanczos"  # float32 needs no float32 factor to steer
        assert sizes_of("cuda", rates).mixed


def test_all_eigenvalues_are_taken_up_to_where_lanczos_is_quicker():
    block = 256.0
    slow = dataclasses.replace(CORE, eigvals_float64=CORE.eigvals_float64 / 4.0)
    late = dataclasses.replace(CORE, launch=100.0 * CORE.launch)
    assert dense_below(slow, block) < dense_below(CORE, block) < dense_below(late, block)
    n = sizes_of("cpu", CORE).dense_below
    assert first(CORE, "cpu", n - 1) == "dense"
    assert first(CORE, "cpu", n) != "dense"


def test_tiles_of_a_core_follow_its_cache_and_those_of_a_card_its_launches():
    small = dataclasses.replace(CORE, cache=float(2**19))
    near, far = sizes_of("cpu", CORE), sizes_of("cpu", small)
    for name in ("gram_tile", "rows_tile", "stack", "cholesky_block", "pass_numbers"):
        assert getattr(far, name) < getattr(near, name), name
    slow = dataclasses.replace(CORE, matmul_float64=1e9, launch=1e-3)
    for name in ("gram_tile", "stack", "cholesky_block"):  # a noisy clock moves none of them
        assert getattr(sizes_of("cpu", slow), name) == getattr(near, name), name
    quick = dataclasses.replace(DATA_CENTRE, launch=DATA_CENTRE.launch / 16.0)
    few, many = sizes_of("cuda", DATA_CENTRE), sizes_of("cuda", quick)
    for name in ("gram_tile", "stack", "cholesky_block", "pass_numbers", "rows_tile"):
        assert getattr(many, name) < getattr(few, name), name
    for rates, kind in itertools.product((CORE, small, *CARDS.values(), quick), ("cpu", "cuda")):
        sizes = dataclasses.asdict(sizes_of(kind, rates))
        assert all(v >= 1 for k, v in sizes.items() if k != "mixed")


def test_no_rate_of_one_device_decides_on_another(monkeypatch):
    tables = {"cpu": Table.of("cpu", CORE, "measured"), "cuda": Table.of("cuda", CONSUMER, "m")}
    monkeypatch.setattr(calibration, "table", lambda d: tables[torch.device(d).type])
    devices.begin()
    assert devices.on("cpu", 1.0) == stated("cpu").sizes  # a small problem is not worth measuring
    assert devices.used() == {}
    assert devices.on(torch.device("cuda:1")) == tables["cuda"].sizes
    assert devices.on(torch.device("cpu"), devices.WORTH) == tables["cpu"].sizes
    assert set(devices.used()) == {t.id for t in tables.values()}
    devices.begin()
    assert devices.used() == {}


def test_a_table_comes_back_from_its_record():
    table = Table.of("cuda", CONSUMER, "measured")
    record = json.loads(json.dumps(table.record()))
    again = Table.from_record(record)
    assert (again.sizes, again.rates, again.id) == (table.sizes, table.rates, table.id)
    record["sizes"]["gram_tile"] = 77
    del record["sizes"]["hermite_rows"]  # of a size that is newer
    record["sizes"]["gone"] = 1
    again = Table.from_record(record)
    assert again.sizes == dataclasses.replace(table.sizes, gram_tile=77)
    assert again.id != table.id


# -- measuring


class Clock:
    """Each look takes so long."""

    def __init__(self, step):
        self.now, self.step, self.looks = 0.0, step, 0

    def __call__(self):
        self.now += self.step
        self.looks += 1
        return self.now


@pytest.mark.parametrize("on_card", [False, True])
@pytest.mark.parametrize("step", [1e-2, 10.0])
def test_measuring_ends_however_slow_the_device_is(on_card, step):
    clock = Clock(step)
    with Card():
        rates = calibration.measure(torch.device("cuda:0" if on_card else "cpu"), 1.0, clock)
    assert all(v > 0.0 for v in dataclasses.asdict(rates).values())
    assert clock.looks <= 25 * len(dataclasses.fields(Rates))
    assert isinstance(sizes_of("cuda" if on_card else "cpu", rates), Sizes)


def test_rates_are_kept_by_what_the_device_is_and_the_first_counts(tmp_path, monkeypatch):
    calls = []

    def measure(device):
        calls.append(device)
        return dataclasses.replace(CORE, draws=float(len(calls)))

    monkeypatch.setattr(calibration, "measure", measure)
    monkeypatch.setenv(calibration.ENVIRONMENT, str(tmp_path / "here"))
    monkeypatch.setattr(calibration, "_tables", {})
    assert calibration.table("cpu").rates.draws == 1.0
    assert calibration.table("cpu").rates.draws == 1.0
    monkeypatch.setattr(calibration, "_tables", {})  # another process
    assert calibration.table("cpu").rates.draws == 1.0
    assert len(calls) == 1
    (path,) = (tmp_path / "here").iterdir()
    wrong = ({"launch": 0.0}, {"bandwidth": math.inf}, {"draws": 1e300}, {"launch": 1e9})
    whole = [json.dumps({"rates": {**dataclasses.asdict(CORE), **one}}) for one in wrong]
    for torn in ("", "{}", "[" * 100_000, *whole):
        path.write_text(torn)
        monkeypatch.setattr(calibration, "_tables", {})
        n = len(calls)
        assert calibration.table("cpu").rates.draws == n + 1.0
        assert [p.name for p in path.parent.iterdir()] == [path.name]
    monkeypatch.setattr(calibration, "identity", lambda device: {"name": "another processor"})
    assert calibration.table("cpu").rates.draws == len(calls)
    assert len(list(path.parent.iterdir())) == 2
    monkeypatch.setenv(calibration.ENVIRONMENT, "off")
    assert calibration.table("cpu") is None


def test_where_no_folder_can_be_written_the_process_keeps_its_own(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(calibration.ENVIRONMENT, str(tmp_path / "file" / "below"))
    monkeypatch.setattr(calibration, "_tables", {})
    monkeypatch.setattr(calibration, "measure", lambda device: CORE)
    assert calibration.table("cpu").rates == CORE
    # Nor where something of that name stands in the way: nothing of it is left behind.
    monkeypatch.setenv(calibration.ENVIRONMENT, str(tmp_path))
    name = calibration._file_name(
        json.dumps(calibration.identity(torch.device("cpu")), sort_keys=True)
    )
    (tmp_path / name).mkdir()
    monkeypatch.setattr(calibration, "_tables", {})
    assert calibration.table("cpu").rates == CORE
    assert {p.name for p in tmp_path.iterdir()} == {"file", name}


def test_a_user_without_a_home_measures_and_an_empty_setting_is_none(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(calibration.Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(calibration.ENVIRONMENT, "")
    monkeypatch.setattr(calibration, "_tables", {})
    monkeypatch.setattr(calibration, "measure", lambda device: CORE)
    monkeypatch.chdir(tmp_path)
    assert calibration.table("cpu").rates == CORE
    assert not list(tmp_path.iterdir())


# -- rows


@pytest.fixture
def even_core(monkeypatch):
    """A core on which float32 is no quicker, measured however small the work."""
    rates = dataclasses.replace(CORE, matmul_float32=6e10, solve_float32=2.5e9, cache=2.0**19)
    table = Table.of("cpu", rates, "measured")
    assert not table.sizes.mixed
    monkeypatch.setattr(calibration, "table", lambda device: table)
    monkeypatch.setattr(devices, "WORTH", 0.0)
    return table


POINT = {"n_samples": 620, "input_dim": 60, "width": 60, "depth": 3, "activation": "tanh"}


def test_an_outcome_names_the_tables_that_decided_and_the_first_brings_them(even_core):
    runs = [RunSpec(i, f"r{i}", POINT, i) for i in range(2)]
    batch = Batch(find_experiment("ntk_min_eig"), runs)
    (one,), (two,) = batch.step(), batch.step()
    assert one.metrics["solver_used"] == "cholesky_lanczos"
    assert one.calibration == two.calibration == even_core.id
    assert one.machine["calibrations"] == {even_core.id: even_core.record()}
    assert two.machine is None


def test_replay_takes_the_way_of_the_row_whatever_is_measured_now(tmp_path, monkeypatch, even_core):
    monkeypatch.chdir(tmp_path)
    sweep = lawsweep.Sweep(
        name="w", experiment="ntk_min_eig", axes={"n_samples": [620]}, params={
            k: v for k, v in POINT.items() if k != "n_samples"
        }, seeds=1, results_dir=str(tmp_path / "r"),
    )  # fmt: skip
    lawsweep.run(sweep, executor="serial")
    row = lawsweep.show(lawsweep.load(sweep)["run_id"].iloc[0], sweep.results_dir)
    assert (row["calibration"], row["solver_used"]) == (even_core.id, "cholesky_lanczos")
    (host,) = row["launch"]["hosts"].values()
    assert host["calibrations"][even_core.id]["sizes"] == dataclasses.asdict(even_core.sizes)
    # A machine with other rates, and one that measures nothing.
    other = Table.of("cpu", CORE, "measured")
    for now in (lambda device: other, lambda device: None):
        monkeypatch.setattr(calibration, "table", now)
        done = replay_row(row, sweep.results_dir)
        assert (done.reproduced, done.exact) == (True, True), (done.differences, done.circumstances)
    del host["calibrations"]  # a record that lost it
    done = replay_row(row, sweep.results_dir)
    assert any("calibration" in why for why in done.circumstances)


def test_the_ways_agree_within_rounding(even_core):
    matrix = np.random.default_rng(0).standard_normal((620, 900))
    matrix = torch.from_numpy(matrix @ matrix.T)
    found = {}
    for rates in (even_core.rates, CORE):
        with devices.forced({"": Table.of("cpu", rates, "measured").record()}):
            one = lawsweep.kernels.smallest_eigenvalue(matrix, start=np.random.default_rng(1))
        found[one.solver] = one
    assert set(found) == {"mixed", "cholesky_lanczos"}
    a, b = found.values()
    assert a.value == pytest.approx(b.value, rel=1e-9)
    assert a.certified
    assert b.certified
