"""What is shown of a launch: on a terminal, in a log, and from another terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from lawsweep.cli import progress
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import make_plan
from lawsweep.launch.report import Snapshot, UnderWay, describe_snapshot


def snapshot(**changes):
    facts = {"planned": 1200, "done_before": 20, "statuses": {"ok": 30, "oom": 2}, "running": 3,
             "elapsed_s": 8.0, "rate": 4.0, "eta_s": 20.0, "eta_low_s": 17.0,
             "eta_high_s": 24.0}  # fmt: skip
    return Snapshot(**{**facts, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "52/1,200 done, 2 failed, 4/s, ETA 20 s (17-24)"),
        ({"statuses": {"ok": 1}}, "21/1,200 done, 4/s, ETA 20 s (17-24)"),
        ({"eta_s": None}, "52/1,200 done, 2 failed, 4/s"),
        ({"eta_low_s": 20.1, "eta_high_s": 20.2}, "52/1,200 done, 2 failed, 4/s, ETA 20 s"),
        ({"eta_s": 600.0, "eta_low_s": 540.0, "eta_high_s": 690.0}, "ETA 10 min (9-11.5)"),
        ({"eta_s": 9e4, "eta_low_s": 0.0, "eta_high_s": 3.6e5}, "ETA 25 h (0-100)"),
        ({"eta_s": 864e3, "eta_low_s": 432e3, "eta_high_s": 1728e3}, "ETA 10 days (5-20)"),
        ({"n_slots": 1, "n_busy": 1}, "ETA 20 s (17-24)"),  # one slot is not worth a word
        ({"n_slots": 8, "n_busy": 7, "slot": "0.25 GPU"}, "7/8 slots busy (0.25 GPU)"),
        ({"n_slots": 2, "n_busy": 3}, "2/2 slots busy (CPU)"),  # one waits at the executor
    ],
)
def test_a_line(changes, expected):
    assert progress.line(describe_snapshot(snapshot(**changes))).endswith(expected)


def test_what_an_interrupt_waits_for_is_named():
    assert progress.finishing_line(describe_snapshot(snapshot())) is None
    under_way = (UnderWay(12.2, {"n": 500, "width": 64}, 3), UnderWay(0.4, {"n": 2, "width": 8}, 0))
    waiting = snapshot(finishing_s=5.0, n_busy=2, slowest=under_way)
    assert progress.finishing_line(describe_snapshot(waiting)) == (
        "finishing 2 runs or groups for at most 5 s; Ctrl-C again stops now: "
        "n=500 width=64 seed=3 (12 s); n=2 width=8 seed=0 (0 s)"
    )


def test_runs_that_take_long_are_named():
    slow = (UnderWay(3700.0, {"n": 9, "width": 64}, 3), UnderWay(62.0, {"n": 8}, 0),
            UnderWay(9.0, {"n": 7}, 1))  # fmt: skip
    state = describe_snapshot(snapshot(slowest=slow))
    expected = "slowest under way: n=9 width=64 seed=3 (61.7 min); n=8 seed=0 (62 s)"
    assert progress.slow_line(state) == expected
    assert progress.slow_line(json.loads(json.dumps(state))) == expected  # as the store keeps it
    assert progress.slow_line(describe_snapshot(snapshot())) is None


def test_a_sign_of_life_of_an_older_lawsweep_is_shown_too():
    old = {"running": 3, "finished": 30, "rate": 4.0, "eta_s": 20.0, "at": 0.0}
    assert progress.line(old) == "4/s, ETA 20 s"
    assert progress.slow_line(old) is None


def test_a_log_has_plain_lines_now_and_then(capsys, monkeypatch):
    from toys import toy

    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    plan = make_plan(toy, axes={"n": [1, 2]})
    slow = (UnderWay(30.0, {"n": 2}, 0),)
    failure = Outcome(1, "failed", error="ValueError: no\nmore")
    with progress.progress(plan) as (sink,):
        for second in range(130):
            now[0] = float(second)
            if second == 3:
                sink.outcome(failure)
            sink.progress(snapshot(slowest=slow))
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"failed: n=2 seed=0: ValueError: no \(run [0-9a-f]{8}\)", lines[0])
    assert sum("done" in x for x in lines) == 25  # every 5 s
    assert sum(x == "slowest under way: n=2 seed=0 (30 s)" for x in lines) == 2  # every minute
    assert not any("\x1b" in x for x in lines)


def on_a_terminal(words, cwd, environment):
    """Exit code, and what a terminal of 100 columns is sent on stderr."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lawsweep.cli.main", *words], cwd=cwd, stderr=theirs,
        stdout=subprocess.DEVNULL, env={**environment, "COLUMNS": "100", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    sent = b""
    while True:
        try:
            read = os.read(ours, 4096)
        except OSError:  # how Linux ends the reading of a terminal that nobody writes to
            break
        if not read:
            break
        sent += read
    os.close(ours)
    return process.wait(timeout=300), sent.decode()


def test_a_terminal_has_a_live_bar_and_the_failures_above_it(folder, write):
    support = sys.modules["toys"].__file__.rpartition("/")[0]
    write("faults", "experiment: toys:faulty\nexecutor: serial\naxes: {i: range(8)}\n")
    environment = {**os.environ, "PYTHONPATH": support}
    code, sent = on_a_terminal(
        ("run", "faults", "params.pause_s=0.15", "params.fault=raise"), folder, environment
    )
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sent)
    assert code == 3
    assert "failed: " in plain
    assert "ValueError: a kernel said no" in plain
    assert re.search(r"[1-7]/8 done, ", plain)
    assert sent.rstrip().endswith("\x1b[2K")  # the display is gone at the end
