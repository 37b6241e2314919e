"""What becomes of a launch whose Ray loses a part, and of what dead launches leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from driving import Driver, assert_gone, n_done, table_of
from toys import faulty

from lawsweep.core.errors import ExecutorError
from lawsweep.executors.ray import leftovers
from lawsweep.executors.ray import session as ray_session
from lawsweep.executors.ray.leftovers import CLAIM, Claim, remove_leftovers
from lawsweep.executors.ray.session import RaySession


def session(monkeypatch, *answers):
    """A session on a Ray whose head gives these answers, an error or None, a second of its own."""
    made, now, left = RaySession("ray_cluster", None, None, None), [0.0], list(answers)

    def probe(address):
        now[0], error = left.pop(0)
        if error is not None:
            raise error

    here = SimpleNamespace(gcs_address="x:1", get_node_id=lambda: "me")
    made._ray = SimpleNamespace(get_runtime_context=lambda: here)
    monkeypatch.setattr(ray_session, "probe", probe)
    monkeypatch.setattr(ray_session.time, "monotonic", lambda: now[0])
    return made


SILENT = TimeoutError("timed out")


def test_a_head_that_is_busy_now_and_then_ends_nothing(monkeypatch):
    slow = [(5.0 * i, SILENT if i % 4 else None) for i in range(40)]
    made = session(monkeypatch, *slow)
    assert [made.head_answers() for _ in slow] == [error is None for _, error in slow]


def test_a_head_that_is_gone_is_given_up_before_ray_ends_the_process(monkeypatch):
    gone = [(5.0 * i, ConnectionRefusedError("Connection refused")) for i in range(5)]
    made = session(monkeypatch, (0.0, None), *gone)
    assert [made.head_answers() for _ in range(5)] == [True] + [False] * 4
    with pytest.raises(ExecutorError, match="head is gone: Connection refused, 5 times in 20 s"):
        made.head_answers()
    assert not made.whole
    assert gone[-1][0] < 60 - ray_session.HEAD_PATIENCE_S


def test_failures_that_come_at_once_are_one(monkeypatch):
    made = session(monkeypatch, *[(0.1 * i, SILENT) for i in range(50)])
    assert [made.head_answers() for _ in range(50)] == [False] * 50


def test_a_node_that_ray_gave_up_is_the_end_of_its_driver_and_no_other_is(monkeypatch):
    made = session(monkeypatch)
    made.check_own_node([{"NodeID": "me", "Alive": True}, {"NodeID": "it", "Alive": False}])
    with pytest.raises(ExecutorError, match=r"lost the node of this process\. What had finished"):
        made.check_own_node([{"NodeID": "me", "Alive": False}])


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["ray::RuntimeEnvAgent", "gcs_server"])
def test_a_process_of_ray_that_dies_is_a_sentence(folder, lost):
    """With its agent the raylet ends."""
    (folder / "sweep.yaml").write_text(
        "experiment: toys:faulty\naxes: {i: 'range(3, 3000)'}\nparams: {pause_s: 0.05}\n"
    )
    words = ("executor=ray_local", "executor.n_cpus=1", "store.commit_every_s=0.2")
    driver = Driver(folder, "sweep.yaml", *words)
    driver.wait_until(lambda: n_done(folder, faulty) >= 1)
    family = driver.family()
    (victim,) = [p for p in family if p.name().startswith(lost[:15])]
    known = n_done(folder, faulty)
    victim.kill()
    _, err = driver.ends(14)
    assert "lawsweep: A process of Ray has died: " in err
    assert "What had finished is in the table; run the same command to go on." in err
    assert "Traceback" not in err
    assert_gone(family)  # also Ray's agents, which would look for the head for a minute
    rows = table_of(folder, faulty).read()
    assert set(rows["status"].to_pylist()) == {"ok"}
    assert known <= len(rows)
    (record,) = (folder / "results/sweeps/sweep/launches").glob("*.json")
    told = json.loads(record.read_text())
    assert told["ended_at"]
    assert told["result"]["stopped"] == "error"
    assert "has died" in told["result"]["message"]
    assert told["result"]["statuses"]["ok"] == len(rows)


CLAIMS = """
import sys, time
from lawsweep.executors.ray.leftovers import Claim
kept = Claim(sys.argv[1])
print("claimed", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def claiming(folder):
    """A process that has claimed a folder, and lives."""
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", CLAIMS, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "claimed\n"
            yield process
        finally:
            process.kill()


def test_only_what_dead_launches_claimed_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "LEAST_AGE_S", 0.0)
    mine = tmp_path / "session_me"
    mine.mkdir()
    claim = Claim(str(mine))
    somebodys = tmp_path / "session_not_ours"
    (somebodys / "logs").mkdir(parents=True)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / CLAIM).touch()
    (tmp_path / "session_link").symlink_to(tmp_path / "else")
    with claiming(tmp_path / "session_lives"), claiming(tmp_path / "session_dies") as dies:
        (tmp_path / "session_dies" / "logs").mkdir()
        dies.kill()
        dies.wait()
        time.sleep(0.01)
        remove_leftovers(str(mine))
        left = sorted(p.name for p in tmp_path.iterdir())
        assert left == ["else", "session_link", "session_lives", "session_me", "session_not_ours"]
    claim.release()
    remove_leftovers(str(somebodys))
    assert mine.is_dir()  # given up in order: its logs were kept for people


def test_what_has_died_just_now_is_left_for_its_reaper(tmp_path):
    with claiming(tmp_path / "session_dies") as dies:
        dies.kill()
        dies.wait()
        remove_leftovers(str(tmp_path / "session_me"))
    assert (tmp_path / "session_dies").is_dir()
    os.utime(tmp_path / "session_dies" / CLAIM, (0, 0))
    remove_leftovers(str(tmp_path / "session_me"))
    assert not (tmp_path / "session_dies").exists()


def test_the_reaper_ends_all_when_it_is_told(monkeypatch):
    from lawsweep.executors.ray.reaper import MARK, Reaper

    reaper = Reaper("a-mark-of-this-test")
    env = {**os.environ, MARK: "a-mark-of-this-test"}
    code = "import time; print(1, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        reaper.end_all()
        assert process.wait(timeout=300) == -9
    reaper.release()
    assert not psutil.pid_exists(reaper._process.pid)
