"""A debugger in a run, and where a run failed: it has the terminal to itself."""

from __future__ import annotations

import io
import os
import pdb
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from lawsweep.core.errors import UnknownNameError
from lawsweep.core.registry import find_experiment
from lawsweep.worker import debugging

FAILING = """
import pdb
from pdb import set_trace

import numpy as np


def factor(n):
    marker = n * 111
    return np.linalg.cholesky(-np.eye(n))


def failing(n: int, fails: bool = True) -> float:
    return float(factor(n)[0, 0]) if fails else 1.0


def stopping(n: int) -> float:
    before = n + 40
    breakpoint()
    return before * 2.0


def by_hand(n: int) -> float:
    before = n + 50
    print("heard")
    set_trace() if n == 2 else pdb.set_trace()
    return before * 2.0
"""


class Typed(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def failed_run(lawsweep, write, folder):
    (folder / "unsound.py").write_text(FAILING)
    write("unsound", "experiment: unsound.py:failing\nexecutor: serial\naxes: {n: [3]}\n")
    code, _, err = lawsweep("run", "unsound")
    assert code == 3, err
    return re.search(r"\(run ([0-9a-f]{8})\)", err)[1]


def test_replay_stops_at_the_user_s_own_line(lawsweep, failed_run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Typed("p marker\nw\ndown\nq\n"))
    code, out, err = lawsweep("replay", failed_run, "--pdb")
    assert code == 0, err  # it fails as it did
    where, marker, stack, down, _ = out.split("(Pdb) ")
    assert where.rstrip().endswith("-> return np.linalg.cholesky(-np.eye(n))")  # numpy raised
    assert marker == "333\n"
    assert "failing()" in stack
    assert "linalg" in down.partition("\n")[0]
    assert not re.search(r"lawsweep/(worker|core)/", out)
    assert "reproduced bit for bit: failed" in out


def test_no_debugger_is_said(lawsweep, failed_run, monkeypatch, folder):
    monkeypatch.setattr(sys, "stdin", io.StringIO("q\n"))
    code, out, err = lawsweep("replay", failed_run, "--pdb")
    assert (code, out) == (11, "")
    assert err.startswith("lawsweep: --pdb needs a terminal")
    assert err.count("\n") == 1
    monkeypatch.setattr(sys, "stdin", Typed(""))
    assert "--sample" in lawsweep("replay", "unsound", "--sample", "1", "--pdb")[2]
    assert "--json" in lawsweep("replay", failed_run, "--json", "--pdb")[2]
    code, _, err = lawsweep("run", "unsound", "params.fails=false")
    assert code == 0, err
    good = lawsweep("sql", "select run_id from unsound_failing where status = 'ok'", "--json")[1]
    run_id = re.search(r"[0-9a-f]{32}", good)[0]
    code, _, err = lawsweep("replay", run_id, "--pdb")
    assert (code, "no debugger: the run did not fail this time" in err) == (0, True)


def test_a_failure_in_nobody_s_code_opens_no_debugger():
    assert debugging.look_at(ValueError("raised nowhere")) is False
    with pytest.raises(UnknownNameError) as found:
        find_experiment("no_such")
    ours = found.value.__traceback__.tb_next  # raised by a frame of lawsweep.core alone
    assert debugging.look_at(found.value.with_traceback(ours)) is False


def test_leaving_the_debugger_ends_the_launch(lawsweep, write, folder, monkeypatch):
    (folder / "unsound.py").write_text(FAILING)
    write("stopping", "experiment: unsound.py:stopping\nexecutor: serial\naxes: {n: [1, 2]}\n")
    monkeypatch.setattr(sys, "stdin", Typed("p before\nc\nq\n"))
    monkeypatch.setenv("PYTHONBREAKPOINT", "ray.util.rpdb._driver_set_trace")  # Ray was here
    hook, trace = sys.breakpointhook, sys.gettrace()
    code, out, _ = lawsweep("run", "stopping")
    assert code == 130
    assert re.search(r"\(Pdb\) 4[12]\n", out)
    assert sys.breakpointhook is hook
    assert sys.gettrace() is trace
    assert "1 ok" in lawsweep("status", "stopping")[1]  # the one that was gone on with


def test_pdb_that_is_called_by_hand_has_the_terminal_too(lawsweep, write, folder, monkeypatch):
    (folder / "unsound.py").write_text(FAILING)
    write("by_hand", "experiment: unsound.py:by_hand\nexecutor: serial\naxes: {n: [1, 2]}\n")
    seen = []

    class Screen:
        def pause(self):
            seen.append("pause")

        def resume(self):
            seen.append("resume")

    trace = sys.gettrace()
    # pytest has one of its own there; this is what the standard library's does.
    monkeypatch.setattr(pdb, "set_trace", lambda: pdb.Pdb().set_trace(sys._getframe(1)))
    monkeypatch.setattr(sys, "stdin", Typed("p before\nc\np before\nc\n"))
    with debugging.giving_way(Screen()):
        code, out, err = lawsweep("run", "by_hand")
    assert code == 0, err
    assert sorted(re.findall(r"\(Pdb\) (5[12])\n", out)) == ["51", "52"]
    assert seen == ["pause", "resume"] * 2
    assert "set_trace" not in vars(pdb.Pdb) or pdb.Pdb.set_trace.__module__ == "pdb"
    assert sys.gettrace() is trace
    with open(os.devnull) as nowhere:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", nowhere)
        code, _, err = lawsweep("run", "by_hand", "params.n=3")
    assert (code, "pdb.set_trace() needs a terminal" in err) == (3, True)  # no Ctrl-C of a person's


TOGETHER = """
from dataclasses import dataclass

from lawsweep import experiment


@dataclass(frozen=True)
class Params:
    n: int


@dataclass(frozen=True)
class Metrics:
    y: float


def at_once(params, seeds, device):
    n_runs = len(seeds)
    breakpoint()
    return [Metrics(1.0) for _ in seeds]


@experiment(version=1, fused=at_once)
def together(params: Params, seed: int) -> Metrics:
    return Metrics(1.0)
"""


def test_so_it_is_in_a_group_of_fused_runs(lawsweep, write, folder, monkeypatch):
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    (folder / "together.py").write_text(TOGETHER)
    write("group", "experiment: together:together\nexecutor: serial\naxes: {n: [1]}\nseeds: 4\n")
    monkeypatch.setattr(sys, "stdin", Typed("p n_runs\nq\n"))
    code, out, _ = lawsweep("run", "group")
    assert code == 130
    assert re.search(r"\(Pdb\) [1-4]\n", out)


def test_a_breakpoint_that_nobody_can_answer_fails_with_a_sentence(
    lawsweep, write, folder, monkeypatch
):
    (folder / "unsound.py").write_text(FAILING)
    write("stopping", "experiment: unsound.py:stopping\nexecutor: serial\naxes: {n: [1]}\n")
    with open(os.devnull) as nowhere:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", nowhere)
        code, _, err = lawsweep("run", "stopping")
        assert (code, "breakpoint() needs a terminal" in err) == (3, True)
        assert "replay RUN_ID --pdb" in err
        monkeypatch.setenv("PYTHONBREAKPOINT", "0")
        assert lawsweep("rerun", "stopping", "--failed")[0] == 0


def test_the_display_leaves_the_terminal_to_the_debugger(folder, write):
    """On a terminal of its own: from the prompt to the end of the run nothing is drawn on it."""
    (folder / "unsound.py").write_text(FAILING)
    write("stopping", "experiment: unsound.py:stopping\nexecutor: serial\naxes: {n: [1]}\n")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lawsweep.cli.main", "run", "stopping"], cwd=folder,
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    os.close(theirs)
    sent = ""

    def read_until(text):
        nonlocal sent
        start, end = len(sent), time.monotonic() + 120
        while text not in sent[start:]:
            left = max(0.0, end - time.monotonic())
            came = left and select.select([ours], [], [], left)[0]
            assert came, f"{text!r} did not come: {sent[-1000:]!r}"
            sent += os.read(ours, 4096).decode()

    try:
        read_until("(Pdb) ")
        drawn_before = "\x1b[" in sent
        at = len(sent)
        # The display would be drawn five times a second; what is seen here is the pause.
        assert not select.select([ours], [], [], 0.6)[0], os.read(ours, 4096)
        os.write(ours, b"p before\n")
        read_until("(Pdb) ")
        asked = sent[at:]
        os.write(ours, b"c\n")
        read_until("1 planned: 1 ok")
        code = process.wait(timeout=120)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert code == 0
    assert drawn_before
    assert re.sub(r"\x1b\[\?2004[hl]", "", asked).split() == ["p", "before", "41", "(Pdb)"]
