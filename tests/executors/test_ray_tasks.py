"""What is Ray's own: threads, memory, and the imports of its workers."""

from __future__ import annotations

import contextlib

import pytest
from toys import slowly_importing, toy

from lawsweep.contracts.executors import collect, specs
from lawsweep.core.outcome import Task
from lawsweep.executors.make import make_executor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable

SLOW_IMPORT = """
import os, time
try:
    os.mkdir(os.path.join(os.path.dirname(__file__), "met"))  # once: one process is first
except FileExistsError:
    pass
else:
    time.sleep(3600)
value = 1.0
"""


@pytest.fixture(scope="module")
def ray_two_cpus():
    """One Ray for the tests of this module; executors join what is running already."""
    import ray

    owner = make_executor({"kind": "ray_local", "n_cpus": 2})
    owner.start(toy)
    yield
    owner.close()
    assert not ray.is_initialized()


def test_an_import_that_a_deadline_cuts_off_spoils_no_other_run(
    ray_two_cpus, tmp_path, monkeypatch
):
    """Half a module stays in a process whose import was ended; its next runs would find that."""
    home = tmp_path / "code"
    home.mkdir()
    (home / "slow_import.py").write_text(SLOW_IMPORT, encoding="utf-8")
    monkeypatch.syspath_prepend(str(home))
    plan = make_plan(slowly_importing, axes={"i": "range(12)"}, params={"home": str(home)})
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(slowly_importing)
        table = ParquetTable(tmp_path / "tables", slowly_importing)
        policy = OnFailure(timeout_s=1.0, max_attempts=1)
        report = Loop(plan, table, made, launch_id="L", on_failure=policy).run()
    # As often as the module says it is slow, once for each import that is cut off.
    assert dict(report.statuses) == {"ok": 11, "timeout": 1}


def test_a_task_that_no_node_has_memory_for_gets_a_node_to_itself(ray_two_cpus):
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(toy)
        for i, memory in enumerate((1e18, 3e9, 1e6)):
            made.submit(Task(i, specs([{"n": 1}]), memory_bytes=memory))
        assert [o.status for o in collect(made, 3)] == ["ok"] * 3


def test_threads_follow_the_cpus_of_a_task(ray_two_cpus):
    with contextlib.closing(make_executor({"kind": "ray_local", "cpus_per_task": 2})) as made:
        made.start(toy)
        assert made.n_slots == 1
        made.submit(Task(0, specs([{"n": 1}])))
        assert collect(made, 1)[0].n_threads == 2
