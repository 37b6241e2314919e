"""Our executors pass the contract that ships; and what their blocks may not say."""

from __future__ import annotations

from typing import ClassVar

import pytest
from toys import toy

from lawsweep.contracts import ExecutorContract, WorkerContract
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.outcome import Task
from lawsweep.executors.make import make_executor


class TestSerial(ExecutorContract):
    config = "serial"

    def test_a_deadline_names_the_executors_that_can(self, executor):
        executor.start(toy)
        with pytest.raises(InvalidValueError, match=r"=processes, ray_local or ray_cluster, or "):
            executor.submit(Task(0, (), timeout_s=0.5))


class TestProcesses(WorkerContract):
    config: ClassVar = {"kind": "processes", "n_workers": 1}  # several: in test_processes


@pytest.fixture(scope="module")
def ray_two_cpus():
    """One Ray for all of them; executors join what is running already."""
    import ray

    owner = make_executor({"kind": "ray_local", "n_cpus": 2})
    owner.start(toy)
    yield
    owner.close()
    assert not ray.is_initialized()


@pytest.mark.usefixtures("ray_two_cpus")
class TestRayLocal(WorkerContract):
    config = "ray_local"


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ("ray_locl", UnknownNameError, "Unknown executor 'ray_locl'. Did you mean 'ray_local'"),
        ({"kind": "serial", "n_cpus": 2}, UnknownNameError, "option 'n_cpus' in executor serial"),
        ({"kind": "serial", "shards": {"n": 2}}, UnknownNameError, "option 'shards' in executor s"),
        (
            {"kind": "ray_cluster", "n_cpus": 2},
            UnknownNameError,
            "'n_cpus' in executor ray_cluster",
        ),
        ({"kind": "ray_local", "address": "auto"}, UnknownNameError, "'address' in executor ray_l"),
        ({"kind": "ray_local", "n_cpus": 1.5}, InvalidValueError, "from 1, or null, got 1.5"),
        ({"kind": "ray_local", "n_cpus": True}, InvalidValueError, "from 1, or null, got True"),
        ({"kind": "ray_local", "fuse": 1}, InvalidValueError, "fuse must be true or false, got 1"),
        ({"kind": "ray_local", "max_fused": 0}, InvalidValueError, "from 1, or null, got 0"),
        (
            {"kind": "ray_local", "gpus_per_task": 1.5},
            InvalidValueError,
            "fraction up to 1, or whole",
        ),
        (
            {"kind": "ray_local", "cpus_per_task": 0},
            InvalidValueError,
            "0 where no GPU is asked for",
        ),
        ({"kind": "ray_cluster", "address": 1}, InvalidValueError, "address must be text, or null"),
        (
            {"kind": "ray_cluster", "runtime_env": 1},
            InvalidValueError,
            "must be a mapping, or null",
        ),
        (
            {"kind": "serial", "device": "gpu"},
            InvalidValueError,
            "must be cpu, cuda, cuda:N or mps",
        ),
        ({"kind": "ray_local", "cpus": 2}, UnknownNameError, "Did you mean 'n_cpus'"),
        (
            {"kind": "ray_local", "n_cpus": "2"},
            InvalidValueError,
            "executor.n_cpus must be a whole number from 1, or null, got '2'",
        ),
    ],
)
def test_bad_executors(config, error, message):
    with pytest.raises(error, match=message):
        make_executor(config)
