from __future__ import annotations

import os

import pytest
from toys import toy

from lawsweep.core.errors import ExecutorError
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray_session import RaySession
from lawsweep.executors.reaper import MARK


def test_a_ray_that_does_not_come_up_is_one_sentence(monkeypatch):
    """On a busy machine Ray gives up after 30 s, with a bare Exception."""
    import ray

    def init(**options):
        assert os.environ["OMP_NUM_THREADS"] == "3"  # its processes inherit what tasks need
        raise Exception("The current node timed out during startup.\nThis could happen because")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "11")
    made = make_executor({"kind": "ray_local", "cpus_per_task": 3})
    message = r"Cannot start on Ray \(ray_local\): The current node timed out during startup. Try"
    with pytest.raises(ExecutorError, match=message):
        made.start(toy)
    made.close()
    assert os.environ["OMP_NUM_THREADS"] == "11"
    assert MARK not in os.environ


def test_a_sigterm_while_ray_starts_is_an_interrupt(monkeypatch):
    """Ray answers it by leaving the process, with an exit code of its own."""

    def leave(environment):
        raise SystemExit(15)

    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    session = RaySession("ray_local", None, 1, None)
    monkeypatch.setattr(session, "_start", leave)
    with pytest.raises(KeyboardInterrupt):
        session.open({})
    session.close(keep_logs=False)
