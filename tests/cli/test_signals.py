"""Ctrl-C and SIGTERM from the first moment of a command: never lost, never a stack."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest
from driving import SUPPORT, n_done
from toys import faulty

from lawsweep.executors.ray.manners import own_sigterm
from lawsweep.launch import interrupts
from lawsweep.launch.interrupts import Interrupts, heeded

# A process that runs with this sends itself a signal at a moment that a word names: "import X" or
# "Popen X".  "lost" sends it where an exception goes nowhere, as in a destructor.
HOOK = """
import os, signal, sys
moment = os.environ.pop("AT", None)  # what it starts is left alone
how, number = os.environ["HOW"], int(os.environ["SIGNAL"])
sent = []

class Dying:
    def __del__(self):
        os.kill(os.getpid(), number)
        for _ in range(100):
            pass

def hook(event, args):
    if sent or event not in ("import", "subprocess.Popen") or os.getpid() != main:
        return
    now = f"import {args[0]}" if event == "import" else f"Popen {os.path.basename(str(args[0]))}"
    if now == moment:
        sent.append(now)
        if how == "lost":
            keep, sys.unraisablehook = sys.unraisablehook, lambda _: None
            Dying()
            sys.unraisablehook = keep
        else:
            os.kill(os.getpid(), number)

main = os.getpid()
if moment:
    sys.addaudithook(hook)
"""


def run(folder, moment, how, number, *words):
    """The ended command, signalled at that moment."""
    hooks = folder / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK)
    (folder / "sweep.yaml").write_text(
        "experiment: toys:faulty\naxes: {i: 'range(3, 203)'}\nparams: {pause_s: 0.02}\n"
    )
    path = os.pathsep.join([str(hooks), SUPPORT])
    return subprocess.run(
        [sys.executable, "-m", "lawsweep.cli.main", "run", "sweep.yaml", *words],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "LAWSWEEP_RESULTS_DIR": "results",
            "AT": moment,
            "HOW": how,
            "SIGNAL": str(int(number)),
        },
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def assert_interrupted(folder, ended):
    assert ended.returncode == 130, ended.stderr
    assert "interrupted" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert n_done(folder, faulty) < 200


MOMENTS = [
    "import click",
    "import lawsweep.grid.sweep",
    "import lawsweep.cli.progress",
    "import hydra",
    "import lawsweep.study.launch",
    "import lawsweep.worker.execute",
    "import lawsweep.store.table.patient",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_of_the_start_ends_it(folder, moment):
    number = signal.SIGTERM if MOMENTS.index(moment) % 2 else signal.SIGINT
    assert_interrupted(folder, run(folder, moment, "plain", number, "executor=serial"))


@pytest.mark.parametrize("moment", MOMENTS[2:])
def test_one_that_is_lost_in_a_destructor_is_not_lost(folder, moment):
    assert_interrupted(folder, run(folder, moment, "lost", signal.SIGTERM, "executor=serial"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("import ray", "lost"),
        ("Popen gcs_server", "plain"),
        ("Popen gcs_server", "lost"),
        ("Popen raylet", "plain"),
        ("Popen raylet", "lost"),
        ("import lawsweep.launch.record.provenance", "lost"),
    ],
)
def test_while_ray_starts_it_is_not_lost_either(folder, moment, how):
    """Ray answers a SIGTERM in its own way as it starts, and what that raises may go nowhere."""
    words = ("executor=ray_local", "executor.n_cpus=1")
    assert_interrupted(folder, run(folder, moment, how, signal.SIGTERM, *words))


def test_sigterm_under_another_handler_is_told_at_the_end():
    def start(came):
        with own_sigterm():
            signal.signal(signal.SIGTERM, lambda number, frame: None)  # as Ray's may
            if came:
                os.kill(os.getpid(), signal.SIGTERM)

    with heeded():
        start(False)
        with pytest.raises(KeyboardInterrupt):
            start(True)


def test_a_library_that_sets_its_own_action_below_python_changes_nothing():
    """As Ray's core does while it waits for the raylet; that action would end the process."""
    libc = ctypes.CDLL(None)

    def action():
        found = ctypes.create_string_buffer(1024)
        libc.sigaction(int(signal.SIGTERM), None, found)
        return found.raw[:8]  # the function

    def start():
        with own_sigterm():
            before = action()
            libc.signal(int(signal.SIGTERM), None)  # the default: to end
            end = time.monotonic() + 20
            while action() != before:
                assert time.monotonic() < end
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGTERM)

    with heeded(), pytest.raises(KeyboardInterrupt):
        start()


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup, or in the background
    try:
        with heeded():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_lost_one_is_delivered_by_what_starts_next_and_only_once():
    with heeded():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts._asked == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt), Interrupts() as held:
            held.deliver()
        with pytest.raises(KeyboardInterrupt), Interrupts():
            pass
        interrupts._asked.clear()
        with Interrupts():
            pass
    assert interrupts._asked == []
