"""Secrets planted wherever a user may put one; then everything written is searched for them."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import pyarrow.parquet as pq
import pytest

from lawsweep.config.compose import load_sweep
from lawsweep.core import secrets
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.secrets import HIDDEN, hide, hide_overrides, hide_settings
from lawsweep.grid.sweep import Sweep
from lawsweep.remote import submitting
from lawsweep.tools.packing import scrub_launch

IN_FILE, TYPED, IN_ENVIRONMENT = "pl4nted-in-the-file", 'pl4nted "typed" <&>', "pl4nted_in_environ"
IN_URL, IN_HEADER = "pl4nted/in+url", "pl4ntedInAHeader0123"
PLANTED = "pl4nted"

LEAKY = """
import os
import os
from toys import *

@experiment(version=1)
def leaky(params: Params, seed: int) -> Metrics:
    told = {n: os.environ.get(n, "") for n in ("FROM_FILE", "FROM_TYPED", "LEAKY_API_TOKEN")}
    if params.n == 3:
        url = "https://me:pl4nted/in+url@host/x?a=1&access_key=pl4nted%2F"
        raise ValueError(f"{told} {url} Authorization: Bearer pl4ntedInAHeader0123")
    if params.n == 4:
        os._exit(1)
    return Metrics(y=float(sum(map(len, told.values()))), draws=1)
"""


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch):
    monkeypatch.setattr(secrets, "_learnt", {})


@pytest.fixture
def planted(write, folder, monkeypatch):
    """A sweep with a secret in its file; more are in the environment and in what is typed."""
    (folder / "leaky.py").write_text(LEAKY)
    monkeypatch.setenv("LEAKY_API_TOKEN", IN_ENVIRONMENT)
    write(
        "leaky",
        f"""
        experiment: leaky:leaky
        axes: {{n: [1, 2, 3, 4]}}
        on_failure: {{max_attempts: 1}}
        fits: [{{law: power, x: n, y: y}}]
        executor:
          kind: ray_local
          n_cpus: 1
          runtime_env: {{env_vars: {{FROM_FILE: {IN_FILE}, SHORT: "1"}}}}
        """,
    )
    yield folder
    sys.modules.pop("leaky", None)


def typed():
    value = TYPED.replace("'", "\\'")
    return (f"+executor.runtime_env.env_vars.FROM_TYPED='{value}'",)


def everything(folder):
    """Whatever lies below, as text; zips unpacked, rows decoded."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield from _texts(str(path.relative_to(folder)), path.read_bytes())


def _texts(name, data):
    yield name, data.decode("utf-8", "replace")
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            for member in file.namelist():
                yield from _texts(f"{name}/{member}", file.read(member))
    if name.endswith(".parquet"):
        yield name, json.dumps(pq.read_table(io.BytesIO(data)).to_pylist(), default=str)


@pytest.mark.slow
def test_no_secret_is_in_anything_that_is_written(lawsweep, planted):
    said = []
    for words in (
        ("plan", "leaky"), ("run", "leaky"), ("rerun", "leaky", "--failed"), ("status", "leaky"),
        ("fit", "leaky"), ("report", "leaky"), ("export", "leaky", "-o", "out.csv"),
        ("archive", "leaky", "-o", "kept.zip"), ("archive", "leaky", "-o", "kept"),
        ("verify", "leaky"), ("status", "leaky", "--json"), ("plan", "leaky", "--json"),
    ):  # fmt: skip
        said.append(lawsweep(*words[:2], *typed(), *words[2:]))
    assert [code for code, _, _ in said[1:3]] == [3, 3], said[1]
    run_id = load_sweep("leaky", *typed()).plan().run_ids[2]
    said += [lawsweep("show", run_id), lawsweep("show", run_id, "--json")]
    for code, out, err in said:
        assert PLANTED not in out + err, (code, out, err)
    assert f"FROM_TYPED={HIDDEN}" in said[1][1] + said[3][1]  # a suggested command
    own = {"leaky.py", "kept/leaky.py"}  # what the user wrote in the code stays there
    for name, text in everything(planted):
        is_code = name.endswith("leaky.py") or name in own
        if not (is_code or name == "sweeps/leaky.yaml"):
            assert PLANTED not in text, name
    (record, *_) = (planted / "results/sweeps/leaky/launches").glob("*.json")
    config = json.loads(record.read_text())["config"]
    # Names are told, of short values too, and the workers had all of them.
    told = dict.fromkeys(("FROM_FILE", "SHORT", "FROM_TYPED"), HIDDEN)
    assert config["executor"]["runtime_env"]["env_vars"] == told
    rows = pq.read_table(planted / "results/tables/leaky").to_pylist()
    good = [r["y"] for r in rows if r["status"] == "ok"]
    assert good == [float(len(IN_FILE) + len(TYPED) + len(IN_ENVIRONMENT))] * 2


