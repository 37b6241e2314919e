"""The cluster recipes: the SLURM script runs for real with stand-ins for SLURM's own commands."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
SRUN = """#!/bin/bash
while [ "$#" -gt 0 ] && [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$SCONTROL_LOG"
if [ "$1" = show ]; then echo 127.0.0.1; fi
"""
RAY = """#!/bin/bash
[ "$1" = get-auth-token ] || exit {code}
"""
REAL_RAY = """#!/bin/bash
exec {python} {ray_alone} "$@"
"""


@pytest.fixture
def slurm(tmp_path, unused_port):
    """The environment of a job of one node, with `srun` and `scontrol` that act on this machine."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    python = str(Path(sys.executable).parent)
    ray, ray_alone = binaries / "ray", Path(__file__).parent / "support/ray_alone.py"
    ray.write_text(REAL_RAY.format(python=sys.executable, ray_alone=ray_alone))
    ray.chmod(0o755)
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(binaries), python, os.environ["PATH"]]),
        "VIRTUAL_ENV": str(Path(python).parent),
        "HOME": str(tmp_path),  # the token stays out of the real one
        "SCONTROL_LOG": str(tmp_path / "scontrol.log"),
        "SLURM_JOB_MARK": uuid.uuid4().hex,
        "SLURM_JOB_ID": str(unused_port - 20000),
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_JOB_NODELIST": "node[1]",
        "LAWSWEEP_RESULTS_DIR": str(tmp_path / "results"),
    }


@pytest.fixture
def unused_port():
    """A free port in the range the script takes its ports from."""
    import socket

    for port in range(20000 + os.getpid() % 19000, 40000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no free port")


def submit(environment, folder, *arguments):
    return subprocess.run(
        ["bash", str(DEPLOY / "slurm.sbatch"), *arguments], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.mark.slow
def test_the_slurm_script_runs_a_sweep_on_a_ray_of_its_own(slurm, tmp_path):
    (tmp_path / "sweeps").mkdir()
    sweep = "experiment: toys:toy\naxes: {n: [1, 2, 3, 4]}\nseeds: 2\n"
    (tmp_path / "sweeps/small.yaml").write_text(sweep)
    path = os.pathsep.join(
        [str(Path(__file__).parent / "support"), os.environ.get("PYTHONPATH", "")]
    )
    done = submit({**slurm, "PYTHONPATH": path}, tmp_path, "small", "--no-analysis")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = list((tmp_path / "results/tables").glob("*/part-*.parquet"))
    assert sum(pq.read_metadata(p).num_rows for p in parts) == 8
    log = Path(slurm["SCONTROL_LOG"]).read_text()
    assert log.startswith("show hostnames node[1]")
    assert "requeue" not in log


def test_an_interrupted_slurm_job_goes_back_into_the_queue(slurm, tmp_path):
    # In the place of `ray`: a sweep that SIGTERM ended.
    ray = tmp_path / "bin/ray"
    ray.write_text(RAY.format(code=130))
    ray.chmod(0o755)
    done = submit(slurm, tmp_path, "smoke")
    assert done.returncode == 130
    assert f"requeue {slurm['SLURM_JOB_ID']}" in Path(slurm["SCONTROL_LOG"]).read_text()


def test_a_failed_sweep_is_not_put_back(slurm, tmp_path):
    ray = tmp_path / "bin/ray"
    ray.write_text(RAY.format(code=13))
    ray.chmod(0o755)
    assert submit(slurm, tmp_path, "smoke").returncode == 13
    assert "requeue" not in Path(slurm["SCONTROL_LOG"]).read_text()


def test_the_slurm_script_without_a_sweep_says_how_to_call_it(slurm, tmp_path):
    done = submit(slurm, tmp_path)
    assert done.returncode == 2
    assert "usage: sbatch" in done.stderr


def test_the_rayjob_names_a_sweep_that_plans():
    from lawsweep.config.compose import load_sweep

    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    command, verb, sweep, *overrides = job["spec"]["entrypoint"].split()
    assert (command, verb) == ("lawsweep", "run")
    assert load_sweep(sweep, *overrides).plan().n_points > 0
    groups = [job["spec"]["rayClusterSpec"]["headGroupSpec"]]
    groups += job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
    yaml.safe_load(job["spec"]["runtimeEnvYAML"])


def test_the_rayjob_asks_for_the_ray_that_is_pinned():
    pins = (DEPLOY.parent / "constraints.txt").read_text()
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert f"ray=={job['spec']['rayClusterSpec']['rayVersion']}\n" in pins
