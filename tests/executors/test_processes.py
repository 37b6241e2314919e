"""Processes of this machine: besides the contract (tests/contracts), how they come and go."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing, suppress

import psutil
import pytest
from toys import faulty, toy

from lawsweep.contracts.executors import until_over
from lawsweep.core.errors import ExecutorError
from lawsweep.core.outcome import Loss, RunSpec, Task
from lawsweep.executors.make import make_executor
from lawsweep.executors.processes import executor as processes


def task(i, *params, **given):
    return Task(i, tuple(RunSpec(k, str(k), p, 0) for k, p in enumerate(params)), **given)


def make(**options):
    return closing(make_executor({"kind": "processes", **options}))


def test_what_the_kernel_killed_for_memory_is_told_from_a_crash(monkeypatch):
    kills = iter([0, 1, 1])
    monkeypatch.setattr(processes, "_oom_kills", lambda: next(kills))
    with make(n_workers=1) as executor:
        executor.start(faulty)
        for i in (0, 1):
            executor.submit(task(i, {"i": 2, "fault": "kill", "at": 2}))
        lost = [e.lost for e in until_over(executor, 2) if e.lost is not None]
    assert [x.why for x in lost] == [Loss.OUT_OF_MEMORY, Loss.CRASHED]
    assert "signal SIGKILL" in str(lost[1])


def test_a_task_that_is_to_be_alone_runs_beside_no_other(monkeypatch):
    with make(n_workers=2) as executor:
        executor.start(toy)
        given, real = [], processes._Worker.give

        def give(worker, task):
            others = {w.task.id for w in executor._workers if w.task is not None}
            given.append((task.id, others))
            real(worker, task)

        monkeypatch.setattr(processes._Worker, "give", give)
        executor.submit(task(0, *({"n": n} for n in range(1, 4))))
        executor.submit(task(1, {"n": 1}, whole_node=True))
        executor.submit(task(2, {"n": 2}))
        executor.submit(task(3, {"n": 3}))
        assert [i for i, _ in given] == [0]  # the second is free, and waits
        until_over(executor, 4)
    assert [i for i, _ in given] == [0, 1, 2, 3]
    assert given[1] == (1, set())
    assert all(1 not in others for _, others in given)


def test_workers_that_cannot_begin_are_a_sentence(monkeypatch):
    monkeypatch.setattr(processes, "_BOOT", "raise SystemExit(7)")
    with make(n_workers=2) as executor:
        executor.start(toy)
        executor.submit(task(0, {"n": 1}))
        with pytest.raises(ExecutorError, match=r"die as they start \(exit code 7\)"):
            until_over(executor, 1)


def test_what_cannot_be_sent_is_a_sentence():
    lock = threading.Lock()

    def held(params, seed):
        return lock

    with make(n_workers=1) as executor:
        unsendable = dataclasses.replace(toy, function=held)
        with pytest.raises(ExecutorError, match="cannot be sent to another process"):
            executor.start(unsendable)


SCRIPT = """
import os, sys, time
import lawsweep
from lawsweep import experiment

NOTE = "of the script"

@experiment
def own(n: int, seed: int) -> dict:
    with open("pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(PAUSE)
    return {"y": float(n), "where": NOTE}

given = {"axes": {"n": [1, 2, 3]}, "executor": {"kind": "processes"}}
sweep = lawsweep.Sweep(name="own", experiment=own, **given)
study = lawsweep.open(sweep)
study.run()
print(sorted(zip(study.frame()["y"], study.frame()["where"])))
"""


def test_a_function_of_a_script_without_a_guard_runs_in_other_processes(folder):
    (folder / "s.py").write_text(SCRIPT.replace("PAUSE", "0"))
    found = subprocess.run(
        [sys.executable, "s.py"], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip().endswith("[(1.0, 'of the script'), (2.0, 'of the script'), "
                                         "(3.0, 'of the script')]")  # fmt: skip
    pids = {int(line) for line in (folder / "pids").read_text().split()}
    assert os.getpid() not in pids


def test_workers_end_with_a_driver_that_is_killed(folder):
    (folder / "s.py").write_text(textwrap.dedent(SCRIPT.replace("PAUSE", "3600")))
    driver = subprocess.Popen([sys.executable, "s.py"], stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: (folder / "pids").exists() and (folder / "pids").read_text().strip())
        pids = [int(line) for line in (folder / "pids").read_text().split()]
        driver.send_signal(signal.SIGKILL)
        driver.wait(60)
        _wait_for(lambda: not any(map(_alive, pids)))
    finally:
        driver.kill()
        driver.wait()


def _alive(pid):
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _wait_for(state):
    end = time.monotonic() + 300  # a hang is an error; a busy machine is none
    while not state():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def test_workers_import_from_where_this_process_does_in_its_order(folder, monkeypatch):
    (folder / "queue.py").write_text("raise ImportError('not this one')\n")
    (folder / "late.py").write_text(
        "from lawsweep import experiment\n"
        "@experiment\n"
        "def late(n: int) -> dict:\n"
        "    import queue, sys\n"
        "    return {'y': float(n), 'path': '|'.join(sys.path)}\n"
    )
    elsewhere = folder / "deep"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.syspath_prepend(str(elsewhere))
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])  # behind Python's own
    import late

    with make(n_workers=1) as executor:
        executor.start(late.late)
        executor.submit(task(0, {"n": 3}))
        (outcome,) = [o for e in until_over(executor, 1) for o in e.outcomes]
    assert outcome.status == "ok", outcome.error
    assert outcome.metrics["path"].split("|")[-1] == str(folder)
