"""The kernel and experiment tests as on other processors: other instructions, threads, rounding.

``make test-portable`` runs this: under each setting the tests marked ``portable`` (those that
compare what two calls of a BLAS gave).  The first four share the files of the others that are not
slow, so that each runs under one of them, and the rest of ``make test`` need not run it again
(plain ``pytest`` runs all as the machine is).  With ``--all`` every test runs under every setting,
and again with four busy processes beside it (an hour on two cores).

The variables are those of MKL, torch and OpenBLAS; where a library does not know one it changes
nothing.  ``LAWSWEEP_TEST_ROUNDING`` is ours: see ``support/another_blas.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDERS = ("tests/kernels", "tests/experiments")
SETTINGS: dict[str, dict[str, str]] = {
    "AVX2, one thread": {
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "OPENBLAS_CORETYPE": "Haswell",
        "OMP_NUM_THREADS": "1",
    },
    "SSE4.2, two threads": {
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ATEN_CPU_CAPABILITY": "default",
        "OMP_NUM_THREADS": "2",
    },
    "compatible, one thread": {"MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"},
    "as it is, two threads": {"OMP_NUM_THREADS": "2"},
    "another rounding, one thread": {"LAWSWEEP_TEST_ROUNDING": "1", "OMP_NUM_THREADS": "1"},
}
N_SHARED = 4  # so many settings, the first, share the tests that are not portable
BUSY = "import itertools\nfor _ in itertools.count(): pass"


def tests_under(name: str, setting: dict[str, str], share: str | None) -> int:
    """pytest's exit code under a setting; ``share``: "i/n" of those not portable."""
    told = " ".join(f"{k}={v}" for k, v in setting.items())
    print(f"\n== {name}: {told}", flush=True)
    known = {k for other in SETTINGS.values() for k in other}
    environment = {k: v for k, v in os.environ.items() if k not in known} | setting
    # Two threads fill the two cores: beside another worker's they would wait for each other.  And
    # a thread that waits for its neighbour sleeps: the cores have the rest of ``make test`` to do.
    environment |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    n_workers = 2 // int(setting["OMP_NUM_THREADS"])
    # One worker would be a second process that imports and collects nothing but its own.
    words = ["-m", "pytest", "-q", "-n", str(n_workers if n_workers > 1 else 0), "--no-header"]
    if share is not None:
        environment["LAWSWEEP_TEST_SHARE"] = share
    words = [sys.executable, *words, *FOLDERS]
    return subprocess.run(words, env=environment, check=False).returncode


def main() -> int:
    """0 if all passed; the settings under which something failed are named at the end."""
    os.chdir(Path(__file__).parent.parent)
    everything = sys.argv[1:] == ["--all"]
    failed = []
    for i, (name, setting) in enumerate(SETTINGS.items()):
        share = f"{i}/{N_SHARED}"  # of the fifth nothing but the portable
        if tests_under(name, setting, None if everything else share):
            failed.append(name)
    if everything:
        busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(4)]
        try:
            if tests_under("four busy processes", {"OMP_NUM_THREADS": "2"}, None):
                failed.append("four busy processes")
        finally:
            for process in busy:
                process.kill()
                process.wait()
    print(f"\nfailed under: {'; '.join(failed)}" if failed else "\nportable: all passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
