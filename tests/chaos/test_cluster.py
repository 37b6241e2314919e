"""A cluster of several nodes on this machine (Ray's own utility), and what may befall it."""

from __future__ import annotations

import contextlib

import pytest
from clusters import local_cluster
from driving import Driver, n_done
from toys import faulty

from lawsweep.core.errors import ExecutorError
from lawsweep.executors.make import make_executor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """A node that is gone is missed within seconds; workers start as tasks come."""
    system = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300,
              "prestart_worker_first_driver": False}  # fmt: skip
    with local_cluster(num_cpus=1, _system_config=system) as made:
        yield made


def cluster_executor(cluster, **options):
    return make_executor({"kind": "ray_cluster", "address": cluster.address, **options})


def test_a_lost_node_costs_no_run(cluster, tmp_path):
    lost = cluster.add_node(num_cpus=2)
    three = cluster_executor(cluster, cpus_per_task=3)
    message = "No node of this Ray can hold a task of 3 CPUs"
    with contextlib.closing(three), pytest.raises(ExecutorError, match=message):
        three.start(faulty)
    plan = make_plan(faulty, axes={"i": "range(40)"}, params={"pause_s": 0.1})
    table = ParquetTable(tmp_path, faulty)
    with contextlib.closing(cluster_executor(cluster)) as made:
        made.start(faulty)
        assert made.n_slots == 1 + 2  # counted node by node
        removed = []

        def watch(snapshot):
            if snapshot.finished >= 10 and not removed:
                removed.append(snapshot.finished)
                cluster.remove_node(lost, allow_graceful=False)
                removed.append(cluster.add_node(num_cpus=1))

        report = Loop(
            plan, table, made, launch_id="L", on_failure=OnFailure(max_attempts=2), watcher=watch
        ).run()
    assert removed
    cluster.remove_node(removed[1])
    assert dict(report.statuses) == {"ok": 40}
    assert [r["y"] for r in table.read(plan.run_ids).to_pylist()] == [float(i) for i in range(40)]


def test_losing_the_head_keeps_what_had_finished(cluster, folder):
    """Last: nothing goes on there."""
    (folder / "sweep.yaml").write_text(
        "experiment: toys:faulty\naxes: {i: range(3000)}\nparams: {pause_s: 0.05}\n"
    )
    words = ("executor=ray_cluster", f"executor.address={cluster.address}")
    driver = Driver(folder, "sweep.yaml", *words, "store.commit_every_s=0.2")
    driver.wait_until(lambda: n_done(folder, faulty) >= 1)
    cluster.head_node.kill_gcs_server()
    _, err = driver.ends(14)
    assert "Ray's head is gone" in err
    assert "run the same command to go on" in err
    assert n_done(folder, faulty) >= 1
