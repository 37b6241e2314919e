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
    """A head without GPUs, and two nodes of 2 GPUs, 8 CPUs and 8 GiB each.

    Somebody set the nodes up for two threads, and the head's Python to load numpy by itself.
    """
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text("import numpy\n", encoding="utf-8")
    with contextlib.ExitStack() as stack:
        with inherited(dict.fromkeys(THREADS, "2")):
            with inherited({"PYTHONPATH": str(folder)}):
                made = stack.enter_context(local_cluster(num_cpus=1, memory=2 * GIB))
            for _ in range(2):
                made.add_node(num_cpus=8, num_gpus=2, memory=8 * GIB)
            made.wait_for_nodes()
        yield made


def executor(cluster, **options):
    return make_executor({"kind": "ray_cluster", "address": cluster.address, **options})


def rows_of(folder, cluster, n, pause_s=0.3, meet_from=None, **options):
    """Rows of ``n`` runs, and slots.  Those from ``meet_from`` on wait for company in a place."""
    meet = {} if meet_from is None else {"meet": str(folder / "meet"), "meet_from": meet_from}
    plan = make_plan(placed, axes={"i": range(n)}, params={"pause_s": pause_s, **meet})
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
    plan = make_plan(at_home, axes={"i": range(8)}, params={"pause_s": 0.3})
    for options, by_ray in (({"gpus_per_task": 1}, False), ({}, True)):
        table = ParquetTable(tmp_path / f"{by_ray}", at_home)
        with contextlib.closing(executor(cluster, **options)) as made:
            made.start(at_home)
            report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()
            assert made._by_ray == by_ray
        assert dict(report.statuses) == {"ok": 8}
        assert {r["threads"] for r in table.read(plan.run_ids).to_pylist()} == {1}
    # Shards are actors that the task starts: they import as it does.
    with contextlib.closing(executor(cluster, gpus_per_task=1, shards={"n": 3})) as made:
        made.start(home.in_shards)
        run = RunSpec(0, "0", {"i": 0}, 0)
        made.submit(Task(0, (run,)))
        found, end = [], time.monotonic() + 600
        while not found:
            assert time.monotonic() < end
            found = [o for e in made.poll(0.5) for o in e.outcomes]
    assert (found[0].error, found[0].metrics["threads"]) == (None, 0 + 1 + 2)


@pytest.mark.slow
def test_several_workers_share_a_gpu(cluster, tmp_path):
    rows, slots = rows_of(tmp_path, cluster, 40, meet_from=0, gpus_per_task=0.5, cpus_per_task=1)
    assert slots == 8
    at_once = most_at_once(rows, lambda r: (r["node"], r["gpus"]))
    assert len(at_once) == 4
    assert max(at_once.values()) == 2  # never more, and it was made use of


@pytest.mark.slow
def test_cpus_may_be_what_is_scarce_and_threads_follow_them(cluster, tmp_path):
    rows, slots = rows_of(tmp_path, cluster, 8, gpus_per_task=0.25, cpus_per_task=4)
    assert slots == 4  # 8 CPUs a node hold two tasks of 4, though the GPUs would hold 8
    assert {r["n_threads"] for r in rows} == {4}
    assert {(r["n_cpus"], r["threads"]) for r in rows} == {(4.0, "4")}
    assert max(most_at_once(rows, lambda r: r["node"]).values()) <= 2
    greedy = executor(cluster, gpus_per_task=4)
    with contextlib.closing(greedy), pytest.raises(ExecutorError, match="and 4 GPUs"):
        greedy.start(placed)


@pytest.mark.slow
def test_cpus_and_gpus_may_be_given_by_point(cluster, tmp_path):
    """Four runs hold four CPUs and a GPU each, twelve one CPU and half a GPU; two have no GPU."""
    rows, _ = rows_of(
        tmp_path, cluster, 18, meet_from=4, cpus_per_task="4 if i < 4 else 1",
        gpus_per_task="1 if i < 4 else 0.5 if i < 16 else 0",
    )  # fmt: skip
    for row in rows:
        n = 4 if row["i"] < 4 else 1
        assert (row["n_cpus"], row["threads"], row["n_threads"]) == (n, str(n), n)
    assert [r["device"] for r in rows] == ["cuda"] * 16 + ["cpu"] * 2
    at_once = most_at_once(rows[:16], lambda r: (r["node"], r["gpus"]))
    assert max(at_once.values()) == 2
    large = [r for r in rows if r["i"] < 4]
    assert set(most_at_once(large, lambda r: (r["node"], r["gpus"])).values()) == {1}
    greedy = executor(cluster, cpus_per_task="9 + i")
    with contextlib.closing(greedy):
        plan = make_plan(placed, axes={"i": range(3)})
        greedy.needs_of(plan, range(3))
        with pytest.raises(ExecutorError, match="hold a task of 11 CPUs and 0 GPUs, which i=2"):
            greedy.start(placed)


