"""Our sinks pass the contract that ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lawsweep.contracts import SinkContract


class TestEventLog(SinkContract):
    config = "jsonl"

    def test_each_event_is_a_line(self):
        self.test_it_hears_a_launch_through("raise")
        (log,) = Path("results/sweeps/heard/launches").glob("*.events.jsonl")
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        assert events == ["started", *["outcome"] * 8, "ended"]


class TestMlflow(SinkContract):
    @pytest.fixture(autouse=True)
    def tracking(self, tmp_path, monkeypatch):
        pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())

    config = "mlflow"
