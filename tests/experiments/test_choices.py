"""A row is computed once more by the tables that its launch recorded, whoever wrote the record."""

from __future__ import annotations

import math

import pytest

from lawsweep.experiments.choices import as_recorded
from lawsweep.kernels.base import devices
from lawsweep.kernels.base.rates import stated

ENOUGH = 1e13  # operations: worth asking for measured rates


def row(tables, named="a", host="node"):
    return {"host": host, "calibration": named, "launch": {"hosts": {"node": tables}}}


def record(**sizes):
    return {**stated("cpu").record(), "sizes": {**stated("cpu").record()["sizes"], **sizes}}


def tile_within(given, device="cpu"):
    with as_recorded(given, device):
        return devices.on(device, ENOUGH).rows_tile


def test_the_tables_that_a_row_names_decide():
    tables = {"calibrations": {"a": record(rows_tile=77), "b": record(rows_tile=78)}}
    assert tile_within(row(tables)) == 77
    assert tile_within(row(tables, "b")) == 78
    # None of this row's, or of another kind of device: stated ones.
    for given in (row(tables, "c"), row(tables, None), row(tables, host="other")):
        assert tile_within(given) == stated("cpu").sizes.rows_tile
    assert tile_within(row(tables), "cuda") == stated("cuda").sizes.rows_tile
    on_card = {"calibrations": {"a": {**record(rows_tile=79), "device": "cuda"}}}
    assert tile_within(row({"calibrations": {**tables["calibrations"], **on_card["calibrations"]}}),
                       "cuda") == 79  # fmt: skip


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        "text",
        {},
        {"device": "cpu"},
        {**record(), "rates": None},
        {**record(), "sizes": [1]},
        record(rows_tile=0),
        record(stack=-5),
        record(rows_tile="many"),
        record(rows_tile=math.nan),
        record(rows_tile=math.inf),
        {**record(), "rates": {"launch": 0.0}},
        {**record(), "rates": {"launch": "fast"}},
    ],
)
def test_a_table_that_cannot_be_read_decides_nothing(broken):
    assert tile_within(row({"calibrations": {"a": broken}})) == stated("cpu").sizes.rows_tile


@pytest.mark.parametrize("launch", [None, [], {"hosts": []}, {"hosts": {"node": "x"}}])
def test_nor_does_a_launch_of_which_nothing_is_recorded(launch):
    given = {"host": "node", "calibration": "a", "launch": launch}
    assert tile_within(given) == stated("cpu").sizes.rows_tile
