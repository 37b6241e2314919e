"""What a sweep leaves beside its rows: the frozen plan, the resolved config, launch records."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lawsweep.core.code.source import Source
from lawsweep.core.errors import StoreError
from lawsweep.core.secrets import hide
from lawsweep.grid.plan import Plan
from lawsweep.store.exchange.yaml_text import escaped, write_yaml
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.records import MOST_RECORD, parse_record
from lawsweep.store.sweeps.signs import SUFFIX, Sign, signs
from lawsweep.store.table.parts import REQUESTS, SkippedPart, check_claims, encode
from lawsweep.store.table.reader import read_columns
from lawsweep.store.table.schema import arrow_type

QUESTION = "question.json"


@dataclass(frozen=True)
class SweepFolder:
    """The folder ``results/sweeps/<sweep>``: a path, a Folder or the URL of an object store."""

    at: Path | str | Folder

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", open_folder(self.at).held())

    @property
    def folder(self) -> Folder:
        """Where the plan, the sweep and the figures are."""
        return open_folder(self.at)

    @property
    def launches(self) -> Folder:
        """Where each launch has its record, its plan and, while it lives, its sign of life."""
        return self.folder / "launches"

    @property
    def jobs(self) -> Folder:
        """Where each job that was sent to a cluster for this sweep has its record."""
        return self.folder / "jobs"

    def write_job(self, job: str, record: Mapping[str, Any]) -> None:
        """Write the record of a job (again when its end is known)."""
        self.jobs.write(f"{job}.json", _json(record))

    def job_records(self) -> list[dict[str, Any]]:
        """The records of all jobs, earliest first; unreadable ones left out."""
        names = [n for n in self.jobs.names() if n.endswith(".json")]
        found = [r for n in names if (r := _read_json(self.jobs, n)) and r.get("job") == n[:-5]]
        return sorted(found, key=lambda r: (str(r.get("submitted_at")), r["job"]))

    def write_question(self, question: Mapping[str, Any]) -> None:
        """Write whose folder this is."""
        self.folder.write(QUESTION, json.dumps(question, indent=1).encode())

    def question(self) -> dict[str, Any] | None:
        """Whose folder this is; None where nobody has said (older folders do not)."""
        return _read_json(self.folder, QUESTION)

    def freeze(self, plan: Plan, config: Mapping[str, Any], launch_id: str | None = None) -> None:
        """Write ``plan.parquet`` and ``sweep.yaml``, before anything runs.

        They are the latest launch's; each launch keeps its own plan beside its record.
        """
        data = encode(plan_table(plan))
        if launch_id is not None:
            self.launches.write(f"{launch_id}.plan.parquet", data)
        self.folder.write("plan.parquet", data)
        # The preset is merged in by now: the file stands for itself, as a sweep.
        plain = json.loads(json.dumps({**config, "preset": None}, default=str))
        text = write_yaml(escaped(plain))
        self.folder.write("sweep.yaml", text.encode())  # its secrets are hidden: Sweep.record

    def frozen_run_ids(self) -> list[str]:
        """Run ids of the plan frozen last; none where there is none that can be read."""
        try:
            found = read_plan(self.folder, "plan.parquet", ["run_id"])
        except (FileNotFoundError, SkippedPart):
            return []
        return [str(r) for r in found["run_id"].to_pylist()]

    def write_launch(self, launch_id: str, record: Mapping[str, Any]) -> None:
        """Write the provenance record of a launch (again at its end, with its result)."""
        self.launches.write(f"{launch_id}.json", _json(record))

    def write_source(self, source: Source) -> None:
        """Keep the code of a launch beside its record, once."""
        name = source_name(source.digest)
        if name not in self.launches.names():
            self.launches.write(name, zipped(source.files))

    def beat(self, launch_id: str, state: Mapping[str, Any]) -> None:
        """Write what a running launch is at, for ``status`` in another terminal."""
        self.launches.write(f"{launch_id}{SUFFIX}", _json(state), durable=False)

    def end_beat(self, launch_id: str) -> None:
        """Remove the sign of life of a launch that ended, where that can be done."""
        with suppress(StoreError):
            self.launches.delete(f"{launch_id}{SUFFIX}")

    def signs(self, now: float | None = None) -> list[Sign]:
        """Signs of life of launches; ``now`` is the store's time, where it is known already."""
        return list(signs(self.launches, self.launches.clock() if now is None else now))

    def live(self, now: float | None = None) -> list[Sign]:
        """Signs of life of launches that are alive, as far as can be seen."""
        return [s for s in self.signs(now) if s.is_alive and _is_whole(s.state)]

    def launch_records(self) -> list[dict[str, Any]]:
        """The provenance records of all launches, latest first; unreadable ones left out."""
        names = reversed(self._names(".json"))
        return [record for n in names if (record := _read_json(self.launches, n))]

    def drop_dead(self, now: float | None = None) -> None:
        """Remove signs of life of launches that can write no more."""
        for sign in self.signs(now):
            if not sign.may_write:
                self.end_beat(sign.launch_id)

    def _names(self, suffix: str) -> list[str]:
        return [n for n in self.launches.names() if n.endswith(suffix)]


