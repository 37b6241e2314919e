"""Ctrl-C and SIGTERM from the first moment of a command: never lost, never a stack."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import pytest
from driving import n_done
from signalled import Command
from toys import faulty

from lawsweep.executors.ray.manners import own_sigterm
from lawsweep.launch import interrupts
from lawsweep.launch.interrupts import Interrupts, heeded


@pytest.fixture(scope="module")
def command():
    found = Command()
    yield found
    found.end()


@pytest.fixture
def signalled(command, folder):
    """Run the sweep, signalled at that moment: it ends as interrupted, with few of its runs."""
    (folder / "sweep.yaml").write_text(
        "experiment: toys:faulty\naxes: {i: 'range(3, 203)'}\nparams: {pause_s: 0.02}\n"
    )

    def run(moment, how, number, *words):
        code, out, err = command.run(folder, moment, how, number, "sweep.yaml", *words)
        assert code == 130, err
        assert "interrupted" in out + err
        assert "Traceback" not in err
        assert n_done(folder, faulty) < 200

    return run


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
def test_a_signal_at_any_moment_of_the_start_ends_it(signalled, moment):
    number = signal.SIGTERM if MOMENTS.index(moment) % 2 else signal.SIGINT
    signalled(moment, "plain", number, "executor=serial")


@pytest.mark.parametrize("moment", MOMENTS[2:])
def test_one_that_is_lost_in_a_destructor_is_not_lost(signalled, moment):
    signalled(moment, "lost", signal.SIGTERM, "executor=serial")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("import ray", "lost"),
        ("Popen gcs_server", "plain"),
        ("Popen raylet", "lost"),
        ("import lawsweep.launch.record.provenance", "lost"),
    ],
)
def test_while_ray_starts_it_is_not_lost_either(signalled, moment, how):
    """Ray answers a SIGTERM in its own way as it starts, and what that raises may go nowhere."""
    signalled(moment, how, signal.SIGTERM, "executor=ray_local", "executor.n_cpus=1")


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
