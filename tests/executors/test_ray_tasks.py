"""What is Ray's own: threads, memory, and the imports of its workers."""

from __future__ import annotations

import contextlib
import os
import sys
import time

import pytest
from toys import slowly_importing, toy

from lawsweep.contracts.executors import collect, specs
from lawsweep.core.outcome import Task
from lawsweep.core.registry import find_experiment
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

TELLING = """
import time
import lawsweep

def tell(n: int):
    for step in range(n):
        lawsweep.report(step, loss=step)
        time.sleep(0.02)
    return {"steps": step}
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


class Enough:
    """Stops a run once it has told of ten steps."""

    def tell(self, run, points):
        return "enough" if any(step >= 10 for step, _ in points) else None

    def ended(self, run, points, *, well):
        pass

    def notes(self):
        return ()


def test_a_run_tells_of_its_curve_while_it_is_under_way_and_is_stopped(
    ray_two_cpus, tmp_path, monkeypatch
):
    """It takes a minute, unless it has been heard of and told to stop."""
    home = tmp_path / "code"
    home.mkdir()
    (home / "telling.py").write_text(TELLING, encoding="utf-8")
    monkeypatch.syspath_prepend(str(home))
    telling = find_experiment("telling:tell", home)
    plan = make_plan(telling, params={"n": 3000})
    table = ParquetTable(tmp_path / "tables", telling)
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(telling)
        loop = Loop(plan, table, made, launch_id="L", on_failure=OnFailure())
        loop.stopping = Enough()
        assert dict(loop.run().statuses) == {"stopped": 1}
    (row,) = table.rows().to_pylist()
    found = table.curve_table.read()
    assert row["error"] == "enough"
    assert 10 < found.num_rows < 3000
    assert found["step"].to_pylist()[:1025] == list(range(min(found.num_rows, 1025)))


def test_threads_follow_the_cpus_of_a_task(ray_two_cpus):
    with contextlib.closing(make_executor({"kind": "ray_local", "cpus_per_task": 2})) as made:
        made.start(toy)
        assert made.n_slots == 1
        made.submit(Task(0, specs([{"n": 1}])))
        assert collect(made, 1)[0].n_threads == 2


def test_functions_of_files_notebooks_and_commands_reach_the_workers(
    ray_two_cpus, tmp_path, monkeypatch
):
    """By the path of the file, by value, as the text of a file that no import finds."""
    from lawsweep import open as open_study

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "sweeps").mkdir()
    for name in ("shipped_plainly", "shipped-1"):
        (tmp_path / f"{name}.py").write_text(
            "from shipped_helper import ONE\n\ndef run(n: int, seed: int = 0):\n"
            "    return {'y': n + ONE + seed}\n"
        )
    (tmp_path / "shipped_helper.py").write_text("ONE = 1\n")
    (tmp_path / "said.py").write_text(
        "import json, sys\nprint(json.dumps({'y': int(sys.argv[1]) + 1 + int(sys.argv[2])}))\n"
    )
    command = "command: python said.py {n} {seed}\naxes: {n: [1, 2]}\nseeds: 2\n"
    (tmp_path / "sweeps" / "commanded.yaml").write_text(command)
    one = 1

    def local(n: int, seed: int):
        return {"y": n + one + seed}

    studies = [
        open_study("shipped_plainly.py:run", "n=1,2", "seeds=2"),
        open_study("shipped-1.py:run", "n=1,2", "seeds=2"),
        open_study("commanded"),
        open_study(local, axes={"n": [1, 2]}, seeds=2),
    ]
    for study in studies:
        study.run(executor="ray_local")
        frame = study.frame()
        assert frame["status"].tolist() == ["ok"] * 4, frame["error"].tolist()
        assert frame["y"].tolist() == [2, 3, 3, 4]
    # A program whose run is cut off at its deadline ends with it.
    (tmp_path / "sweeps" / "late.yaml").write_text(
        "command: {run: 'echo $$ > {root}/pid; : {n}; sleep 1000 & wait', shell: true}\n"
        "axes: {n: [1]}\non_failure: {timeout_s: 1, max_attempts: 1}\n"
    )
    late = open_study("late")
    late.run(executor="ray_local")
    assert late.frame()["status"].tolist() == ["timeout"]
    group = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 60
    while members(group) and time.monotonic() < end:
        time.sleep(0.05)
    assert members(group) == []


def members(group):
    """Processes of a group that are no zombies."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
