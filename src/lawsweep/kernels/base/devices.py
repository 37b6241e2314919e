"""How much is done at a time and which way is quicker: one table a device.  No torch.

What a kernel computes does not depend on these but for the order of its roundings: they keep work
in a core's cache and launches on a card few.  ``rates.sizes_of`` makes a table of a device's rates.

Which rates: those measured here (``calibration``) for work that is worth a second of measuring, so
on a card always and on a CPU from ``WORTH`` operations on; below, stated ones, with this machine's
cache.  The work at hand decides that and not what ran before, so a run takes the same way in every
process of a machine.  ``forced`` takes the tables that a row's launch recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lawsweep.kernels.base.rates import Rates, Sizes, Table, stated

# Operations from which a CPU's rates are measured: some half a second of a core.
WORTH = 2e10

OVERRIDES: dict[str, Any] = {}  # sizes by name, on every device: for tests
_forced: dict[str, Table] = {}  # by kind
_only_forced: list[None] = []  # one for each ``forced`` that is entered
_used: dict[str, Table] = {}  # by id, since ``begin``: the tables that decided something


def on(device: Any, work: float = 0.0) -> Sizes:
    """The sizes for ``work`` operations on a torch device, or a device by name."""
    kind = getattr(device, "type", None) or str(device).partition(":")[0]
    table = _forced.get(kind)
    if table is None and not _only_forced and (kind != "cpu" or work >= WORTH):
        table = measured(device)
    table = stated(kind) if table is None else table
    if table.source != "stated":
        _used[table.id] = table
    return dataclasses.replace(table.sizes, **OVERRIDES) if OVERRIDES else table.sizes


def rates(device: Any) -> Rates:
    """The rates that the sizes of a device are made of: measured, or stated."""
    kind = getattr(device, "type", None) or str(device).partition(":")[0]
    table = _forced.get(kind)
    if table is None and not _only_forced and kind != "cpu":
        table = measured(device)
    return (stated(kind) if table is None else table).rates


def measured(device: Any) -> Table | None:
    """The table of a device's own rates; None where calibration is off."""
    from lawsweep.kernels.base import calibration  # needs torch, which whoever plans does not load

    return calibration.table(device)


@contextmanager
def forced(records: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """The tables of ``records`` decide within, or stated ones: nothing that is measured here."""
    before = dict(_forced)
    tables = [Table.from_record(record) for record in records.values()]
    _forced.update({table.kind: table for table in tables})
    _only_forced.append(None)
    try:
        yield
    finally:
        _only_forced.pop()
        _forced.clear()
        _forced.update(before)


def begin() -> None:
    """Forget which tables decided: a run begins."""
    _used.clear()


def used() -> dict[str, dict[str, Any]]:
    """The tables other than stated ones that decided something since ``begin``, by id."""
    return {name: table.record() for name, table in _used.items()}


CHOLESKY_GRAIN = 64  # halves are multiples of this, the unit of the matrix product's own tiles

# -- of the host's memory, or of what a row's draws depend on: the same wherever the work is done
SKIPPED_ROWS = 4096  # rows of others that are drawn, and dropped, at a time
DRAWN = 2**22  # numbers drawn at a time: what a law needs beside its rows stays small
TARGET_ROWS = 2**15  # rows of a target at a time, where they are drawn and where they are summed
SAMPLED_PAIRS = 2**16  # pairs of rows, or rows, of a sampled norm at a time
# Products with the Hessian keep two matrices of this many numbers (N x R M) between them, at most;
# larger ones are computed again for each product.
KEPT_NUMBERS = 2**26

# Bytes of an array whose memory is kept for the next one, at least and at most, and of all that is
# kept: memory that the process needs at its peak, not more.
WORKSPACE = (2**25, 2**29, 2**30)
