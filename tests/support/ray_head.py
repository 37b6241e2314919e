"""A Ray head of our own with its job server: free ports, own folder, own token, own end.

Nothing here touches another Ray on this machine: never ``ray stop``, which ends them all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

TOKEN = "0123456789abcdef" * 4


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Head:
    """A running head: where its job server is, and how it dies."""

    def __init__(self, folder, n_cpus):
        self.folder = folder  # short: the path of a socket has at most 107 characters
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        binaries = Path(sys.executable).parent
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment = {
            **inherited,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
        }
        command = [
            str(binaries / "ray"), "start", "--head", "--block", "--port=0",
            f"--dashboard-port={port}", f"--temp-dir={folder}", f"--num-cpus={n_cpus}",
            "--dashboard-agent-listen-port=0", f"--ray-client-server-port={free_port()}",
            "--object-store-memory=100000000", "--disable-usage-stats",
            "--include-log-monitor=false",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait(self, seconds=90):
        """Wait until the job server answers."""
        end = time.monotonic() + seconds
        request = urllib.request.Request(
            f"{self.address}/api/version", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=2) as answer:
                return answer.read()
            assert self._process.poll() is None, "the head did not start"
            assert time.monotonic() < end, "the head's job server does not answer"
            time.sleep(0.1)

    def kill(self):
        """SIGKILL to all its processes."""
        found = self._family()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.wait()
        psutil.wait_procs(found, timeout=20)

    def _family(self):
        """Its children, and what has left the family: known by its folder."""
        found = []
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self._process.pid).children(recursive=True)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                named = any(str(self.folder) in word for word in process.cmdline())
                if named and process.pid != os.getpid() and process not in found:
                    found.append(process)
        return found


@contextlib.contextmanager
def ray_head(n_cpus=2):
    """A head whose job server answers; killed and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lsr", dir="/tmp"))
    head = Head(folder, n_cpus)
    try:
        head.wait()
        yield head
    finally:
        head.kill()
        shutil.rmtree(folder, ignore_errors=True)
