"""``lawsweep run`` that sends itself a signal at a moment of its start, forked from one process.

That process has imported what the command needs of others, most of its start, but nothing of ours.
It answers each line, a JSON object of ``folder``,
``words``, ``moment``, ``how`` and ``signal``, with the exit code and what was said.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 240  # the longest that a command may take


class Command:
    """``run(folder, moment, how, number, *words)``: (exit code, stdout, stderr) of the command."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder, moment, how, number, *words):
        """``moment`` is "import X" or "Popen X"; ``how`` "plain", or "lost" where it goes nowhere.

        Lost is what an exception in a destructor is.
        """
        case = {"folder": str(folder), "words": words, "moment": moment, "how": how,
                "signal": int(number)}  # fmt: skip
        print(json.dumps(case), file=self._process.stdin, flush=True)
        code = json.loads(self._process.stdout.readline())
        assert code is not None, f"it had not ended after {SECONDS} s"
        return code, *((folder / name).read_text() for name in ("stdout", "stderr"))

    def end(self):
        """No more of them."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


class Dying:
    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)
        for _ in range(100):
            pass


def send_at(moment, how, number):
    """Send this process, and none that it starts, the signal at that moment."""
    main, sent = os.getpid(), []

    def hook(event, args):
        if sent or event not in ("import", "subprocess.Popen") or os.getpid() != main:
            return
        name = args[0] if event == "import" else os.path.basename(str(args[0]))  # noqa: PTH119
        now = f"{'import' if event == 'import' else 'Popen'} {name}"
        if now == moment:
            sent.append(now)
            if how == "lost":
                keep, sys.unraisablehook = sys.unraisablehook, lambda _: None
                Dying(number)
                sys.unraisablehook = keep
            else:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)


def become(case):
    """The command, as ``python -m lawsweep.cli.main`` in that folder would be."""
    os.chdir(case["folder"])
    support = str(Path(__file__).parent)
    os.environ.update(PYTHONPATH=support, LAWSWEEP_RESULTS_DIR="results")
    sys.path[:0] = [case["folder"], support]
    sys.argv = ["lawsweep", "run", *case["words"]]
    sys.orig_argv = [sys.executable, "-m", "lawsweep.cli.main", *sys.argv[1:]]
    for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.modules.pop("hydra", None)  # its import is such a moment
    send_at(case["moment"], case["how"], case["signal"])
    runpy.run_module("lawsweep.cli.main", run_name="__main__", alter_sys=True)


def ended(pid):
    """Its exit code; None where it had to be killed."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def main():
    import yaml  # noqa: F401
    from hydra import compose, initialize_config_dir  # noqa: F401

    assert not {"click", "lawsweep", "ray"} & set(sys.modules)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            become(json.loads(line))
            return
        print(json.dumps(ended(pid)), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
