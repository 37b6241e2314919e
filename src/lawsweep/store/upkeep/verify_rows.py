"""Checks of rows: what stands twice, and whether each row is the run that its id names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lawsweep.core.circumstances import TOLERANCES
from lawsweep.core.experiment import Experiment
from lawsweep.core.identity import run_id, run_ids
from lawsweep.store.upkeep.bits import row_classes, same_values
from lawsweep.store.upkeep.compact import ORDER

Severity = Literal["ok", "note", "problem"]
SEVERITIES: tuple[Severity, ...] = ("problem", "note", "ok")
SOME = 5  # run ids that a finding shows
# What has a say in those bits.
ROUNDS = ("device", "host", "n_threads", "n_fused", "blas", "instruction_set", "calibration")


@dataclass(frozen=True)
class Finding:
    """What a check found: ``ok``, a ``note`` (harmless, to be known) or a ``problem``.

    ``check`` names the check, ``n`` counts what is concerned, ``run_ids`` are some of the runs.
    """

    severity: Severity
    check: str
    message: str
    n: int = 0
    run_ids: tuple[str, ...] = ()


def some_ids(ids: Any) -> tuple[str, ...]:
    """The first few of many run ids."""
    return tuple(str(i) for i in ids[:SOME])


def check_repeats(
    rows: pa.Table, experiment: Experiment, digests: Mapping[str, str]
) -> Iterator[Finding]:
    """Runs that stand in more than one row; successful attempts must agree in their metrics.

    Not those of two codes (``digests``: of the launches that say theirs).
    """
    check = "repeats"
    n_runs = pc.count_distinct(rows["run_id"]).as_py()
    yield Finding("ok", check, f"{rows.num_rows} rows of {n_runs} runs", rows.num_rows)
    if n_runs == rows.num_rows:
        return
    repeated = rows.filter(_occurs_twice(rows["run_id"]))
    repeated = repeated.take(pc.sort_indices(repeated, sort_keys=ORDER))
    n = repeated.num_rows - len(np.unique(row_classes(repeated)))
    if n:
        yield Finding("note", check, f"{n} rows stand twice, equal in every bit: compact drops", n)
    good = repeated.filter(pc.equal(repeated["status"], "ok"))
    yield from _check_agreement(good, experiment, digests)


def _occurs_twice(ids: pa.ChunkedArray) -> pa.Array:
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return pa.array(np.bincount(codes)[codes] > 1)


def _pairs(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Neighbours of the same run, in rows sorted by run."""
    if rows.num_rows < 2:
        return rows.slice(0, 0), rows.slice(0, 0)
    here, before = rows.slice(1), rows.slice(0, rows.num_rows - 1)
    same = pc.equal(here["run_id"], before["run_id"])
    return here.filter(same), before.filter(same)


def _check_agreement(
    good: pa.Table, experiment: Experiment, digests: Mapping[str, str]
) -> Iterator[Finding]:
    """Nondeterminism: one run and one code, two successful attempts, different metrics."""
    here, before = _pairs(good)
    check = "repeats"
    codes = [[digests.get(i) for i in side["launch_id"].to_pylist()] for side in (here, before)]
    same_code = pa.array(
        [a == b or a is None or b is None for a, b in zip(*codes, strict=True)], type=pa.bool_()
    )
    if n := here.num_rows - (pc.sum(same_code).as_py() or 0):
        text = f"{n} runs were made again by other code, and may give other metrics by it"
        yield Finding("note", check, text, n)
        here, before = here.filter(same_code), before.filter(same_code)
    if not here.num_rows:
        return
    rounding, amplified = (np.zeros(here.num_rows, dtype=bool) for _ in range(2))
    alike = np.ones(here.num_rows, dtype=bool)
    for name in ROUNDS:
        alike &= same_values(here[name], before[name])
    wrong = np.zeros(here.num_rows, dtype=bool)
    tolerance = _tolerance(here)
    names = []
    for spec in experiment.metrics:
        left, right = here[spec.name], before[spec.name]
        differs = ~same_values(left, right)
        close = differs & ~alike
        if spec.info.chaotic:
            amplified |= close
        elif spec.kind == "float" and not spec.is_tuple:
            close &= _is_close(left, right, tolerance)
            rounding |= close
        else:
            close[:] = False
        wrong |= differs & ~close
        names += [spec.name] if (differs & ~close).any() else []
    runs = list(dict.fromkeys(here["run_id"].filter(pa.array(wrong)).to_pylist()))
    if runs:
        text = f"{len(runs)} runs gave other metrics when they were run again ({', '.join(names)})"
        yield Finding("problem", check, f"{text}: not deterministic", len(runs), some_ids(runs))
    if (amplified & ~wrong).any():
        n = int((amplified & ~wrong).sum())
        text = f"{n} runs differ between two machines or settings in metrics that amplify "
        text += "rounding, and in no other; lawsweep replay tells whether rounding explains it"
        yield Finding("note", check, text, n)
    if (rounding & ~wrong & ~amplified).any():
        n = int((rounding & ~wrong & ~amplified).sum())
        text = f"{n} runs differ by at most {tolerance.max():g} relative between two machines "
        text += "or settings"
        yield Finding("note", check, text, n)
    if not wrong.any():
        yield Finding("ok", check, f"{here.num_rows} runs done again agree", here.num_rows)


