"""Curves from a run to who reads them: serial, processes, a lost worker, archives, SQL."""

from __future__ import annotations

import contextlib
import json
import math
import threading

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lawsweep
from lawsweep.cli.main import run_command
from lawsweep.core.outcome import Event, Loss, Lost, Outcome, Told
from lawsweep.executors.serial import SerialExecutor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.launch.record.curves import Curves
from lawsweep.store.places.find import open_folder
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.study.reading.curving import curve_drawings
from lawsweep.tools.archive import _curve_parts
from lawsweep.tools.sql import sql
from lawsweep.worker.presence import presence

TRAIN = """
    import lawsweep

    def train(width: int, seed: int):
        for step in range(3):
            lawsweep.report(step, loss=1 / width + step, only=float("nan") if step else 7)
        if width == 3:
            raise ValueError("an unlucky width")
        return {"final": 1 / width}
"""


@pytest.fixture
def study(module):
    module("training", TRAIN)
    return lawsweep.open(
        lawsweep.Sweep(
            name="training",
            experiment="training.py:train",
            axes={"width": [2, 3]},
            seeds=2,
            executor={"kind": "serial"},
        )
    )


def test_a_serial_launch_leaves_curves_that_pandas_and_sql_read(study):
    report = study.run()
    assert dict(report.statuses) == {"ok": 2, "failed": 2}
    found = study.curves()
    assert list(found.columns) == ["run_id", "attempt", "step", "loss", "only"]
    assert found["run_id"].tolist() == [r for r in study.plan.run_ids for _ in range(3)]
    assert found["loss"].tolist()[:3] == [0.5, 1.5, 2.5]
    assert found["only"].isna().sum() == 0  # NaN is a value
    asked = sql(
        "SELECT c.experiment, t.width, count(*) AS n FROM curves c JOIN training_train t "
        "USING (run_id) GROUP BY ALL ORDER BY 2"
    )
    assert asked.to_pylist() == [
        {"experiment": "training_train", "width": w, "n": 6} for w in (2, 3)
    ]
    results = open_folder("results")
    ((name, data),) = _curve_parts(results, "training_train", study.plan.run_ids[:2])
    assert name.startswith("results/curves/training_train/part-")
    assert pq.read_table(pa.BufferReader(data)).num_rows == 6
    study.run(retry=True)  # the attempt whose row stands: the second failed as the first
    again = study.curves()
    assert sorted(set(again["attempt"])) == [1, 2]
    assert len(again) == 12
    pd.testing.assert_series_equal(again["loss"], found["loss"])