def test_a_hidden_value_is_asked_for_and_never_given_to_workers(lawsweep, planted):
    sweep = load_sweep("leaky")
    frozen = Sweep.from_mapping("leaky", sweep.record())
    frozen.plan()  # it can be read
    from lawsweep.executors.make import make_executor

    with pytest.raises(InvalidValueError, match=r"env_vars.FROM_FILE was left out .* Give it"):
        make_executor(frozen.executor).start(sweep.find_experiment())


def test_a_job_takes_them_along_and_its_record_does_not(lawsweep, planted, monkeypatch):
    sent = []

    class Server:
        def __init__(self, address):
            self.address = address

        def is_this_machine(self):
            return True

        def submit(self, request):
            sent.append(request)

    monkeypatch.setattr(submitting, "JobServer", Server)
    words = ("submit", "leaky", *typed(), "--address", "http://127.0.0.1:9")
    code, out, err = lawsweep(*words)
    assert code == 0, err
    code, as_json, err = lawsweep(*words, "--again", "--json")
    assert code == 0, err
    assert PLANTED not in out + err + as_json
    assert f"FROM_TYPED={HIDDEN}" in json.loads(as_json)["command"]
    assert all("pl4nted" in request["entrypoint"] for request in sent)
    for name, text in everything(planted / "results"):
        assert PLANTED not in text, name


@pytest.mark.parametrize(
    "place",
    [
        f"s3://key:{IN_URL}@bucket/x",
        f"s3://bucket/x?secret_key={IN_URL}",
        f"s3://bucket/x?endpoint_override=http://me:{IN_URL}@host",
        f"https://me:{IN_URL}@host/x",
    ],
)
def test_credentials_in_the_url_of_the_results_are_refused_and_not_repeated(
    lawsweep, toy_sweep, folder, place
):
    for verb in ("run", "status", "fit"):
        code, out, err = lawsweep(verb, "toys", f"results_dir='\"{place}\"'")
        assert code in (11, 13), err
        assert PLANTED not in out + err
    assert not (folder / "results").exists()


@pytest.mark.parametrize("value", [f"s3://k:{IN_URL}@b/data", "https://h/x?sig=pl4nted", "env"])
def test_a_param_with_a_credential_is_refused(monkeypatch, value):
    monkeypatch.setenv("LEAKY_API_TOKEN", IN_ENVIRONMENT)
    value = IN_ENVIRONMENT if value == "env" else value
    for given in ({"params": {"mode": value}}, {"axes": {"mode": ["ok", value]}}):
        sweep = Sweep(name="s", experiment="toys:toy", **given)
        with pytest.raises(InvalidValueError, match="holds a credential") as told:
            sweep.plan()
        assert PLANTED not in str(told.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"s3://key:{IN_URL}@bucket/x", "s3://<hidden>@bucket/x"),
        ("https://h/k?X-Amz-Signature=abc&x=1", "https://h/k?X-Amz-Signature=<hidden>&x=1"),
        ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': '<hidden>'}"),
        ("executor.runtime_env={env_vars: {A: b}}", "executor.runtime_env={env_vars: {<hidden>}}"),
        ("a key AKIAABCDEFGHIJKLMNOP in text", "a key <hidden> in text"),
        ("git@github.com:a/b git+ssh://git@github.com/a", None),
        ("params.n_tokens=3 key=4 http://127.0.0.1:8265/x?page=2 author=me", None),
    ],
)
def test_what_is_a_secret_by_its_form(text, shown):
    assert hide(text) == (shown or text)
    assert hide(hide(text)) == hide(text)


def test_settings_and_overrides_keep_their_names():
    given = {"kind": "ray_local", "runtime_env": {"env_vars": {"A": 1}, "pip": ["x"]}, "token": "t"}
    assert hide_settings(given) == {
        "kind": "ray_local",
        "runtime_env": {"env_vars": {"A": HIDDEN}, "pip": ["x"]},
        "token": HIDDEN,
    }
    words = ["params.token=3", "executor.runtime_env.env_vars.A=b", "executor={env_vars: {A: b}}"]
    assert hide_overrides(words) == [
        "params.token=3",
        f"executor.runtime_env.env_vars.A={HIDDEN}",
        f"executor={HIDDEN}",
    ]


def test_what_older_records_hold_does_not_go_into_an_archive():
    env = {"env_vars": {"A": "pl4nted-old"}}
    old = {
        "launch_id": "x",
        "config": {"executor": {"runtime_env": env}},
        "overrides": ["executor.runtime_env.env_vars.A=pl4nted-old"],
        "command": "lawsweep run x 'executor.runtime_env={env_vars: {A: pl4nted-old}}'",
        "result": {"message": "died: pl4nted-old"},
    }
    done = scrub_launch(json.dumps(old).encode())
    assert b"pl4nted" not in done
    assert json.loads(done)["overrides"] == [f"executor.runtime_env.env_vars.A={HIDDEN}"]
