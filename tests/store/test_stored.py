"""An experiment as its parts describe it, without its code."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from rows import row, spectral, write_part
from toys import toy

from lawsweep import experiment
from lawsweep.core.errors import UnknownNameError
from lawsweep.core.identity import run_id
from lawsweep.core.schema import MISSING
from lawsweep.store.places.find import open_folder
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.schema import table_schema
from lawsweep.store.table.stored import stored_experiment
from lawsweep.store.upkeep.verify import verify


@dataclass(frozen=True, kw_only=True)
class Params:
    width: int
    rate: float = 1
    sizes: tuple[float, ...] = (1, 2.5)
    name: str | None = None
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class Metrics:
    loss: float


@experiment(version=3)
def every_kind(params: Params, seed: int) -> Metrics:
    return Metrics(loss=0.0)


def test_defaults_of_every_kind_give_the_same_run_ids(tmp_path):
    table = ParquetTable(tmp_path / "tables", every_kind)
    write_part(table, [row("a", n=None)])
    found = stored_experiment(open_folder(tmp_path / "tables"), "every_kind")
    assert [(s.name, s.kind, s.is_tuple) for s in found.params] == [
        (s.name, s.kind, s.is_tuple) for s in every_kind.params
    ]
    assert [repr(s.default) for s in found.params] == [repr(s.default) for s in every_kind.params]
    assert found.params[0].default is MISSING
    for params in (
        {"width": 3, "rate": 1.0, "sizes": (1.0, 2.5), "name": None, "bias": True},
        {"width": 3, "rate": 2.0, "sizes": (1.0,), "name": "x", "bias": False},
    ):
        assert run_id(found, params, 4) == run_id(every_kind, params, 4)


def test_an_array_that_must_be_there_is_missed_without_the_code_too(tmp_path):
    required = replace(toy, arrays=(replace(spectral.arrays[0], optional=False),))
    params = {"n": 3, "scale": 1.0, "mode": "ok"}
    for experiment_, severity in ((required, "problem"), (spectral, None)):
        folder = tmp_path / str(severity)
        table = ParquetTable(folder / "tables", experiment_)
        write_part(table, [row(run_id(toy, params, 0))])
        found = stored_experiment(open_folder(folder / "tables"), "toy")
        told = verify(ParquetTable(folder / "tables", found))
        severities = [f.severity for f in told if "have no spectrum" in f.message]
        assert severities == ([severity] if severity else [])


def test_the_newest_version_is_taken_and_a_table_without_parts_is_named(tmp_path):
    for version in (1, 2, 1):
        write_part(ParquetTable(tmp_path / "tables", replace(toy, version=version)), [row("a")])
    assert stored_experiment(open_folder(tmp_path / "tables"), "toy").version == 2
    (tmp_path / "tables/none").mkdir()
    with pytest.raises(UnknownNameError, match=r"No part of the table .* can be read"):
        stored_experiment(open_folder(tmp_path / "tables"), "none")


def test_odd_words_in_a_part_do_no_harm(tmp_path):
    table = ParquetTable(tmp_path / "tables", toy)
    told = {**table_schema(toy).metadata, b"lawsweep.defaults": b"[", b"lawsweep.arrays": b"{"}
    table.schema = table.schema.with_metadata(told)
    write_part(table, [row("a")])
    found = stored_experiment(open_folder(tmp_path / "tables"), "toy")
    assert not any(s.has_default for s in found.params)
    assert found.arrays == ()
    assert json.loads(table_schema(spectral).metadata[b"lawsweep.arrays"]) == {
        "spectrum": "optional"
    }
