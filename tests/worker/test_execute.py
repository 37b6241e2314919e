from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toys import Metrics, faulty, toy

from lawsweep import experiment
from lawsweep.core.code.imported import imported_by
from lawsweep.core.outcome import RunSpec
from lawsweep.worker.execute import execute_run


def run(experiment, timeout_s=None, **params):
    return execute_run(experiment, RunSpec(7, "id", params, 1, attempt=2), "cpu", timeout_s)


def test_an_outcome_carries_its_circumstances():
    outcome = run(toy, n=3)
    assert (outcome.index, outcome.status, outcome.attempt) == (7, "ok", 2)
    assert outcome.metrics["draws"] == 3
    assert outcome.wall_s > 0
    assert outcome.n_threads >= 1
    assert 1e7 < outcome.peak_memory_bytes < 1e11
    assert outcome.host
    assert outcome.error is None


def test_what_a_function_imports_is_not_timed_with_its_first_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imported_late.py").write_text("import time\nat = time.time()\n")

    def use(params, seed):
        import imported_late

        return Metrics(y=imported_late.at, draws=1)

    # A module that is not there is none of this run's business: it never imports it.
    needing = dataclasses.replace(toy, function=use, imports=("imported_late", "never_there"))
    outcome = run(needing, n=1)
    assert outcome.status == "ok"
    assert outcome.metrics["y"] <= outcome.started_at
    lacking = dataclasses.replace(needing, function=lambda params, seed: __import__("never_there"))
    outcome = run(lacking, n=1)
    assert (outcome.status, outcome.error) == (
        "failed",
        "ModuleNotFoundError: No module named 'never_there'",
    )


def test_the_peak_memory_of_a_run_is_its_own():
    def hold(params, seed):
        held = bytearray(params.n * 2**20)
        held[:: 2**12] = b"x" * len(held[:: 2**12])  # touch every page
        return Metrics(y=1.0, draws=len(held))

    holding = dataclasses.replace(toy, function=hold)
    before, large, after = (run(holding, n=n).peak_memory_bytes for n in (1, 200, 1))
    # 200 MiB more than a run that holds next to nothing, before or after it; give or take what
    # the allocator and other threads do meanwhile.
    assert large - before > 150 * 2**20
    assert large - after > 150 * 2**20


def test_a_forked_child_measures_itself():
    """The files that tell are kept open; a child must not read its parent's."""
    code = """
import os
from lawsweep.worker.memory import peak_memory_bytes, reset_peak_memory
reset_peak_memory()
before = peak_memory_bytes()
if os.fork() == 0:
    held = bytearray(100 * 2**20)
    held[:: 2**12] = b"x" * len(held[:: 2**12])
    print("child", peak_memory_bytes() - before, flush=True)
    os._exit(0)
os.wait()
print("parent", peak_memory_bytes() - before)
"""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(out[1]) > 90 * 2**20
    assert int(out[3]) < 50 * 2**20


def test_missing_is_not_nan():
    assert math.isnan(run(toy, n=3, mode="nan").metrics["y"])
    assert run(toy, n=3, mode="missing").metrics["y"] is None


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ("raise", "failed", "ValueError: a kernel said no"),
        ("infeasible", "infeasible", "n exceeds p"),
        ("memory", "oom", "MemoryError: no room"),
        ("wrong_type", "failed", "InvalidValueError: faulty must return FaultMetrics, got str."),
    ],
)
def test_a_failure_is_an_outcome(fault, status, error):
    outcome = run(faulty, i=2, fault=fault)
    assert (outcome.status, outcome.error) == (status, error)
    assert outcome.metrics is None
    assert (outcome.traceback is None) == (status == "infeasible")
    if fault == "raise":
        assert 'raise ValueError("a kernel said no")' in outcome.traceback


def test_a_run_past_its_deadline_is_a_timeout():
    outcome = run(faulty, timeout_s=0.2, i=2, fault="sleep")
    assert outcome.status == "timeout"
    assert outcome.error == "longer than on_failure.timeout_s=0.2"
    assert outcome.wall_s < 5


def test_text_that_cannot_be_written_is_spelled_out():
    outcome = run(faulty, i=2, fault="surrogate")
    assert outcome.error == r"ValueError: bad name \udc80"
    outcome.traceback.encode()


def test_an_exception_that_cannot_be_read_is_still_a_row():
    outcome = run(faulty, i=2, fault="mute")
    assert (outcome.status, outcome.error) == ("failed", "MuteError: (its message cannot be read)")


@pytest.mark.parametrize("fault", ["swallow", "swallow_all", "swallow_and_fail", "swallow_exit"])
def test_a_deadline_is_not_swallowed(fault):
    outcome = run(faulty, timeout_s=0.2, i=2, fault=fault)
    assert (outcome.status, outcome.metrics) == ("timeout", None)
    assert outcome.error == "longer than on_failure.timeout_s=0.2"
    assert outcome.traceback is None


def test_a_call_that_comes_back_late_is_a_timeout():
    def solve(params, seed):
        before = time.perf_counter()
        while time.perf_counter() - before < 0.5:  # one call into C, deaf to signals until its end
            sum(range(3_000_000))
        return Metrics(y=1.0, draws=1)

    assert run(dataclasses.replace(toy, function=solve), timeout_s=0.1, n=1).status == "timeout"


def test_a_run_that_takes_the_alarm_for_itself_still_has_its_deadline():
    def solve(params, seed):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        time.sleep(0.2)
        return Metrics(y=1.0, draws=1)

    outcome = run(dataclasses.replace(toy, function=solve), timeout_s=0.1, n=1)
    assert (outcome.status, outcome.metrics) == ("timeout", None)


def test_what_functions_import_is_read_off_their_code():
    def inner():
        import os.path
        from colorsys import hls_to_rgb

        from . import relative

        def deeper():
            import json

            return json

        return os, relative, hls_to_rgb, deeper

    assert imported_by(inner) == ("os.path", "colorsys", "json")
    assert imported_by(_calls_others) == ("wave",)
    assert imported_by(len) == ()


def _calls_others():
    return _imports_wave(), _calls_others


def _imports_wave():
    import wave

    return wave


def test_the_working_folder_comes_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(faulty, i=2, fault="chdir").status == "ok"
    assert Path.cwd() == tmp_path


def test_an_interrupt_is_not_an_outcome():
    with pytest.raises(KeyboardInterrupt):
        run(faulty, i=2, fault="interrupt")


@pytest.mark.parametrize(("how", "code"), [("back", 0), ("raise", 1), ("exit", 3)])
def test_a_process_that_a_function_forks_never_answers_for_its_run(how, code):
    @experiment(version=1, name="forks")
    def forks(n: int):
        child = os.fork()
        if child == 0:
            if how == "raise":
                raise RuntimeError("of the child")
            if how == "exit":
                sys.exit(code)
            return {"y": -1.0}
        _, status = os.waitpid(child, 0)
        return {"y": float(n), "code": os.waitstatus_to_exitcode(status)}

    outcome = run(forks, n=3)
    assert (outcome.status, outcome.metrics) == ("ok", {"y": 3.0, "code": code})
