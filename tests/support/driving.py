"""Drivers as processes of their own: start them, watch their rows come, disturb them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from lawsweep.store.table.parquet import ParquetTable

SUPPORT = str(Path(__file__).parent)


class Driver(subprocess.Popen):
    """``lawsweep run`` in ``folder``, with the toys importable and results inside it."""

    def __init__(self, folder, *words):
        path = os.pathsep.join(p for p in (SUPPORT, os.environ.get("PYTHONPATH", "")) if p)
        super().__init__(
            [sys.executable, "-m", "lawsweep.cli.main", "run", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "LAWSWEEP_RESULTS_DIR": "results"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def family(self):
        """The processes it started, and theirs."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def has_started(self, name):
        """Whether a process of that name is in its family."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return any(name in p.name() for p in self.family())
        return False

    def ends(self, code):
        """Wait for the end; what it said."""
        out, err = self.communicate(timeout=300)
        assert self.returncode == code, err
        return out, err

    def wait_until(self, condition, seconds=180):
        """Poll until ``condition()``; the driver must live that long."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.poll() is None, f"it ended too early: {self._said()}"
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.05)

    def kill_it(self):
        """SIGKILL; nothing that it started outlives it."""
        family = self.family()
        self.kill()
        self._said()
        assert_gone(family)

    def _said(self):
        """What it said on stderr; a process of its that lives on may hold the pipe open."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.communicate(timeout=60)[1]
        return "(its pipes are held open by what it started)"


def assert_gone(family):
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], "orphans"


def table_of(folder, experiment):
    return ParquetTable(folder / "results/tables", experiment)


def n_done(folder, experiment):
    """Distinct runs with a row.  (Parts may hold one twice for a moment, as they are merged.)"""
    return len(table_of(folder, experiment).done())


def n_executed(folder, experiment):
    """How often a run was finished and its row kept: a run done twice has two starting times."""
    found = table_of(folder, experiment).attempts()
    columns = (found[name].to_pylist() for name in ("run_id", "started_at"))
    return len(set(zip(*columns, strict=True)))
