"""Rows from elsewhere in our terms: each is checked as the plan of a sweep checks its points.

What a file, or an older version of an experiment, says of a run comes in as a mapping of names to
values; out comes a row of the table, or one sentence on what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lawsweep.core.errors import InvalidValueError, LawsweepError, unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.core.identity import run_id as make_run_id
from lawsweep.core.outcome import STATUSES
from lawsweep.core.schema import Field, FieldSpec
from lawsweep.grid.fill_point import PointFiller
from lawsweep.grid.plan import read_seeds
from lawsweep.grid.sweep import Sweep

# What a row may say beside its params and metrics.
OWN = (
    FieldSpec("seed", "int", False, False, None, None, Field()),
    FieldSpec("wall_s", "float", True, False, None, None, Field(ge=0)),
    FieldSpec("status", "str", True, False, None, None, Field()),
    FieldSpec("error", "str", True, False, None, None, Field()),
    FieldSpec("traceback", "str", True, False, None, None, Field()),
    FieldSpec("run_id", "str", True, False, None, None, Field()),
)
NO_ROW = "missing"  # what `export` says of a planned run that has none


@dataclass(frozen=True)
class RowReader:
    """Makes rows of an experiment of what others say of its runs.

    With a sweep, params that are not said are what it fixes or derives, and its axes must be said;
    what is fixed nowhere is the experiment's default.  ``is_export``: the rows are ours (a file
    that ``export`` wrote), so a metric may be missing where a version before had none, and the
    ``run_id`` they give must be theirs.
    """

    experiment: Experiment
    sweep: Sweep | None = None
    is_export: bool = False

    @cached_property
    def filler(self) -> PointFiller:
        """What completes the points."""
        if (sweep := self.sweep) is None:
            return PointFiller(self.experiment)
        return PointFiller(
            self.experiment, sweep.params, sweep.axes, sweep.derive, sweep.where, sweep.max_points
        )

    @cached_property
    def columns(self) -> dict[str, FieldSpec | None]:
        """The names that a row may have, each with its field; None for an axis that is no param."""
        fields = (*self.experiment.params, *self.experiment.metrics, *OWN)
        return {**dict.fromkeys(self.filler.extra), **{s.name: s for s in fields}}

    def row(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The row of one run: params, metrics, ``run_id``, ``seed``, ``status``, ``error``.

        Raises a LawsweepError for the first thing that is wrong with it.
        """
        (seed,) = read_seeds([_whole(found["seed"])])
        params = self._params(found)
        status = self._status(found)
        run_id = make_run_id(self.experiment, params, seed)
        if self.is_export and found.get("run_id") not in (None, run_id):
            raise InvalidValueError(
                f"Its run_id is {found['run_id']!r}, and that of its params and seed is {run_id!r}:"
                " the file was changed by hand. Correct the row, or leave run_id out (--drop)."
            )
        return {
            **params,
            **self._metrics(found, status),
            "run_id": run_id,
            "seed": seed,
            "status": status,
            "error": found.get("error") if status != "ok" else None,
            "traceback": found.get("traceback") if status != "ok" else None,
            "wall_s": _wall_s(found.get("wall_s")),
        }

    def _params(self, found: Mapping[str, Any]) -> dict[str, Any]:
        given = {}
        for spec in self.experiment.params:
            if spec.name in found:
                if found[spec.name] is None and not spec.optional:
                    raise _empty(spec)
                given[spec.name] = spec.cast(found[spec.name])
        extra = {n: found[n] for n in self.filler.extra if found.get(n) is not None}
        params = self.filler.complete({**given, **extra})
        self.experiment.bind(params)
        return {s.name: s.cast(params[s.name]) for s in self.experiment.params}

    def _status(self, found: Mapping[str, Any]) -> str:
        status = found.get("status", "ok")
        if status not in STATUSES:
            raise InvalidValueError(
                f"status must be one of {', '.join(STATUSES)}, got {status!r}. Correct it, or "
                "leave the column out (--drop status): then every row counts as ok."
            )
        return str(status)

    def _metrics(self, found: Mapping[str, Any], status: str) -> dict[str, Any]:
        metrics = {}
        for spec in self.experiment.metrics:
            if spec.name not in found:
                continue
            value = found[spec.name]
            if value is not None and status != "ok":
                raise InvalidValueError(
                    f"{spec.name} is {value!r} and the status {status}: a run that is not ok has "
                    "no metrics. Correct one of them."
                )
            if value is None and status == "ok" and not (spec.optional or self.is_export):
                raise _empty(spec)
            metrics[spec.name] = None if value is None else spec.cast_metric(value)
        return metrics


def read_rows(
    reader: RowReader, found: Iterable[Mapping[str, Any]], place: str
) -> list[dict[str, Any]]:
    """The rows of runs, which messages count from 1 (``Row 3 of theirs.csv``, its ``place``).

    Runs whose status is ``missing`` have no row, and stay out.  Raises the error of the first bad
    one, and says how many there are; InvalidValueError for a run that comes twice.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    bad: list[tuple[int, LawsweepError]] = []
    for number, values in enumerate(found, 1):
        if values.get("status") == NO_ROW:
            continue
        try:
            row = reader.row(values)
        except LawsweepError as error:
            bad.append((number, error))
            continue
        if (first := seen.setdefault(row["run_id"], number)) != number:
            raise InvalidValueError(
                f"Rows {first} and {number} of {place} are the same run (same params and seed). "
                "Leave one of them out."
            )
        rows.append(row)
    if bad:
        number, why = bad[0]
        more = f" {len(bad) - 1:,} more rows are bad." if bad[1:] else ""
        raise type(why)(f"Row {number} of {place}: {why}{more} Nothing was imported.")
    return rows


def map_columns(
    reader: RowReader, names: Sequence[str], asked: Mapping[str, str], drop: Sequence[str]
) -> dict[str, str]:
    """Their columns to ours.  Raises for what is unknown, on either side, or comes twice."""
    from lawsweep.core.definition import RESERVED

    place, there = f"experiment {reader.experiment.name}", set(names)
    ours = [n for n in reader.columns if n not in RESERVED or n in ("seed", "wall_s")]
    for name in (*asked, *drop):
        if name not in there:
            raise unknown_name("column", name, names, "the file")
    for name in asked.values():
        if name not in ours:
            raise unknown_name("column", name, ours, place)
    # Columns that every row of ours has are made anew, but for those that say how the run ended.
    anew = RESERVED - set(reader.columns)
    mapped = {n: asked.get(n, n) for n in names if n not in drop and (n in asked or n not in anew)}
    known = set(reader.columns)
    unknown = [n for n, to in mapped.items() if to not in known]
    if unknown:
        error = unknown_name("column", unknown[0], ours, place)
        more = f" (So are {', '.join(unknown[1:6])}{', ...' if unknown[6:] else ''}.)"
        raise InvalidValueError(
            f"{error}{more if unknown[1:] else ''} Map a column with --map theirs=ours, or leave "
            "it out with --drop."
        )
    sources: dict[str, list[str]] = {}
    for name, to in mapped.items():
        sources.setdefault(to, []).append(name)
    for to, several in sources.items():
        if len(several) > 1:
            raise InvalidValueError(
                f"The columns {' and '.join(several)} are both {to}; leave one out with --drop."
            )
    return mapped


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _wall_s(value: Any) -> Any:
    return None if value is None else OWN[1].cast(value)


def _empty(spec: FieldSpec) -> InvalidValueError:
    return InvalidValueError(
        f"{spec.name} is empty, and must be {spec.type_name}. Fill it in, or leave the row out."
    )