def _is_whole(state: Mapping[str, Any]) -> bool:
    numbers = all(isinstance(state.get(k), int | float) for k in ("running", "rate"))
    return numbers and isinstance(state.get("eta_s"), int | float | None)


def find_launch(results: Path | str | Folder, launch_id: str) -> dict[str, Any] | None:
    """The provenance record of a launch, wherever under ``results`` its sweep is.

    The id is compared with the names that are there: one read from a row opens no other file.
    """
    sweeps = open_folder(results) / "sweeps"
    for name in sweeps.folders():
        launches = sweeps / name / "launches"
        if f"{launch_id}.json" in launches.names():
            return _read_json(launches, f"{launch_id}.json")
    return None


def find_launches(
    results: Path | str | Folder, launch_ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """The provenance records of some launches, of those that have one that can be read."""
    sweeps = open_folder(results) / "sweeps"
    wanted = {f"{i}.json" for i in launch_ids}
    there: dict[str, Folder] = {}
    for sweep in sweeps.folders() if wanted else ():
        launches = sweeps / sweep / "launches"
        there |= {n: launches for n in launches.names() if n in wanted}
    with ThreadPoolExecutor(1 if sweeps.is_local else REQUESTS) as pool:
        found = pool.map(_read_json, there.values(), there)
        return {n.removesuffix(".json"): r for n, r in zip(there, found, strict=True) if r}


def source_name(digest: str) -> str:
    """Where the code of a launch is kept, beside its record."""
    return f"code-{digest}.zip"


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files as a zip that is the same whenever and wherever it is made."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as made:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            info.create_system = 3
            made.writestr(info, files[name])
    return kept.getvalue()


def _json(record: Mapping[str, Any]) -> bytes:
    """A record as it is kept: whatever it tells, no secret is in it."""
    return hide(json.dumps(record, indent=1, default=str)).encode()


def _read_json(folder: Folder, name: str) -> dict[str, Any] | None:
    try:
        return parse_record(folder.read(name, most=MOST_RECORD))
    except (OSError, ValueError, StoreError):
        return None


def read_plan(folder: Folder, name: str, columns: list[str] | None = None) -> pa.Table:
    """A plan as ``freeze`` wrote it.  Raises SkippedPart for what is none, or a link to one."""
    try:
        data = folder.read(name, follow=False)
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            check_claims(file, len(data))
            if "run_id" not in file.schema_arrow.names:
                raise SkippedPart("not a plan")
            return read_columns(file, columns)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, pa.ArrowException, StoreError) as error:
        raise SkippedPart(str(error)) from None


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
