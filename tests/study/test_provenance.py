"""What a launch record must say for a row to be understood years later."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np

import lawsweep
from lawsweep.launch.record.provenance import blas, circumstances, source_state
from lawsweep.store.sweeps.sweep_folder import find_launch
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.worker import hardware

TOLD = {
    "launch_id", "sweep", "command", "overrides", "config", "n_planned", "executor", "experiment",
    "experiment_version", "experiment_source", "id_scheme", "started_at", "git", "packages",
    "hardware", "hosts", "blas", "n_threads", "ended_at", "result",
}  # fmt: skip


def test_a_launch_tells_code_packages_machine_and_times(toys):
    launch = lawsweep.show(lawsweep.load(toys)["run_id"].iloc[0])["launch"]
    assert set(launch) >= TOLD
    assert launch["config"]["axes"] == {"n": [10, 20, 40, 80]}
    assert launch["packages"]["ray"]
    assert launch["packages"]["torch"]
    assert launch["hardware"]["processor"]
    assert isinstance(launch["hardware"]["gpus"], list)
    assert launch["started_at"] <= launch["ended_at"]
    assert launch["result"]["statuses"] == {"ok": 8}
    json.dumps(launch, allow_nan=False)
    (host,) = launch["hosts"].values()
    assert host["host"] == launch["hardware"]["host"]
    assert host["processor"]
    assert {"vendor", "processor_id", "n_cpus", "memory_bytes", "gpus"} <= set(host)


def test_a_host_is_in_the_record_before_its_rows(toys, monkeypatch):
    seen = []
    append = ParquetTable.append

    def look(table, rows, arrays=None):
        record = find_launch("results", rows[0]["launch_id"])
        seen.append({r["host"] for r in rows} <= set(record["hosts"]))
        append(table, rows, arrays)

    monkeypatch.setattr(ParquetTable, "append", look)
    lawsweep.run(dataclasses.replace(toys, name="more", seeds=3))
    assert seen
    assert all(seen)


def test_the_source_of_a_users_experiment_is_hashed(module, folder):
    text = (
        "from toys import *\n@experiment(version=1)\ndef own(params: Params, seed: int) -> Metrics:"
        "\n    return Metrics(y=1.0, draws=1)\n"
    )
    find = module("own", text)
    state = source_state(find("own"))
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    assert state == {"module": "own", "file": "own.py", "hash": digest}
    (folder / "own.py").unlink()
    assert source_state(find_again(find)) is None


def find_again(find):
    return find("own")


def test_blas_is_numpys_and_says_its_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = blas()
    assert found["name"]
    assert found["threads"]["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in found["threads"]
    monkeypatch.setattr(np, "show_config", lambda **_: {})
    assert blas()["name"] is None


def test_nvidia_devices_are_read_from_the_driver(monkeypatch, tmp_path, toys):
    gpus = tmp_path / "gpus"
    for address, text in (("0000:01:00.0", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 7\n"),
                          ("0000:02:00.0", "")):  # fmt: skip
        (gpus / address).mkdir(parents=True)
        (gpus / address / "information").write_text(text)
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 550.54\nGCC version: 12\n")
    real = hardware.Path

    def moved(*parts):
        path = real(*parts)
        known = {
            "/proc/driver/nvidia/gpus": gpus,
            "/proc/driver/nvidia/version": tmp_path / "version",
        }
        return known.get(str(path), path)

    monkeypatch.setattr(hardware, "Path", moved)
    assert hardware._gpus() == ["NVIDIA H100 80GB HBM3", "0000:02:00.0"]
    assert hardware._nvidia_driver() == "NVIDIA UNIX x86_64 550.54"


def test_circumstances_name_no_folder_of_this_machine(toys, folder):
    text = json.dumps(circumstances(toys.find_experiment()))
    assert str(folder) not in text
    assert str(lawsweep.__file__).rpartition("/")[0] not in text
