"""Where runs go: many GPUs (logical ones) on many nodes, several workers on one GPU, memory.

The nodes are Ray's local cluster utility: processes of this machine, each told what it has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import time
from collections import defaultdict

import numpy as np
import pytest
from clusters import local_cluster
from engine_toys import placed

from lawsweep import Cost
from lawsweep.core.errors import ExecutorError
from lawsweep.core.outcome import RunSpec, Task
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray.manners import inherited
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable

GIB = 2**30


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
HOME = """
from dataclasses import dataclass
from lawsweep import experiment
from engine_toys import PlacedParams

@dataclass(frozen=True, kw_only=True)
class Metrics:
    node: str
    threads: int

@experiment(version=1)
def at_home(params: PlacedParams, seed: int) -> Metrics:
    import time, numpy, ray, threadpoolctl
    time.sleep(params.pause_s)
    pools = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
    here = ray.get_runtime_context().get_node_id()
    return Metrics(node=here, threads=max(p["num_threads"] for p in pools))

class Shard:
    def __init__(self, index, n_shards):
        self.index = index
    def say(self):
        return self.index

@experiment(version=1)
def in_shards(params: PlacedParams, seed: int) -> Metrics:
    from lawsweep.worker.shards import current
    with current().open(Shard) as shards:
        return Metrics(node="", threads=sum(shards.each("say")))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without GPUs, and nodes of 2 and of 1 GPU, with 4 CPUs and 8 GiB each.

    Somebody set the nodes up for two threads, and the head's Python to load numpy by itself.
    Workers start as tasks come: one a CPU in advance, as Ray has it, is most of what this costs.
    """
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text("import numpy\n", encoding="utf-8")
    with contextlib.ExitStack() as stack:
        with inherited(dict.fromkeys(THREADS, "2")):
            with inherited({"PYTHONPATH": str(folder)}):
                late = {"prestart_worker_first_driver": False}
                head = local_cluster(num_cpus=1, memory=2 * GIB, _system_config=late)
                made = stack.enter_context(head)
            for n_gpus in (2, 1):
                made.add_node(num_cpus=4, num_gpus=n_gpus, memory=8 * GIB)
            made.wait_for_nodes()
        yield made


@pytest.fixture(scope="module")
def joined(cluster):
    """This process is on it: the launches of several tests share their workers, which stay warm."""
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()


def executor(cluster, **options):
    return make_executor({"kind": "ray_cluster", "address": cluster.address, **options})


def rows_of(folder, cluster, n, meet_from=None, meet_to=None, **options):
    """Rows of ``n`` runs, and slots.  From ``meet_from`` to ``meet_to`` they wait for company."""
    meet = {} if meet_from is None else {
        "meet": str(folder / "meet"), "meet_from": meet_from, "meet_to": meet_to,
    }  # fmt: skip
    plan = make_plan(placed, axes={"i": range(n)}, params={"pause_s": 0.1, **meet})
    table = ParquetTable(folder / "table", placed)
    with contextlib.closing(executor(cluster, **options)) as made:
        made.start(placed)
        report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()
        slots = made.n_slots
    assert dict(report.statuses) == {"ok": n}
    return table.read(plan.run_ids).to_pylist(), slots


def most_at_once(rows, place):
    """The largest number of runs under way at the same time in one place."""
    spans = defaultdict(list)
    for row in rows:
        spans[place(row)].append((row["begun"], row["ended"]))
    return {where: max(sum(b <= at < e for b, e in found) for at, _ in found)
            for where, found in spans.items()}  # fmt: skip


@pytest.mark.slow
def test_workers_that_were_there_before_get_path_and_threads(cluster, tmp_path, monkeypatch):
    """From the function that comes to them; on the head it comes too late, and Ray has to."""
    (tmp_path / "home_toy.py").write_text(HOME, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    home = importlib.import_module("home_toy")
    at_home = home.at_home
    plan = make_plan(at_home, axes={"i": [0]}, params={"pause_s": 0.0})
    for options, by_ray in (({"gpus_per_task": 1}, False), ({}, True)):
        table = ParquetTable(tmp_path / f"{by_ray}", at_home)
        with contextlib.closing(executor(cluster, **options)) as made:
            made.start(at_home)
            report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()
            assert made._by_ray == by_ray
        assert dict(report.statuses) == {"ok": 1}
        assert {r["threads"] for r in table.read(plan.run_ids).to_pylist()} == {1}
    # Shards are actors that the task starts: they import as it does.
    with contextlib.closing(executor(cluster, gpus_per_task=1, shards={"n": 2})) as made:
        made.start(home.in_shards)
        run = RunSpec(0, "0", {"i": 0}, 0)
        made.submit(Task(0, (run,)))
        found, end = [], time.monotonic() + 600
        while not found:
            assert time.monotonic() < end
            found = [o for e in made.poll(0.5) for o in e.outcomes]
    assert (found[0].error, found[0].metrics["threads"]) == (None, 0 + 1)


@pytest.mark.slow
def test_every_gpu_has_one_run_at_a_time_and_a_node_that_joins_is_used(
    cluster, tmp_path, monkeypatch
):
    """Added in the middle of a sweep: more slots, and runs on it; it stays for the others.

    From the eighth on runs wait until there is one on each of four GPUs, however long that takes.
    """
    monkeypatch.setattr("lawsweep.executors.ray.placement.SLOTS_FOR_S", 0.5)
    waiting, joined = tmp_path / "meet", []
    params = {"pause_s": 0.1, "meet": str(waiting), "meet_from": 8}
    plan = make_plan(placed, axes={"i": range(20)}, params=params)
    table = ParquetTable(tmp_path / "table", placed)
    with contextlib.closing(executor(cluster, gpus_per_task=1)) as made:
        made.start(placed)
        assert made.n_slots == 3

        def watch(snapshot):
            if snapshot.finished >= 4 and not joined:
                joined.append(cluster.add_node(num_cpus=2, num_gpus=1, memory=2 * GIB))
            if len({path.stem for path in waiting.glob("*_*.*")}) == 4:
                (waiting / "met").touch()

        report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure(), watcher=watch).run()
        assert made.n_slots == 4
    cluster.remove_node(joined[0])
    assert dict(report.statuses) == {"ok": 20}
    rows = table.read(plan.run_ids).to_pylist()
    assert {r["device"] for r in rows} == {"cuda"}
    nodes = {r["node"] for r in rows}
    assert len(nodes) == 3
    at_once = most_at_once(rows, lambda r: (r["node"], r["gpus"]))
    assert sorted(gpu for _, gpu in at_once) == ["0", "0", "0", "1"]
    assert set(at_once.values()) == {1}
    # Workers stay warm: the CUDA context is paid for once a slot, not once a run.
    assert len({r["pid"] for r in rows}) <= 4 + 1


@pytest.mark.slow
def test_cpus_may_be_what_is_scarce_and_threads_follow_them(joined, tmp_path):
    rows, slots = rows_of(tmp_path, joined, 4, gpus_per_task=0.25, cpus_per_task=4)
    assert slots == 2  # 4 CPUs a node hold one task of 4, though the GPUs would hold 12
    assert {r["n_threads"] for r in rows} == {4}
    assert {(r["n_cpus"], r["threads"]) for r in rows} == {(4.0, "4")}
    assert max(most_at_once(rows, lambda r: r["node"]).values()) == 1
    greedy = executor(joined, gpus_per_task=3)
    with contextlib.closing(greedy), pytest.raises(ExecutorError, match="and 3 GPUs"):
        greedy.start(placed)


@pytest.mark.slow
def test_cpus_and_gpus_may_be_given_by_point(joined, tmp_path):
    """One run holds two CPUs and a GPU, four one CPU and half a GPU each; one has no GPU."""
    rows, _ = rows_of(
        tmp_path, joined, 6, meet_from=1, meet_to=5, cpus_per_task="2 if i < 1 else 1",
        gpus_per_task="1 if i < 1 else 0.5 if i < 5 else 0",
    )  # fmt: skip
    for row in rows:
        n = 2 if row["i"] < 1 else 1
        assert (row["n_cpus"], row["threads"], row["n_threads"]) == (n, str(n), n)
    assert [r["device"] for r in rows] == ["cuda"] * 5 + ["cpu"]
    at_once = most_at_once(rows[:5], lambda r: (r["node"], r["gpus"]))
    assert max(at_once.values()) == 2  # never more, and it was made use of
    large = rows[0]
    for row in rows[1:5]:
        if (row["node"], row["gpus"]) == (large["node"], large["gpus"]):
            assert row["begun"] >= large["ended"] or row["ended"] <= large["begun"]
    greedy = executor(joined, cpus_per_task="5 + i")
    with contextlib.closing(greedy):
        plan = make_plan(placed, axes={"i": range(3)})
        greedy.needs_of(plan, range(3))
        with pytest.raises(ExecutorError, match="hold a task of 7 CPUs and 0 GPUs, which i=2"):
            greedy.start(placed)


@pytest.mark.slow
def test_points_that_need_memory_are_spread_by_it(joined, tmp_path):
    """The cost function says 2.2 GB for some points, which is 3 GiB with what a worker holds: two
    of them fit a node of 8 GiB, though it has four CPUs.
    """

    def cost(p):
        return Cost(flops=1e6, memory_bytes=2.2e9 * (p.i < 6))

    priced = dataclasses.replace(placed, cost=cost)
    meet = {"meet": str(tmp_path / "meet"), "meet_to": 6}
    plan = make_plan(priced, axes={"i": range(8)}, params={"pause_s": 0.4, **meet})
    table = ParquetTable(tmp_path / "table", priced)
    with contextlib.closing(executor(joined)) as made:
        made.start(priced)
        report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()
    assert dict(report.statuses) == {"ok": 8}
    rows = table.read(plan.run_ids).to_pylist()
    large = most_at_once([r for r in rows if r["i"] < 6], lambda m: m["node"])
    assert max(large.values()) == 2
    assert len(large) == 2  # the head's 2 GiB hold none


@pytest.mark.slow
def test_gpus_are_shared_by_what_runs_hold(joined, tmp_path):
    """Cards of 8 GiB: one run of 5 GiB each, or two of 2 GiB."""
    priced = dataclasses.replace(
        placed, cost=lambda p: Cost(flops=1e6, memory_bytes=GIB * np.where(p.i < 3, 5.0, 2.0))
    )
    meet = {"meet": str(tmp_path / "meet"), "meet_from": 3}
    plan = make_plan(priced, axes={"i": range(9)}, params={"pause_s": 0.1, **meet})
    table = ParquetTable(tmp_path / "table", priced)
    options = {"gpus_per_task": "auto", "gpu_memory_bytes": 8.0 * GIB}
    with contextlib.closing(executor(joined, **options)) as made:
        made.start(priced)
        report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()
        assert made.n_slots == 2 * 3
    assert dict(report.statuses) == {"ok": 9}
    rows = table.read(plan.run_ids).to_pylist()
    for large, most in ((True, 1), (False, 2)):
        some = [r for r in rows if (r["i"] < 3) == large]
        assert max(most_at_once(some, lambda r: (r["node"], r["gpus"])).values()) == most
