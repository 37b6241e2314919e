from __future__ import annotations

import contextlib
import ipaddress
import os
from pathlib import Path

import psutil
import pytest
from toys import toy

from lawsweep.core.errors import ExecutorError
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray import alone as ray_lean
from lawsweep.executors.ray.reaper import MARK
from lawsweep.executors.ray.session import RaySession


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


def listening():
    """(process, address) of every socket that this process and those it started listen at."""
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            for socket in process.net_connections(kind="inet"):
                if socket.status == psutil.CONN_LISTEN:
                    yield process.name(), socket.laddr.ip
        except psutil.NoSuchProcess:
            continue


def scripts():
    """The Python files that processes of this one run."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            yield from (Path(w).name for w in process.cmdline() if w.endswith(".py"))


def is_loopback(text):
    address = ipaddress.ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def answer_of_the_head(address, token):
    """What Ray's head says to somebody who comes with this token, as gRPC's word for it."""
    grpc = pytest.importorskip("grpc")
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")
        try:
            ask(b"", metadata=metadata, timeout=300, wait_for_ready=True)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def test_a_ray_that_we_start_is_open_to_nobody_else(monkeypatch):
    """Twice in one process: each has a token of its own, and what was set before is set after.

    The second as where Ray's private names have moved: it has what is for people, too.
    """
    for name in ("RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    tokens = set()
    for lean in (True, False):
        if not lean:
            monkeypatch.setitem(ray_lean.WITHOUT, "no_such_name", True)
        session = RaySession("ray_local", None, 1, None)
        ray = session.open({})
        try:
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
            assert ray.get(ray.remote(lambda: 7).remote()) == 7
            found = list(listening())
            assert {"gcs_server", "raylet"} <= {name for name, _ in found}
            assert [f for f in found if not is_loopback(f[1])] == []
            assert {script for script in scripts() if "monitor" in script or "board" in script} == (
                set() if lean else {"monitor.py", "log_monitor.py", "dashboard.py"}
            )
            address = ray.get_runtime_context().gcs_address
            for token in ("", "of-another-cluster"):
                assert answer_of_the_head(address, token) == "UNAUTHENTICATED"
            assert answer_of_the_head(address, os.environ["RAY_AUTH_TOKEN"]) == "OK"
        finally:
            session.close(keep_logs=False)
        assert os.environ["RAY_AUTH_TOKEN"] == "of-another-cluster"
        assert "RAY_AUTH_MODE" not in os.environ
    assert len(tokens) == 2


def test_a_ray_without_tokens_is_not_started(monkeypatch):
    import ray

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delattr(ray._raylet, "AuthenticationTokenLoader")
    session = RaySession("ray_local", None, 1, None)
    with pytest.raises(ExecutorError, match=r"it knows no token. Install ray>=2\.52"):
        session.open({})
    session.close(keep_logs=False)
