"""The circumstances of a run: the columns every row has beside identity, params and metrics.

A column stands here once: the table's schema, the names that fields may not have and the rows
that the committer writes are made from it.  One that the worker tells is a field of the same name
in ``Outcome``.  All of them may be null, and are in parts older than the column.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from lawsweep.core.outcome import Outcome


class Circumstance(NamedTuple):
    """One column: its name, type (``time`` is a UTC timestamp), meaning and unit.

    ``repeats``: few values among many rows, so that a file keeps them as a dictionary.
    """

    name: str
    kind: Literal["str", "int", "float", "time"]
    meaning: str
    unit: str = "1"
    repeats: bool = False


CIRCUMSTANCES = (
    Circumstance("error", "str", "type and message of a failure; reason of an infeasible point"),
    Circumstance("traceback", "str", "traceback of a failure, and what the run printed last"),
    Circumstance("wall_s", "float", "wall time of the run", "s"),
    Circumstance(
        "peak_memory_bytes", "int", "peak resident memory of the worker in the run", "byte"
    ),
    Circumstance("attempt", "int", "which attempt this was, from 1", repeats=True),
    Circumstance("device", "str", "device the run computed on"),
    Circumstance("device_name", "str", "model of the GPU the run computed on", repeats=True),
    Circumstance("peak_device_bytes", "int", "most memory that the run held on its GPU", "byte"),
    Circumstance("host", "str", "machine the run computed on"),
    Circumstance("n_threads", "int", "threads given to numerical libraries", repeats=True),
    Circumstance("n_fused", "int", "runs that were answered together, this one too", repeats=True),
    Circumstance("blas", "str", "linear algebra of the worker, and settings in force"),
    Circumstance("instruction_set", "str", "instructions that the worker's libraries used"),
    Circumstance(
        "calibration",
        "str",
        "tables of sizes by measured rates that decided how: in the launch's record, by host",
        repeats=True,
    ),
    Circumstance(
        "resumed",
        "str",
        "attempt whose checkpoint it went on from, or why from none; null: there was none",
        repeats=True,
    ),
    Circumstance(
        "unseeded_draws",
        "str",
        "global random generators that the run drew from unseeded: the same numbers in every run",
        repeats=True,
    ),
    Circumstance("started_at", "time", "when the run started"),
    Circumstance(
        "launch_id", "str", "launch that made this row: sweeps/*/launches/<launch_id>.json"
    ),
)
# Those an outcome brings from where it was computed, under the same name.
OF_OUTCOME = tuple(c.name for c in CIRCUMSTANCES if c.name in Outcome._fields)

# How closely two machines agree, by the floating type that a run computes in (its param dtype).
EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
# Relative, for a stable computation.  As many of float32's digits as of float64's: eps**0.57.
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}
