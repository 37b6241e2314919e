"""The ``ray`` command as on a machine with no other Ray: it sees and stops the marked ones only.

``ray symmetric-run`` refuses to start beside any other Ray, and ``ray stop`` ends every Ray of the
machine; other tests have theirs.  Marked are processes that inherited this one's SLURM_JOB_MARK.
"""

from __future__ import annotations

import contextlib
import os
import sys

import psutil

MARK = "SLURM_JOB_MARK"


def stop():
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "ray::" in line or "/ray/" in line:
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == os.environ[MARK]:
                    found.append(process)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(found, timeout=10)


if __name__ == "__main__":
    if sys.argv[1:2] == ["stop"]:
        stop()
    else:
        from ray.scripts import scripts, symmetric_run

        symmetric_run.check_ray_already_started = lambda: False
        sys.exit(scripts.main())