@pytest.mark.slow
def test_points_that_need_memory_are_spread_by_it(cluster, tmp_path):
    """The cost function says 2.2 GB for some points, which is 3 GiB with what a worker holds: two
    of them fit a node of 8 GiB, though it has eight CPUs.
    """

    def cost(p):
        return Cost(flops=1e6, memory_bytes=2.2e9 * (p.i < 8))

    priced = dataclasses.replace(placed, cost=cost)
    meet = {"meet": str(tmp_path / "meet"), "meet_to": 8}
    plan = make_plan(priced, axes={"i": range(12)}, params={"pause_s": 0.4, **meet})
    table = ParquetTable(tmp_path / "table", priced)
    with contextlib.closing(executor(cluster)) as made:
        made.start(priced)
        report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()
    assert dict(report.statuses) == {"ok": 12}
    rows = table.read(plan.run_ids).to_pylist()
    large = most_at_once([r for r in rows if r["i"] < 8], lambda m: m["node"])
    assert max(large.values()) == 2
    assert len(large) == 2  # the head's 2 GiB hold none


@pytest.mark.slow
def test_gpus_are_shared_by_what_runs_hold(cluster, tmp_path):
    """Cards of 8 GiB: one run of 5 GiB each, or two of 2 GiB."""
    priced = dataclasses.replace(
        placed, cost=lambda p: Cost(flops=1e6, memory_bytes=GIB * np.where(p.i < 6, 5.0, 2.0))
    )
    meet = {"meet": str(tmp_path / "meet"), "meet_from": 6}
    plan = make_plan(priced, axes={"i": range(18)}, params={"pause_s": 0.3, **meet})
    table = ParquetTable(tmp_path / "table", priced)
    options = {"gpus_per_task": "auto", "gpu_memory_bytes": 8.0 * GIB}
    with contextlib.closing(executor(cluster, **options)) as made:
        made.start(priced)
        report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()
    assert dict(report.statuses) == {"ok": 18}
    rows = table.read(plan.run_ids).to_pylist()
    for large, most in ((True, 1), (False, 2)):
        some = [r for r in rows if (r["i"] < 6) == large]
        assert max(most_at_once(some, lambda r: (r["node"], r["gpus"])).values()) == most


@pytest.mark.slow
def test_every_gpu_has_one_run_at_a_time_and_a_node_that_joins_is_used(
    cluster, tmp_path, monkeypatch
):
    """Added in the middle of a sweep: more slots, and runs on it; it stays for the others.

    From the twelfth on runs wait until there is one on each of six GPUs, however long that takes.
    """
    monkeypatch.setattr("lawsweep.executors.ray.placement.SLOTS_FOR_S", 0.5)
    waiting, joined = tmp_path / "meet", []
    params = {"pause_s": 0.5, "meet": str(waiting), "meet_from": 12}
    plan = make_plan(placed, axes={"i": range(40)}, params=params)
    table = ParquetTable(tmp_path / "table", placed)
    with contextlib.closing(executor(cluster, gpus_per_task=1)) as made:
        made.start(placed)
        assert made.n_slots == 4

        def watch(snapshot):
            if snapshot.finished >= 8 and not joined:
                joined.append(cluster.add_node(num_cpus=4, num_gpus=2, memory=2 * GIB))
            if len({path.stem for path in waiting.glob("*_*.*")}) == 6:
                (waiting / "met").touch()

        report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure(), watcher=watch).run()
        assert made.n_slots == 6
    cluster.remove_node(joined[0])
    assert dict(report.statuses) == {"ok": 40}
    rows = table.read(plan.run_ids).to_pylist()
    assert {r["device"] for r in rows} == {"cuda"}
    nodes = {r["node"] for r in rows}
    assert len(nodes) == 3
    assert most_at_once(rows, lambda r: (r["node"], r["gpus"])) == {
        (node, gpu): 1 for node in nodes for gpu in "01"
    }
    # Workers stay warm: the CUDA context is paid for once a slot, not once a run.
    assert len({r["pid"] for r in rows}) <= 6 + 1
