"""What every row says of how it was computed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from rows import row, write_part
from toys import toy

from lawsweep.core.circumstances import CIRCUMSTANCES, OF_OUTCOME
from lawsweep.core.definition import RESERVED
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.parts import read_part
from lawsweep.store.table.schema import table_schema
from lawsweep.store.upkeep.compact import compact
from lawsweep.worker import computing

NEW = ["n_fused", "blas", "instruction_set", "calibration", "device_name", "peak_device_bytes"]
SUPPORT = Path(__file__).parents[1] / "support"


def in_a_worker(lines, **environment):
    """The circumstances of a run of ``toy`` in a fresh process, after ``lines``."""
    code = f"""
import sys
sys.path.insert(0, {str(SUPPORT)!r})
{lines}
from lawsweep.worker.execute import execute_run
from lawsweep.core.outcome import RunSpec
from toys import toy
outcome = execute_run(toy, RunSpec(0, "id", {{"n": 3}}, 1))
print("torch" in sys.modules, outcome.blas, outcome.instruction_set, sep="|")
"""
    settings = {k: v for k, v in os.environ.items() if k not in computing.SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**settings, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    has_torch, blas, instructions = done.stdout.strip().split("|")
    return has_torch == "True", blas, instructions


def test_torch_tells_where_it_is_loaded_and_the_settings_in_force():
    import torch

    loaded, blas, instructions = in_a_worker(
        "import torch", MKL_CBWR="COMPATIBLE", ATEN_CPU_CAPABILITY="default"
    )
    assert loaded
    assert blas.endswith("; MKL_CBWR=COMPATIBLE; ATEN_CPU_CAPABILITY=default")
    assert instructions.startswith("torch DEFAULT")
    if torch.backends.mkl.is_available():
        assert blas.startswith("MKL 20")
        assert "; MKL " in instructions
        _, _, free = in_a_worker("import torch")
        assert instructions.partition("; ")[2] != free.partition("; ")[2]


def test_a_worker_whose_experiment_never_imports_torch_does_not_either():
    loaded, blas, instructions = in_a_worker("import numpy")
    assert not loaded
    assert "MKL" in blas or "BLAS" in blas
    assert instructions.startswith("numpy ")


def test_what_is_no_setting_is_not_repeated(monkeypatch):
    for name in computing.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_CBWR", "/a/path?token=t0p")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert computing.settings() == ["OPENBLAS_CORETYPE=Haswell"]


def test_a_half_imported_torch_is_not_known(monkeypatch):
    monkeypatch.setattr(computing, "_known", {})
    monkeypatch.setitem(sys.modules, "torch", type(sys)("torch"))
    assert computing.computing() == (None, None)
    assert computing._known == {}


def test_a_column_stands_in_one_place():
    names = [c.name for c in CIRCUMSTANCES]
    assert set(NEW) < set(OF_OUTCOME) < set(names) < RESERVED
    assert table_schema(toy).names[-len(names) :] == names


def older(table):
    """The table as a lawsweep before these columns has it."""
    before = ParquetTable(table.root, toy)
    before.schema = pa.schema(
        [f for f in table.schema if f.name not in NEW], metadata=table.schema.metadata
    )
    return before


@pytest.mark.parametrize("compacted", [False, True])
def test_parts_with_and_without_them_are_one_table(tmp_path, compacted):
    table = ParquetTable(tmp_path / "tables", toy)
    write_part(older(table), [row("a"), row("b")])
    made = {"blas": "MKL 2024.2", "instruction_set": "torch AVX2", "calibration": "0badcafe"}
    table.append([row("c", n_fused=4, **made)])
    table.append([row("d", n_fused=1)])
    if compacted:
        compact(table)
    now = table.read(["a", "b", "c", "d"]).select(NEW).to_pylist()
    assert [tuple(r.values())[:4] for r in now] == [
        (None, None, None, None),
        (None, None, None, None),
        (4, "MKL 2024.2", "torch AVX2", "0badcafe"),
        (1, None, None, None),
    ]
    before = older(table)
    for name in before.parts():  # today's parts, as that lawsweep reads them
        assert read_part(before.folder, name, before.schema, {}).num_rows
    before.check_writable()
    assert before.read(["a", "c"]).num_rows == 2