def test_status_and_the_page_show_what_runs_report(study, folder, capsys, monkeypatch):
    (folder / "sweeps").mkdir(exist_ok=True)
    (folder / "sweeps" / "training.yaml").write_text(
        "experiment: training.py:train\naxes: {width: [2, 3]}\nseeds: 2\nexecutor: serial\n"
    )
    study = lawsweep.open("training")
    study.run()
    records = folder / "results" / "sweeps" / "training" / "launches"
    (launch,) = (p.stem for p in records.glob("*.json"))
    runs = study.plan.run_ids
    said = [
        {"run_id": r, "attempt": 1, "step": 1200 + i, "metrics": {"loss": 0.5, "acc": math.nan}}
        for i, r in enumerate([*runs, *runs])
    ]
    said += [{"run_id": "of another plan", "step": 3, "metrics": {}}, "odd", {"run_id": runs[0]}]
    own = SweepFolder(folder / "results" / "sweeps" / "training")
    sign = {**presence(), "running": 1, "rate": 0.0, "eta_s": None, "reported": said}
    monkeypatch.setattr("lawsweep.worker.presence.RUNNING", {launch})
    own.beat(launch, {**sign, "launch_id": launch})
    found = study.status().reported
    assert [(one.run_id, one.step) for one in found[:2]] == [(runs[0], 1200), (runs[1], 1201)]
    assert len(found) == 8
    assert (found[2].params, found[2].seed) == ({"width": 3}, 0)
    assert run_command(["status", "training"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  width=2 seed=1: step 1,201, loss 0.5, acc nan" in lines
    assert "  and 3 more that report (--json has them)" in lines
    study.report()
    page = (folder / "results" / "sweeps" / "training" / "report.html").read_text()
    assert "What runs reported of loss on their way, 12 points" in page
    loss, only = curve_drawings(study, study.frame())
    assert loss.chart["by"] == "width"
    assert [(line["run"], line["x"]) for line in loss.chart["lines"]] == [
        (r[: len(line["run"])], [0, 1, 2])
        for r, line in zip(runs, loss.chart["lines"], strict=True)
    ]
    assert [line["y"] for line in only.chart["lines"]] == [[7]] * 4
    assert any("4 runs reported values that are not finite" in n for n in only.chart["notes"])


def test_processes_tell_of_a_run_that_is_under_way(module, folder):
    """The run waits for a file that is written when it has been heard of."""
    module(
        "waiting",
        """
        import time
        from pathlib import Path
        import lawsweep

        def wait(place: str):
            for step in range(4000):
                lawsweep.report(step, loss=step)
                time.sleep(0.02)
                if Path(place).exists():
                    return {"steps": step}
            raise TimeoutError("nobody heard of this run for a minute")
        """,
    )
    sweep = lawsweep.Sweep(
        name="waiting",
        experiment="waiting.py:wait",
        params={"place": str(folder / "heard")},
        executor={"kind": "processes", "n_workers": 1},
    )
    study = lawsweep.open(sweep)
    launch = study.start()
    signs = folder / "results" / "sweeps" / "waiting" / "launches"
    said, nap = [], threading.Event()
    for _ in range(3000):  # bounded by the run's own end
        for file in signs.glob("*.live"):
            with contextlib.suppress(OSError, ValueError):
                said = json.loads(file.read_text()).get("reported")
        if said or launch._ended.is_set():
            break
        nap.wait(0.05)
    written = ParquetTable(folder / "results" / "tables", study.plan.experiment).curve_table.read()
    (folder / "heard").write_text("")
    assert dict(launch.wait().statuses) == {"ok": 1}
    (one,) = said
    assert one["run_id"] == study.plan.run_ids[0]
    assert one["metrics"] == {"loss": one["step"]}
    assert written.num_rows > 0
    found = study.curves()
    assert found["step"].tolist() == list(range(len(found)))
    assert len(found) == study.frame()["steps"][0] + 1


class Losing(SerialExecutor):
    """Tells of a run's steps, and loses its worker before it ends."""

    in_process = False

    def poll(self, timeout_s):
        if not self._queue:
            return []
        task, _ = self._queue.popleft()
        (run,) = task.runs
        told = Told(run.index, run.attempt, 5.0, ((0, {"loss": 1.0}),), (1, {"loss": 0.5}))
        return [Event(task.id), Event(task.id, told=told), Event(task.id, lost=Lost(Loss.CRASHED))]


def test_of_a_lost_worker_the_latest_report_is_the_last_point_and_the_row_names_its_curve(
    study, tmp_path
):
    experiment = study.plan.experiment
    plan = make_plan(experiment, axes={"width": [2]})
    table = ParquetTable(tmp_path / "tables", experiment)
    executor = Losing()
    executor.start(experiment)
    policy = OnFailure(max_attempts=2, stop_after=0)
    report = Loop(plan, table, executor, launch_id="L", on_failure=policy).run()
    assert dict(report.statuses) == {"failed": 1}
    found = table.curve_table.read()
    (row,) = table.rows().to_pylist()
    assert found["step"].to_pylist() == [0, 1, 0, 1]
    assert found["attempt"].to_pylist() == [1, 1, 2, 2]
    assert (row["attempt"], row["started_at"]) == (2, found["started_at"][3].as_py())


def test_points_that_cannot_be_written_are_kept_for_another_try(study):
    written, fails = [], [True]

    def write(points):
        if fails[0]:
            raise lawsweep.core.errors.StoreError("No space left.")
        written.extend(points)

    curves = Curves(study.plan, write)
    curves.take(Told(0, 1, 5.0, ((0, {"loss": 1.0}),), (3, {"loss": 0.5})))
    curves.try_flush()
    assert (curves.n_held, [x["step"] for x in curves.latest(5)]) == (1, [3])
    fails[0] = False
    ended = curves.ended(Outcome(0, "ok", curve=Told(0, 1, 5.0, ((3, {"loss": 0.5}),))))
    curves.flush()
    assert ended.curve is None
    assert [p.step for p in written] == [0, 3]
    assert (curves.n_held, curves.latest(5)) == (0, [])
