"""What a sweep leaves beside its rows: the frozen plan, the resolved config, launch records."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

    def freeze(self, plan: Plan, config: Mapping[str, Any]) -> None:
        """Write ``plan.parquet`` and ``sweep.yaml``, before anything runs."""
        sink = pa.BufferOutputStream()
        pq.write_table(plan_table(plan), sink, compression="zstd")
        write_atomic(self.path / "plan.parquet", sink.getvalue().to_pybytes())
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
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

    def live(self) -> list[dict[str, Any]]:
        """Signs of life of launches, readable ones only."""
        return [s for p in sorted(self.path.glob("launches/*.live")) if (s := _read_json(p))]


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
