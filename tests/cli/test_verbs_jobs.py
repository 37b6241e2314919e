"""What a job is sent with, and what is said of it: the rules, without a Ray."""

from __future__ import annotations

import json
import re
import shlex
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from job_study import MINE, NOBODY, job_study
from object_store import KEYS, make_bucket, s3_server

from lawsweep.cli.main import run_command
from lawsweep.config.compose import load_sweep
from lawsweep.config.overrides import parse_override
from lawsweep.core.errors import ExecutorError, InvalidValueError, StoreError
from lawsweep.launch.record.driver_job import VARIABLE, driver_job
from lawsweep.remote import end as job_end
from lawsweep.remote import follow as job_follow
from lawsweep.remote import request as job_request
from lawsweep.remote import shipping, submitting
from lawsweep.remote import states as job_states
from lawsweep.remote.server import JobServer, Look, NoSuchJob, Unreachable, cluster_token
from lawsweep.remote.server import job_server_address as place_of
from lawsweep.remote.submitting import AlreadyRunsError, _new_id, _refuse_twice, digest_of
from lawsweep.sampling.samplers import read_search
from lawsweep.store.sweeps.sweep_folder import SweepFolder


@pytest.fixture
def study_folder(folder, monkeypatch):
    with job_study(folder, monkeypatch):
        yield folder


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        ("head", {}, "http://head:8265"),
        ("head:1234", {"RAY_ADDRESS": "http://other:1"}, "http://head:1234"),
        ("https://gate.example/ray/", {}, "https://gate.example/ray"),
        ("[::1]:8265", {}, "http://[::1]:8265"),
        (None, {"RAY_API_SERVER_ADDRESS": "http://a:1", "RAY_ADDRESS": "b:2"}, "http://a:1"),
        (None, {"RAY_ADDRESS": "http://10.0.0.7:80"}, "http://10.0.0.7:80"),
    ],
)
def test_where_the_job_server_is(given, environ, expected):
    assert place_of(given, environ) == expected


@pytest.mark.parametrize(
    ("given", "environ", "text"),
    [
        ("", {"RAY_API_SERVER_ADDRESS": "http://a:1"}, "--address names no head, got ''"),
        (" ", {}, "is a variable not set"),
        ("auto", {}, "--address names no head, got 'auto'"),
        (None, {}, "No head is named"),
        (None, {"RAY_ADDRESS": "auto", "RAY_API_SERVER_ADDRESS": ""}, "No head is named"),
        (None, {"RAY_ADDRESS": "10.0.0.7:6379"}, "Ray's own port and not the job server's"),
    ],
)
def test_a_head_that_was_not_named_is_sent_nothing(given, environ, text):
    """Whoever listens at 8265 of this machine may be somebody else's."""
    with pytest.raises(InvalidValueError, match=re.escape(text)) as raised:
        place_of(given, environ)
    assert "Give --address http://HEAD:8265" in str(raised.value)


@pytest.mark.parametrize("given", ["ray://head:10001", "ftp://head", "http://", "a b", "head:x"])
def test_an_address_that_is_none_says_what_one_is(given):
    with pytest.raises(InvalidValueError, match=r"such as http://HEAD:8265, got '"):
        place_of(given, {})


def test_a_password_in_an_address_is_not_kept():
    with pytest.raises(InvalidValueError, match="name or password in it"):
        place_of("http://me:secret@head:8265", {})


def test_the_token_is_found_where_ray_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cluster_token({}) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("home\n")
    (tmp_path / "other").write_text("other")
    assert cluster_token({}) == "home"
    named = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "other")}
    assert cluster_token(named) == "other"
    assert cluster_token({**named, "RAY_AUTH_TOKEN": "given"}) == "given"
    assert cluster_token({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "given"}) is None


