"""What a sweep leaves beside its rows: the frozen plan, the resolved config, launch records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from lawsweep.core.plan import Plan
from lawsweep.store.files import write_atomic
from lawsweep.store.schema import arrow_type


@dataclass(frozen=True)
class SweepFolder:
    """The folder ``results/sweeps/<sweep>``."""

    path: Path

    def freeze(self, plan: Plan, config: Mapping[str, Any], launch_id: str | None = None) -> None:
        """Write ``plan.parquet`` and ``sweep.yaml``, before anything runs.

        They are the latest launch's; each launch keeps its own plan beside its record.
        """
        sink = pa.BufferOutputStream()
        pq.write_table(plan_table(plan), sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        if launch_id is not None:
            write_atomic(self.path / "launches" / f"{launch_id}.plan.parquet", data)
        write_atomic(self.path / "plan.parquet", data)
        # The preset is merged in by now: the file stands for itself, as a sweep.
        plain = json.loads(json.dumps({**config, "preset": None}, default=str))
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        write_atomic(self.path / "sweep.yaml", text.encode())

    def frozen_run_ids(self) -> list[str]:
        """Run ids of the plan frozen last; none where there is none that can be read."""
        try:
            table = pq.read_table(self.path / "plan.parquet", columns=["run_id"])
        except (OSError, pa.ArrowException):
            return []
        found: list[str] = table["run_id"].to_pylist()
        return found

    def write_launch(self, launch_id: str, record: Mapping[str, Any]) -> None:
        """Write the provenance record of a launch (again at its end, with its result)."""
        data = json.dumps(record, indent=1, default=str).encode()
        write_atomic(self.path / "launches" / f"{launch_id}.json", data)

    def beat(self, launch_id: str, state: Mapping[str, Any]) -> None:
        """Write what a running launch is at, for ``status`` in another terminal."""
        data = json.dumps(state, default=str).encode()
        write_atomic(self.path / "launches" / f"{launch_id}.live", data, durable=False)

    def end_beat(self, launch_id: str) -> None:
        """Remove the sign of life of a launch that ended."""
        (self.path / "launches" / f"{launch_id}.live").unlink(missing_ok=True)

    def live(self, since: float) -> list[dict[str, Any]]:
        """Signs of life of launches, whole ones not older than ``since`` (seconds of the epoch)."""
        found = [s for p in sorted(self.path.glob("launches/*.live")) if (s := _read_json(p))]
        return [s for s in found if _is_live(s) and s["at"] > since]

    def launch_records(self) -> list[dict[str, Any]]:
        """The provenance records of all launches, latest first; unreadable ones left out."""
        paths = sorted(self.path.glob("launches/*.json"), reverse=True)
        return [record for p in paths if (record := _read_json(p))]

    def drop_dead(self, before: float) -> None:
        """Remove signs of life that a killed launch left."""
        for path in self.path.glob("launches/*.live"):
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()


def _is_live(state: Mapping[str, Any]) -> bool:
    numbers = all(isinstance(state.get(k), int | float) for k in ("at", "running", "rate"))
    return numbers and isinstance(state.get("eta_s"), int | float | None)


def find_launch(results_dir: Path, launch_id: str) -> dict[str, Any] | None:
    """The provenance record of a launch, wherever under ``results_dir`` its sweep is."""
    for path in sorted(Path(results_dir).glob("sweeps/*/launches/*.json")):
        if path.stem == launch_id:
            return _read_json(path)
    return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def plan_table(plan: Plan) -> pa.Table:
    """The plan as Arrow: run_id, point, seed, every param, every extra axis; one row a run."""
    n_seeds, n = len(plan.seeds), plan.n_points
    point = pa.array(range(n), type=pa.int64())
    rows = pa.array([i for i in range(n) for _ in range(n_seeds)], type=pa.int64())
    columns: dict[str, pa.Array] = {
        "run_id": pa.array(plan.run_ids, type=pa.string()),
        "point": point.take(rows),
        "seed": pa.array(list(plan.seeds) * n, type=pa.int64()),
    }
    over = plan.over_points()
    for spec in plan.experiment.params:
        column = over[spec.name]
        values = [column.item()] * n if column.ndim == 0 else column.tolist()
        columns[spec.name] = pa.array(values, type=arrow_type(spec)).take(rows)
    for name, column in plan.extra.items():
        columns[name] = pa.array(column.tolist()).take(rows)
    return pa.table(columns)
