"""Who hears of a launch: what they are told, and that none of them costs a row or the time."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import lawsweep
from lawsweep import Sweep, load_sweep
from lawsweep.cli.main import run_command
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.launch.sinks import delivery
from lawsweep.store.sweeps.sweep_folder import SweepFolder


@pytest.fixture
def sweep(folder):
    return Sweep(
        name="heard",
        experiment="toys:faulty",
        params={"fault": "raise"},
        axes={"i": "range(30)"},
        executor={"kind": "serial"},
    )


class Diary:
    """Hears all."""

    def __init__(self):
        self.told, self.threads = [], set()

    def __getattr__(self, hook):
        if hook not in delivery.HOOKS:
            raise AttributeError(hook)

        def hear(given):
            self.threads.add(threading.current_thread())
            self.told.append((hook, given))

        return hear


def test_an_object_hears_the_beginning_each_outcome_and_the_end(sweep):
    diary, outcomes = Diary(), []
    report = lawsweep.run(sweep, sinks=[diary, outcomes.append])
    hooks = [hook for hook, _ in diary.told]
    assert (hooks[0], hooks[-1]) == ("started", "ended")
    assert hooks.count("outcome") == 30
    assert "progress" in hooks
    assert [g for h, g in diary.told if h == "outcome"] == outcomes  # a callable, of each outcome
    assert sorted(o.index for o in outcomes) == list(range(30))
    assert diary.told[-1][1] is report
    launch = diary.told[0][1]
    assert launch.study.plan.params_of(outcomes[3].index)["i"] == outcomes[3].index
    assert threading.current_thread() not in diary.threads
    assert report.notes == ()


def test_it_hears_only_what_it_has_a_word_for_and_no_large_arrays(folder):
    class End:
        def ended(self, report):
            self.report = report

    end, outcomes = End(), []
    sweep = Sweep(name="s", experiment="toys:spectrum", axes={"n": [3]},
                  executor={"kind": "serial"})  # fmt: skip
    report = lawsweep.run(sweep, sinks=[end, outcomes.append])
    assert end.report is report
    assert outcomes[0].arrays is None
    assert len(lawsweep.load_arrays(sweep, "eigenvalues")) == 1


@pytest.mark.parametrize("error", [ValueError("no s3cr3t"), SystemExit(3), KeyboardInterrupt()])
def test_one_that_raises_is_dropped_with_a_note_and_costs_no_row(sweep, error):
    seen, others = [], []

    def broken(outcome):
        seen.append(outcome)
        raise error

    report = lawsweep.run(sweep, sinks=[broken, others.append])
    assert sum(report.statuses.values()) == len(others) == 30
    assert len(seen) == 1
    (note,) = report.notes
    assert "broken was dropped (it raised " + type(error).__name__ in note
    assert report.stopped is None
    assert lawsweep.status(sweep).missing == 0


def test_one_that_hangs_costs_no_row_and_a_moment_at_the_end(sweep, monkeypatch):
    monkeypatch.setattr(delivery, "END_S", 0.2)
    never, others = threading.Event(), []
    report = lawsweep.run(sweep, sinks=[lambda outcome: never.wait(), others.append])
    never.set()
    assert len(others) == 30
    assert "had not taken in all 0.2 s after the end" in report.notes[0]


def test_one_that_takes_its_time_to_begin_hears_all_of_a_short_launch(sweep, monkeypatch):
    monkeypatch.setattr(delivery, "END_S", 0.5)
    over = threading.Event()

    class Slow:
        n = 0

        def started(self, launch):
            over.wait()
            time.sleep(1.0)  # longer than sinks have at the end

        def outcome(self, outcome):
            self.n += 1

    class Other:
        def ended(self, report):
            over.set()

    slow = Slow()
    report = lawsweep.run(sweep, sinks=[slow, Other()])
    assert (slow.n, report.notes) == (30, ())


def test_one_that_hangs_in_a_call_or_falls_behind_is_dropped_while_the_launch_runs(monkeypatch):
    now, never = [0.0], threading.Event()
    told = delivery.Delivery([lambda outcome: never.wait()], clock=lambda: now[0])
    told.started(None)
    (line,) = told._lines
    told.tell([1], None)
    while line._since is None:
        pass
    told.tell([2], None)
    assert line.dropped is None
    now[0] = 11.0
    told.tell([3], None)
    assert line.dropped == "a call of it took longer than 10 s"
    never.set()
    monkeypatch.setattr(delivery, "WAITING", 5)
    held = threading.Event()
    told = delivery.Delivery([lambda outcome: held.wait()])
    told.started(None)
    told.tell([1] * 5, None)
    assert told._lines[0].dropped is None
    told.tell([1], None)
    assert told._lines[0].dropped == "it was 6 outcomes behind"
    held.set()


def test_a_log_of_events_by_name_in_the_config(folder, write):
    write("logged", "experiment: toys:faulty\nexecutor: serial\naxes: {i: range(4)}\n"
                    "params: {fault: raise}\nsinks: [jsonl]\n")  # fmt: skip
    assert run_command(["run", "logged"]) == 3
    sweep = load_sweep("logged")
    (record,) = SweepFolder(sweep.folder).launch_records()
    path = sweep.folder / "launches" / f"{record['launch_id']}.events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [e["event"] for e in events] == ["started", *["outcome"] * 4, "ended"]
    assert {e["launch"] for e in events} == {record["launch_id"]}
    assert events[0]["planned"] == 4
    rows = lawsweep.load(sweep).to_dict("records")
    for event, row in zip(sorted(events[1:-1], key=lambda e: e["params"]["i"]), rows, strict=True):
        assert (event["run_id"], event["status"]) == (row["run_id"], row["status"])
        assert (event["metrics"] or {}).get("y") == (row["y"] if row["status"] == "ok" else None)
    assert events[-1]["statuses"] == {"ok": 3, "failed": 1}
    assert record["config"]["sinks"] == ["jsonl"]
    more = load_sweep("logged", "sinks=[{kind: jsonl, path: all.jsonl}]", "seeds=2")
    assert more.variant == load_sweep("logged", "seeds=2").variant  # who hears asks nothing else
    lawsweep.run(more)
    assert len((folder / "all.jsonl").read_text().splitlines()) == 6


def test_mlflow_has_a_run_for_the_launch_and_one_for_each_outcome(sweep, folder, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    few = dataclasses.replace(sweep, axes={"i": "range(4)"})
    uri = (folder / "tracked").as_uri()
    with_mlflow = dataclasses.replace(few, sinks=({"kind": "mlflow", "uri": uri},))
    report = lawsweep.run(with_mlflow)
    assert report.notes == ()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    at = client.get_experiment_by_name("heard").experiment_id
    runs = client.search_runs([at])
    (whole,) = [r for r in runs if "lawsweep.launch" in r.data.tags]
    assert whole.data.metrics["n_ok"] == 3
    assert whole.info.status == "FINISHED"
    each = [r for r in runs if r is not whole]
    assert {r.data.tags["mlflow.parentRunId"] for r in each} == {whole.info.run_id}
    rows = {r["run_id"]: r for r in lawsweep.load(few).to_dict("records")}
    assert {r.info.run_name for r in each} == set(rows)
    for run in each:
        row = rows[run.info.run_name]
        assert run.data.params["i"] == str(row["i"])
        assert run.data.tags["lawsweep.status"] == row["status"]
        if row["status"] == "ok":
            assert run.data.metrics["y"] == row["y"]
        else:
            assert run.info.status == "FAILED"


@pytest.mark.parametrize(
    ("sinks", "error", "match"),
    [
        (("jsnl",), UnknownNameError, r"jsonl"),
        (({"path": "x"},), InvalidValueError, "A sink needs a kind"),
        (({"kind": "jsonl", "pth": "x"},), UnknownNameError, "path"),
        (({"kind": "jsonl", "path": 3},), InvalidValueError, r"sink jsonl\.path must be text"),
        ((3,), InvalidValueError, r"got 3\."),
        ((Diary,), InvalidValueError, "A sink is a name"),
    ],
)
def test_what_is_no_sink_is_told_before_anything_runs(sweep, sinks, error, match):
    with pytest.raises(error, match=match):
        lawsweep.run(sweep, sinks=sinks)
    with pytest.raises(InvalidValueError, match="must be a list"):
        lawsweep.run(sweep, sinks="jsonl")
    if isinstance(sinks[0], str | dict):
        with pytest.raises(error, match=match):
            lawsweep.open(dataclasses.replace(sweep, sinks=sinks))


PACKAGE = """
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from lawsweep.core.options import check_options
from lawsweep.core.protocols import Sink
from lawsweep.core.schema import Field


@dataclass(frozen=True, kw_only=True)
class Options:
    file: Annotated[str, Field("where to count")]

    def __post_init__(self):
        check_options(self, "sink counter")


class Counter(Sink):
    Options = Options
    n = 0

    def outcome(self, outcome):
        self.n += 1

    def ended(self, report):
        Path(self.options.file).write_text(f"{self.n}")
"""


def test_a_sink_of_another_package_is_named_on_the_command_line(folder, write):
    site = folder / "site"
    info = site / "counting-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "counting.py").write_text(textwrap.dedent(PACKAGE))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lawsweep.sinks]\ncounter = counting:Counter\n")
    write("counted", "experiment: toys:toy\nexecutor: serial\naxes: {n: [1, 2, 3]}\n")
    support = sys.modules["toys"].__file__.rpartition("/")[0]
    subprocess.run(
        [sys.executable, "-m", "lawsweep.cli.main", "run", "counted",
         "sinks=[{kind: counter, file: n.txt}]"],
        cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), support])},
        check=True, timeout=300,
    )  # fmt: skip
    assert (folder / "n.txt").read_text() == "3"
