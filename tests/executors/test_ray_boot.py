"""The environment of workers that were there before: set by the function that comes to them."""

from __future__ import annotations

import os
import subprocess
import sys

from lawsweep.executors.ray.boot import booted

# Loads what it is given as Ray's worker does: functions first, then the libraries.
WORKER = """
import os, pickle, sys
import ray.cloudpickle
first, other = (bytes.fromhex(line) for line in sys.stdin)
pickle.loads(first)
print("numpy" in sys.modules, "lawsweep" in sys.modules, sys.path[:2])
print(os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"], os.environ["PYTHONPATH"])
import numpy
print(list(pickle.loads(other)(b"")), os.environ["OMP_NUM_THREADS"])
boot = pickle.loads(first)
os.environ["OMP_NUM_THREADS"] = "9"  # as Ray does, for a task that holds nine CPUs
try:
    next(boot(b""))
except EOFError:
    print("goes on to unpack the task", os.environ["OMP_NUM_THREADS"])
"""


def test_it_is_set_before_libraries_load_or_not_at_all():
    import ray.cloudpickle

    variables = {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "PYTHONPATH": "/a:/b"}
    both = (booted(variables, b""), booted({"OMP_NUM_THREADS": "5"}, b""))
    found = subprocess.run(
        [sys.executable, "-c", WORKER],
        input="\n".join(ray.cloudpickle.dumps(f).hex() for f in both),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "/theirs", "OMP_NUM_THREADS": "7"},
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert found.stdout.splitlines() == [
        "False False ['/a', '/b']",  # this package may be in those folders alone
        "3 3 /a:/b:/theirs",
        "[None] 3",  # too late: the driver is told, and nothing is changed
        "goes on to unpack the task 3",
    ]
