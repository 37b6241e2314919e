"""A log of a launch's events: a line of JSON for its beginning, each outcome, and its end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.options import check_options
from lawsweep.core.outcome import Outcome
from lawsweep.core.protocols import Sink
from lawsweep.core.schema import Field
from lawsweep.core.secrets import hide
from lawsweep.core.shown import to_json
from lawsweep.launch.report import RunReport, describe_report


@dataclass(frozen=True, kw_only=True)
class EventLogOptions:
    """Where the log goes."""

    path: Annotated[
        str | None, Field("a file to append to; null: the launch's own, beside its record")
    ] = None

    def __post_init__(self) -> None:
        check_options(self, "sink jsonl")


class EventLog(Sink):
    """Appends to ``path``, or to ``launches/<launch>.events.jsonl`` in the sweep's folder.

    Each line has ``event`` (started, outcome, ended), ``at`` and ``launch``.  It is written as it
    comes, so the file can be followed while the launch runs.
    """

    name = "jsonl"
    Options = EventLogOptions

    def started(self, launch: Any) -> None:
        """Open the file."""
        study = launch.study
        path = self.options.path
        if path is None and "://" in str(study.sweep.folder):
            raise InvalidValueError(
                f"a log grows line by line, and {study.sweep.folder} takes whole files: give it a "
                "path, sinks=[{kind: jsonl, path: events.jsonl}]"
            )
        file = Path(path or Path(study.sweep.folder) / "launches" / f"{launch.id}.events.jsonl")
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = file.open("a", encoding="utf-8", buffering=1)
        self._launch, self._plan = launch.id, study.plan
        state = launch.status()
        self._write(
            "started",
            sweep=study.sweep.name,
            experiment=self._plan.experiment.name,
            version=self._plan.experiment.version,
            planned=state.planned,
            done_before=state.done_before,
        )

    def outcome(self, outcome: Outcome) -> None:
        """Write a line."""
        i = outcome.index
        self._write(
            "outcome",
            run_id=self._plan.run_ids[i],
            params=self._plan.params_of(i),
            seed=self._plan.seed_of(i),
            status=outcome.status,
            metrics=outcome.metrics,
            error=outcome.error,
            wall_s=outcome.wall_s,
            attempt=outcome.attempt,
            device=outcome.device,
            host=outcome.host,
        )

    def ended(self, report: RunReport) -> None:
        """Write the last line."""
        with contextlib.closing(self._file):
            self._write("ended", **describe_report(report))

    def _write(self, event: str, **facts: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"event": event, "at": at, "launch": self._launch, **facts}
        self._file.write(hide(to_json(line, indent=None)) + "\n")