def _tolerance(rows: pa.Table) -> np.ndarray:
    """How closely each row's floats are to agree between two machines, as `replay` asks it."""
    exact = np.full(rows.num_rows, TOLERANCES["float64"])
    if "dtype" not in rows.column_names:
        return exact
    return np.array(
        [TOLERANCES.get(t, e) for t, e in zip(rows["dtype"].to_pylist(), exact, strict=True)]
    )


def _is_close(left: pa.ChunkedArray, right: pa.ChunkedArray, tolerance: np.ndarray) -> np.ndarray:
    a, b = (c.to_numpy() for c in (left, right))
    with np.errstate(invalid="ignore"):
        found: np.ndarray = abs(a - b) <= tolerance * np.maximum(abs(a), abs(b))
    return found


def check_ids(rows: pa.Table, experiment: Experiment) -> Iterator[Finding]:
    """Run ids, computed again from experiment, version, params and seed."""
    check = "run_id"
    foreign = pc.fill_null(pc.not_equal(rows["experiment"], experiment.name), True)
    if n := pc.sum(foreign).as_py():
        ids = some_ids(rows.filter(foreign)["run_id"].to_pylist())
        yield Finding("problem", check, f"{n} rows are of another experiment", n, ids)
    now = pc.fill_null(pc.equal(rows["version"], experiment.version), False)
    n_other = rows.num_rows - (pc.sum(now).as_py() or 0)
    if n_other:
        text = f"{n_other} rows are of another version than {experiment.version}; their ids "
        text += "cannot be computed from today's defaults"
        yield Finding("note", check, text, n_other)
    ours = rows.filter(pc.and_(now, pc.invert(foreign))).combine_chunks()
    wrong = _wrong_ids(ours, experiment)
    if len(wrong):
        ids = ours["run_id"].take(pa.array(wrong)).to_pylist()
        text = f"{len(wrong)} rows have params or a seed that are not their run id's: changed by "
        text += "hand, or imported wrongly"
        yield Finding("problem", check, text, len(wrong), some_ids(ids))
    n = ours.num_rows - len(wrong)
    yield Finding("ok", check, f"{n} run ids are those of their params and seed", n)


def _wrong_ids(rows: pa.Table, experiment: Experiment) -> np.ndarray:
    """Indices of rows whose id is not that of their params and seed."""
    if not rows.num_rows:
        return np.zeros(0, dtype=np.int64)
    columns = {s.name: _as_column(rows[s.name]) for s in experiment.params}
    said = np.array(rows["run_id"].to_pylist(), dtype=object)
    seeds = pc.fill_null(rows["seed"], -1).to_numpy()  # no run has this seed
    distinct, inverse = np.unique(seeds, return_inverse=True)
    if len(distinct) * 50 > len(said):  # few runs a seed: not worth the columns of each
        return np.flatnonzero(_ids_one_by_one(experiment, columns, seeds) != said)
    order, wrong = np.argsort(inverse, kind="stable"), []
    for seed, here in zip(distinct, np.split(order, _starts(inverse)), strict=True):
        ids = run_ids(experiment, {k: c[here] for k, c in columns.items()}, len(here), [seed])
        wrong.append(here[np.array(ids, dtype=object) != said[here]])
    return np.sort(np.concatenate(wrong))


def _ids_one_by_one(
    experiment: Experiment, columns: dict[str, np.ndarray], seeds: np.ndarray
) -> np.ndarray:
    listed = {name: column.tolist() for name, column in columns.items()}
    ids = np.empty(len(seeds), dtype=object)
    for i, seed in enumerate(seeds.tolist()):
        ids[i] = run_id(experiment, {name: values[i] for name, values in listed.items()}, seed)
    return ids


def _starts(inverse: np.ndarray) -> np.ndarray:
    return np.cumsum(np.bincount(inverse))[:-1]


def _as_column(column: pa.ChunkedArray) -> np.ndarray:
    """A column as plans hold it: numbers as they are, else objects with None and tuples."""
    kind = column.type
    if not column.null_count and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        numbers: np.ndarray = column.to_numpy()
        return numbers
    values = column.to_pylist()
    made = np.empty(len(values), dtype=object)
    made[:] = [tuple(v) if isinstance(v, list) else v for v in values]
    return made