@pytest.mark.parametrize(
    ("results", "seen", "expected"),
    [
        ("results", True, "/home/ada/place/results"),
        ("../shared", True, "/home/ada/shared"),
        ("/shared/x", False, "/shared/x"),
        ("s3://bucket/prefix?region=a", False, "s3://bucket/prefix?region=a"),
    ],
)
def test_the_driver_is_told_a_results_folder_it_can_find(results, seen, expected):
    found = shipping.job_results_dir(results, Path("/home/ada/place"), seen=seen, head="H")
    assert found == expected


def test_a_results_folder_of_this_machine_is_refused_for_another():
    with pytest.raises(StoreError, match="results_dir=/shared/folder, or results_dir=s3://"):
        shipping.job_results_dir("results", Path("/x"), seen=False, head="http://h:8265")


@pytest.mark.parametrize(
    "value", ["/plain/x-1.y", "/a b/c", "/it's", "/back\\", "/q\\'x", "s3://b/c?d=e&f=g"]
)
def test_a_results_folder_survives_hydras_grammar(value):
    assert parse_override(job_request.hydra_override("results_dir", value)).value == value


def test_what_goes_along_and_what_stays(study_folder):
    for name in ("results/a", "store/tables/t", "older/tables/t", "older/sweeps/m/plan.parquet",
                 ".git/config", "env/lib/x.py", "data/big.bin",
                 "__pycache__/m.pyc", "notes/draft.txt", "notes/tables/keep.txt"):  # fmt: skip
        (study_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (study_folder / name).write_text("x")
    (study_folder / "env/pyvenv.cfg").write_text("")
    (study_folder / "elsewhere").symlink_to("/")
    (study_folder / "broken").symlink_to("nowhere")
    found = shipping.survey(study_folder, study_folder / "store", ["data", "draft.*"])
    assert found.files == ("factors.py", "mine.py", "notes/tables/keep.txt", "sweeps/mine.yaml")
    assert set(found.left_out) == {
        ".git", "__pycache__", "data", "elsewhere", "env", "older", "results", "store", ".env",
        "broken", "notes/draft.txt",
    }  # fmt: skip
    assert found.n_bytes == sum((study_folder / n).stat().st_size for n in found.files)
    found.pack(study_folder / "packed")
    assert (study_folder / "packed/mine.py").read_text() == MINE


def test_a_folder_that_is_too_large_says_what_is_large(study_folder, monkeypatch):
    (study_folder / "data").mkdir()
    (study_folder / "data/big.bin").write_bytes(b"x" * 5000)
    monkeypatch.setattr(shipping, "MOST_BYTES", 4000)
    with pytest.raises(InvalidValueError, match=r"data/big.bin alone has .*--no-ship"):
        shipping.survey(study_folder)
    assert "data/big.bin" not in shipping.survey(study_folder, exclude=["data/"]).files


@pytest.mark.parametrize(
    ("files", "size", "limit"),
    [
        (["sweeps/big [1].bin"], 5000, "MOST_BYTES"),  # beside the sweep's file
        ([f"sweeps/data/{i}" for i in range(9)], 900, "MOST_BYTES"),
        ([f"data/{i // 3}/{i}" for i in range(9)], 1, "MOST_FILES"),
    ],
)
def test_what_is_named_as_too_large_can_be_left_out(study_folder, monkeypatch, files, size, limit):
    for name in files:
        (study_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (study_folder / name).write_bytes(b"x" * size)
    monkeypatch.setattr(shipping, limit, {"MOST_BYTES": 4000, "MOST_FILES": 4}[limit])
    with pytest.raises(InvalidValueError) as raised:
        shipping.survey(study_folder)
    (advised,) = re.findall(r"with (--exclude .*), start from a smaller", str(raised.value))
    _, pattern = shlex.split(advised)
    found = shipping.survey(study_folder, exclude=[pattern])
    assert found.files == ("factors.py", "mine.py", "sweeps/mine.yaml")


def test_code_alone_that_is_too_much_is_not_to_be_left_out(study_folder, monkeypatch):
    monkeypatch.setattr(shipping, "MOST_FILES", 2)
    with pytest.raises(InvalidValueError, match=r"code and settings\). Start from a smaller"):
        shipping.survey(study_folder)


GOLDEN = """\
entrypoint: exec lawsweep run mine 'params.i=range(2)' executor=ray_cluster results_dir=/shared/r
entrypoint_num_cpus: 0
metadata:
  sweep: mine
runtime_env:
  env_vars:
    LAWSWEEP_JOB: mine/mine-abc
    RAY_JOB_STOP_WAIT_TIME_S: '60'
    RAY_USAGE_STATS_ENABLED: '0'
submission_id: mine-abc
"""


def test_the_request_as_it_is_sent(study_folder):
    sweep = load_sweep("mine", "results_dir=/shared/r", "params.i=range(2)", "executor=ray_cluster")
    words = job_request.words(sweep, "mine")
    shipment = shipping.survey(study_folder)
    request = job_request.make("mine-abc", "mine", words, study_folder, shipment)
    assert request["metadata"].pop("lawsweep")
    assert yaml.safe_dump(request, width=200) == GOLDEN
    there = job_request.make("mine-abc", "mine", words, Path("/our place"), None)
    command = GOLDEN.splitlines()[0].removeprefix("entrypoint: ")
    assert there["entrypoint"] == f"cd '/our place' && {command}"


def test_the_name_of_a_job(study_folder):
    plan = load_sweep("mine").plan()
    grid = read_search(None)
    digest = digest_of(plan, grid)
    assert digest == digest_of(load_sweep("mine", "params.i=range(20)").plan(), grid)
    assert digest != digest_of(load_sweep("mine", "seeds=2").plan(), grid)
    search = {"axis": "i", "event": "y < 3", "tolerance": 0.1}
    wide = read_search(search)
    assert digest_of(plan, wide) == digest_of(plan, read_search({**search, "kind": "threshold"}))
    finer = digest_of(plan, read_search({**search, "tolerance": 0.01}))
    assert len({digest, digest_of(plan, wide), finer}) == 3
    first = _new_id("a b/ü", digest, [])
    assert first.startswith(f"a-b-{digest}-20")
    taken = [f"{first}.json", *(f"{first[:-2]}{s:02}.json" for s in range(60))]
    assert _new_id("a b/ü", digest, taken).endswith("-2")


def test_what_is_wrong_is_said_before_anything_is_sent(lawsweep, study_folder):
    cases = [
        (("mine", "params.j=1"), 10, "Did you mean 'i'?|Valid: gate, i"),
        (("mime",), 10, "Did you mean 'mine'"),
        (("mine", "executor=serial"), 11, "leave 'executor=serial' out"),
        (("mine", "--exclude", "mine.py"), 11, "experiment's file mine.py does not go along"),
        (("mine", "--exclude", "sweeps"), 11, "sweep file sweeps/mine.yaml does not go along"),
        (("mine", "--address", "ray://x:1"), 11, "such as http://HEAD:8265"),
        (("mine", "--address", ""), 11, "--address names no head, got ''"),
        (("mine",), 14, "does not answer .*Is it running, with ray.default. installed"),
    ]
    for words, expected, text in cases:
        address = () if "--address" in words else ("--address", NOBODY)
        code, out, err = lawsweep("submit", *words, *address)
        assert (code, out) == (expected, ""), (words, err)
        assert len(err.splitlines()) == 1
        assert re.search(text, err), err
    assert not (study_folder / "results").exists()


def record(folder, job, **more):
    sweep = SweepFolder(folder / "results/sweeps/mine")
    sweep.write_job(job, {"job": job, "sweep": "mine", "address": NOBODY, "state": None,
                          "submitted_at": f"2026-01-01T00:00:0{job[-1]}", **more})  # fmt: skip
    return sweep


def test_where_a_job_is_when_its_head_is_gone(lawsweep, study_folder):
    sweep = record(study_folder, "mine-1", host="elsewhere")
    code, out, _ = lawsweep("status", "mine")
    assert code == 0
    assert (
        f"job mine-1: UNREACHABLE (sent 2026-01-01T00:00:01 by ?): head at {NOBODY} does not" in out
    )
    assert "give --address" in out
    assert "its driver has left no sign of life" in out
    sweep.write_launch("L", {"launch_id": "L", "job": "mine-1"})
    assert "its driver started, and gives no sign of life" in lawsweep("status", "mine")[1]
    sweep.beat("L", {"launch_id": "L", "job": "mine-1", "host": "h", "at": time.time() - 3,
                     "running": 2, "rate": 1.0, "planned": 20, "finished": 4, "n_slots": 8,
                     "n_busy": 3, "slot": "0.25 GPU"})  # fmt: skip
    code, out, _ = lawsweep("status", "mine", "--json")
    (job,) = json.loads(out)["jobs"]
    assert (job["state"], job["alive"]) == ("UNREACHABLE", True)
    out = lawsweep("status", "mine")[1]
    assert re.search(r"its driver gave a sign of life \d+ s ago", out)
    assert "running on h: 4/20 done, 1/s, 3/8 slots busy (0.25 GPU) (launch L)" in out
    sweep.end_beat("L")
    result = {"statuses": {"ok": 4, "failed": 1}, "stopped": "interrupted"}
    sweep.write_launch("L", {"launch_id": "L", "job": "mine-1", "result": result})
    assert "its driver ended (4 ok, 1 failed, interrupted)" in lawsweep("status", "mine")[1]
    code, _, err = lawsweep("logs", "mine")
    assert code == 14
    assert "does not answer" in err


def test_a_watch_reads_the_store_alone(study_folder, monkeypatch):
    record(study_folder, "mine-1")
    monkeypatch.setattr(job_states, "JobServer", None)  # would fail if it was asked
    (found,) = job_states.jobs("results", "mine", ask=False)
    assert (found.state, found.under_way) == ("SENT", False)
    record(study_folder, "mine-1", state="STOPPED")
    (found,) = job_states.jobs("results", "mine")  # what has ended is not asked about either
    assert (found.state, found.ended) == ("STOPPED", True)


def test_a_job_is_found_by_its_beginning_and_unknown_ones_name_the_nearest(lawsweep, study_folder):
    record(study_folder, "mine-ab-1", state="SUCCEEDED", exit_code=0)
    record(study_folder, "mine-cd-2", state="FAILED", exit_code=3)
    assert job_states.find_job("results", "mine").id == "mine-cd-2"
    assert job_states.find_job("results", "mine", "mine-a").id == "mine-ab-1"
    for words, text in (
        (("mine", "--job", "mine-"), "2 jobs of mine begin with 'mine-': mine-ab-1, mine-cd-2."),
        (("mine", "params.j=3"), "Unknown param 'j'"),
        (("mine", "--job", "mine-ac-1"), "Did you mean 'mine-ab-1'"),
        (("mint",), "Unknown sweep 'mint' in the jobs of results. Did you mean 'mine'"),
    ):
        code, _, err = lawsweep("cancel", *words)
        assert code == 10, err
        assert text in err
    (study_folder / "sweeps/lone.yaml").write_text("experiment: mine:mine\naxes: {i: [1]}\n")
    (study_folder / "results/sweeps/lone").mkdir()
    assert "No job of lone was sent with results in results" in lawsweep("logs", "lone")[2]
    code, out, _ = lawsweep("cancel", "mine")
    assert (code, out) == (0, "job mine-cd-2 had ended already: FAILED\n")
    record(study_folder, "mine-ef-3", state="STOPPED")  # by whoever, some time ago
    for words in ((), ("--job", "mine-ef")):
        code, out, _ = lawsweep("cancel", "mine", *words)
        assert (code, out) == (0, "job mine-ef-3 had ended already: STOPPED\n")


def test_cancel_says_what_it_did(lawsweep, study_folder, monkeypatch):
    record(study_folder, "mine-1", state="SUCCEEDED")
    record(study_folder, "mine-2")
    record(study_folder, "mine-3", state="FAILED")
    server = Server(Look("RUNNING"))
    server.stop = lambda job: setattr(server, "found", Look("STOPPED"))
    for module in (job_end, job_states):
        monkeypatch.setattr(module, "JobServer", lambda address: server)
    ended = "job mine-2: STOPPED; what had finished is in the table\n"  # not the latest
    assert lawsweep("cancel", "mine")[:2] == (0, ended)
    again = "job mine-2 had ended already: STOPPED\n"
    assert lawsweep("cancel", "mine", "--job", "mine-2")[:2] == (0, again)


def test_the_exit_code_of_a_job():
    def job(state, code=None, text=""):
        return job_states.Job("j", "s", state, "http://h:1", "now", "me", text, code)

    assert job_end.exit_code(job("SUCCEEDED", 0)) == 0
    assert job_end.exit_code(job("STOPPED")) == 130
    assert job_end.exit_code(job("FAILED", 3)) == 3
    with pytest.raises(ExecutorError, match=r"has no lawsweep command. Install lawsweep"):
        job_end.exit_code(job("FAILED", 127))
    with pytest.raises(ExecutorError, match=r"The driver of job j is gone .FAILED: killed"):
        job_end.exit_code(job("FAILED", -9, "killed"))
    assert job_end.exit_code(job("FAILED", 130)) == 130  # SIGTERM, not from us


class Server:
    """A job server that knows what it is told to."""

    def __init__(self, found):
        self.found = found

    def look(self, job):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    ("found", "state", "text"),
    [
        (NoSuchJob("no"), "LOST", "does not know it; its driver has left no sign of life"),
        (Unreachable("no"), "UNREACHABLE", "does not answer"),
        (ExecutorError("It asks for a token."), "UNKNOWN", "It asks for a token."),
        (Look("PENDING", None, "waits"), "PENDING", "waits"),
        (Look("FAILED", 4, ""), "FAILED", "exit code 4"),
        (Look("FAILED", -9, ""), "FAILED", "its driver was killed by signal 9"),
        (Look("FAILED", None, "no such node"), "FAILED", "no such node"),
        (Look("STOPPED", None, ""), "STOPPED", "cancelled; what had finished is in the table"),
    ],
)
def test_what_a_head_says_of_a_job(study_folder, monkeypatch, found, state, text):
    sweep = record(study_folder, "mine-1")
    monkeypatch.setattr(job_states, "JobServer", lambda address: Server(found))
    (job,) = job_states.jobs("results", "mine")
    assert job.state == state
    assert text in job.text
    # The end is kept: the next look asks nobody.
    kept = sweep.job_records()[0]["state"]
    assert kept == (state if state in ("FAILED", "STOPPED") else None)


def test_a_head_that_listens_and_says_nothing_is_taken_for_gone(monkeypatch):
    monkeypatch.setattr("lawsweep.remote.server.ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(Unreachable, match=r"does not answer \(silent for 0\.5 s\)"):
            JobServer(address)


def test_the_same_runs_are_not_sent_twice(study_folder):
    going = job_states.Job("j", "s", "RUNNING", "http://h:1", "now", "me", digest="d1")
    _refuse_twice("s", [going], "d2")
    with pytest.raises(AlreadyRunsError, match=r"job j \(RUNNING.*attach s --job j, or.*--again"):
        _refuse_twice("s", [going], "d1")
    assert AlreadyRunsError.exit_code == 7


def test_a_driver_that_sees_another_store_says_so(study_folder, monkeypatch):
    sweep = record(study_folder, "mine-1")
    assert driver_job(sweep, "mine") is None
    monkeypatch.setenv(VARIABLE, "mine/mine-1")
    assert driver_job(sweep, "mine") == "mine-1"
    assert driver_job(sweep, "another") is None  # inherited by a child
    elsewhere = SweepFolder(study_folder / "local/sweeps/mine")
    with pytest.raises(StoreError, match="is not the one that job mine-1 was sent with"):
        driver_job(elsewhere, "mine", patience_s=0.0)


class Taker(Server):
    """A job server that takes what it is sent, or refuses it."""

    def __init__(self, refuses=None):
        super().__init__(Look("RUNNING"))
        self.refuses, self.requests, self.packed = refuses, [], []

    def is_this_machine(self):
        return True

    def submit(self, request):
        folder = Path(request["runtime_env"].get("working_dir", "/nowhere"))
        self.packed.append(sorted(p.name for p in folder.rglob("*") if p.is_file()))
        self.requests.append(request)
        if self.refuses:
            raise self.refuses


def test_what_submit_sends_and_leaves(lawsweep, study_folder, monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", NOBODY)

    def serve(taker):
        for module in (submitting, job_states):
            monkeypatch.setattr(module, "JobServer", lambda address: taker)
        return taker

    folder = SweepFolder(study_folder / "results/sweeps/mine")
    taker = serve(Taker(ExecutorError("It is full.")))
    assert lawsweep("submit", "mine")[0] == 14
    assert folder.job_records() == []  # a job that was never taken leaves no record

    taker = serve(Taker())
    code, out, err = lawsweep("submit", "sweeps/mine.yaml", "seeds=2", "results_dir=results")
    assert code == 0, err
    assert taker.packed == [["factors.py", "mine.py", "mine.yaml"]]
    folder = SweepFolder(load_sweep("mine", "seeds=2").folder)  # another question, another folder
    (record,) = folder.job_records()
    assert record["overrides"] == ["seeds=2", "results_dir=results", "executor=ray_cluster"]
    where = f"results_dir={study_folder}/results"
    assert record["command"] == (
        f"exec lawsweep run sweeps/mine.yaml seeds=2 executor=ray_cluster {where}"
    )
    assert (record["state"], record["n_planned"], record["shipped"]) == (None, 40, 3)
    assert folder.frozen_run_ids() == load_sweep("mine", "seeds=2").plan().run_ids
    frozen = yaml.safe_load(folder.folder.read("sweep.yaml"))
    assert frozen["results_dir"] == f"{study_folder}/results"

    assert f"lawsweep attach sweeps/mine.yaml seeds=2 {where}  (" in out
    assert lawsweep("submit", "mine", "seeds=2")[0] == 7
    assert lawsweep("submit", "mine", "seeds=3")[0] == 0  # other runs
    assert lawsweep("submit", "mine", "seeds=2", "--again", "--no-ship")[0] == 0
    assert [bool(p) for p in taker.packed] == [True, True, False]
    assert len(folder.job_records()) == 2
    code, out, _ = lawsweep("cancel", "mine", "seeds=2")
    assert code == 11  # which?
    code, _, err = lawsweep("cancel", "mine")
    assert code == 10
    assert "there are some under other overrides: seeds=" in err

    assert lawsweep("run", "mine", "executor=serial")[0] == 0
    code, out, _ = lawsweep("submit", "mine", "--json")
    assert (code, json.loads(out)["job"], len(taker.requests)) == (0, None, 3)


def test_the_command_that_is_advised_finds_the_job(lawsweep, study_folder, monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", NOBODY)
    taker = Taker()
    for module in (submitting, job_states):
        monkeypatch.setattr(module, "JobServer", lambda address: taker)
    assert lawsweep("submit", "mine", "results_dir='a place'")[0] == 0
    code, _, err = lawsweep("submit", "mine", "results_dir='a place'")
    assert code == 7
    (advised,) = re.findall(r"Follow it with lawsweep attach (.*), or send", err)
    monkeypatch.setattr("lawsweep.cli.following.follow", lambda job, results: 77)
    monkeypatch.chdir("sweeps")  # from anywhere
    (study_folder / "sweeps/mine.yaml").unlink()  # the sweep's file gone, too
    assert lawsweep("attach", *shlex.split(advised))[0] == 77


def test_a_search_is_sent_for_what_it_wants(lawsweep, study_folder, monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", NOBODY)
    taker = Taker()
    for module in (submitting, job_states):
        monkeypatch.setattr(module, "JobServer", lambda address: taker)
    (study_folder / "sweeps/mine.yaml").write_text(
        "experiment: mine:mine\naxes: {i: 'range(1, 40)'}\nseeds: 40\n"
        "search: {axis: i, event: y < 60, tolerance: 0.2}\n"
    )
    code, out, err = lawsweep("submit", "mine", "--json")
    assert code == 0, err
    sent = json.loads(out)
    assert 0 < sent["missing"] <= sent["planned"] <= 40  # not all 39 * 40 candidates
    assert "1 open; " in sent["search"]
    assert lawsweep("submit", "mine")[0] == 7
    code, out, _ = lawsweep("submit", "mine", "search.tolerance=0.05")  # is more work
    assert code == 0
    assert re.match(r"job mine-\S+: search for i\* of y < 60: 1 cells: 1 open; ", out)
    assert lawsweep("run", "mine", "executor=serial", "--no-analysis")[0] == 0
    for again in ((), ("--json",)):
        code, out, err = lawsweep("submit", "mine", *again)
        assert code == 0, err
    assert (json.loads(out)["job"], json.loads(out)["missing"]) == (None, 0)
    assert lawsweep("submit", "mine")[1].startswith("nothing to run: the search has ended (")
    assert len(taker.requests) == 2


def test_a_watch_in_json_is_a_line_a_look(lawsweep, study_folder, monkeypatch, capsys):
    seen = []

    def sleep(seconds):  # between two looks: the first has been printed, and all gets done
        seen.append(capsys.readouterr().out)
        run_command(["run", "mine", "executor=serial", "--no-analysis"])
        capsys.readouterr()

    monkeypatch.setattr("lawsweep.cli.verbs.running.status.time", SimpleNamespace(sleep=sleep))
    code, out, _ = lawsweep("status", "mine", "--watch", "--json")
    looks = [json.loads(line) for line in (*"".join(seen).splitlines(), *out.splitlines())]
    assert (code, [look["missing"] for look in looks]) == (0, [20, 0])
    assert seen
    assert seen[0].endswith("\n")


class Talker(Server):
    """Prints its log in two connections: the first breaks off in the middle."""

    def __init__(self, found, log, breaks_at):
        super().__init__(found)
        self.text, self.breaks_at, self.n_tails = log, breaks_at, 0

    def follow(self, job, put):
        self.n_tails += 1
        text = self.text if self.n_tails > 1 else self.text[: self.breaks_at]
        for start in range(0, len(text), 5):
            put(text[start : start + 5])
        if self.n_tails == 1:
            raise Unreachable("broke off")
        self.found = Look("FAILED", 4, "")

    def log(self, job):
        return self.text


def test_a_log_that_breaks_off_goes_on_where_it_was(lawsweep, study_folder, monkeypatch):
    sweep = record(study_folder, "mine-1")
    text = "one\ntwo\n3/20 done, 1/s\nfour\n"
    talker = Talker(Look("RUNNING"), text, 9)
    monkeypatch.setattr(job_follow, "LOOK_S", 0.1)
    for module in (job_follow, job_states):
        monkeypatch.setattr(module, "JobServer", lambda address: talker)
    code, out, err = lawsweep("attach", "mine")
    assert (code, out, talker.n_tails) == (4, text, 2)
    assert "job mine-1: FAILED" in err
    assert sweep.job_records()[0]["exit_code"] == 4
    # Broken off for good, and its end missed: what is left is asked for.
    talker = Talker(Look("STOPPED"), text, 9)
    sweep.write_job("mine-1", {**sweep.job_records()[0], "state": None})
    assert lawsweep("logs", "mine", "-f")[:2] == (130, text)


def test_a_terminal_shows_the_sign_of_life_in_place_of_old_progress(
    folder, study_folder, monkeypatch, capsys
):
    sweep = record(study_folder, "mine-1")
    sweep.beat("L", {"launch_id": "L", "job": "mine-1", "host": "h", "at": time.time(),
                     "running": 2, "rate": 1.0, "planned": 20, "finished": 4})  # fmt: skip
    talker = Talker(Look("RUNNING"), "one\n3/20 done, 1/s\nfour\n", 9)
    monkeypatch.setattr(job_follow, "LOOK_S", 0.1)
    for module in (job_follow, job_states):
        monkeypatch.setattr(module, "JobServer", lambda address: talker)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    assert run_command(["attach", "mine"]) == 4
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "4/20 done, 1/s" in shown
    assert "3/20 done" not in shown
    assert "one" in shown
    assert "four" in shown


def test_following_tells_a_head_that_goes_silent(lawsweep, study_folder, monkeypatch):
    record(study_folder, "mine-1")
    talker = Talker(Look("RUNNING"), "one\n", 4)
    for module in (job_follow, job_states):
        monkeypatch.setattr(module, "JobServer", lambda address: talker)
    monkeypatch.setattr(job_follow, "LOOK_S", 0.05)
    monkeypatch.setattr(job_follow, "PATIENCE_S", 0.1)
    found = job_states.find_job("results", "mine")
    talker.found = Unreachable("gone")
    with pytest.raises(ExecutorError, match=r"cannot be followed further: head at .* no sign of l"):
        list(job_follow.follow(found, "results"))


def test_ctrl_c_detaches_and_the_job_goes_on(lawsweep, study_folder, monkeypatch):
    record(study_folder, "mine-1")

    def interrupted(job, results, signs):
        yield "one\n"
        raise KeyboardInterrupt

    talker = Talker(Look("RUNNING"), "one\n", 4)
    monkeypatch.setattr(job_states, "JobServer", lambda address: talker)
    monkeypatch.setattr("lawsweep.remote.follow.follow", interrupted)
    code, out, err = lawsweep("attach", "mine")
    assert (code, out) == (130, "one\n")
    assert "detached: the job mine-1 goes on" in err


def test_without_rays_job_client_the_extra_is_named(lawsweep, study_folder, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listens:
        monkeypatch.setitem(sys.modules, "aiohttp", None)
        port = listens.getsockname()[1]
        code, _, err = lawsweep("submit", "mine", "--address", f"127.0.0.1:{port}")
    assert code == 14
    assert "It comes with ray[default]: install lawsweep[jobs]." in err


def test_a_torn_or_foreign_record_is_passed_over(study_folder):
    sweep = record(study_folder, "mine-1", state="STOPPED")
    sweep.jobs.write("torn.json", b"{")
    sweep.jobs.write("foreign.json", b'{"job": "another"}')
    sweep.jobs.write("list.json", b"[]")
    assert [j.id for j in job_states.jobs("results", "mine")] == ["mine-1"]


def test_jobs_of_results_in_an_object_store(lawsweep, study_folder, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", NOBODY)
    taker = Taker()
    for module in (submitting, job_states):
        monkeypatch.setattr(module, "JobServer", lambda address: taker)
    with s3_server() as endpoint:
        where = f"results_dir='{make_bucket(endpoint)}'"
        code, out, err = lawsweep("submit", "mine", where, "--json")
        assert code == 0, err
        job = json.loads(out)["job"]
        sent = shlex.split(taker.requests[0]["entrypoint"])
        assert sent == ["exec", "lawsweep", "run", "mine", "executor=ray_cluster", where]
        out = lawsweep("status", "mine", where)[1]
        assert f"job {job}: RUNNING" in out
        assert lawsweep("submit", "mine", where)[0] == 7
    assert not (study_folder / "results").exists()
