from __future__ import annotations

import pytest
from engine_toys import placed

from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.outcome import RunSpec
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray_needs import Needs


def runs(*points):
    return [RunSpec(k, str(k), {"i": i}, 0) for k, i in enumerate(points)]


def test_a_task_gets_the_most_that_one_of_its_runs_needs():
    needs = Needs("2 * i", 0.5)
    needs.bind(placed)
    assert needs.by_point
    assert (needs.cpus, needs.gpus) == (1.0, 0.5)
    assert needs.of(runs(1, 3, 2)) == (6.0, 0.5)
    assert (needs.cpus, needs.gpus) == (6.0, 0.5)  # what the next task is taken to need
    fixed = Needs(2, 0)
    assert not fixed.by_point
    assert fixed.given == {"cpus_per_task": 2, "gpus_per_task": 0}


def test_defaults_count_too():
    needs = Needs("1 if pause_s < 1 else 4", 0)
    needs.bind(placed)
    assert needs.of(runs(1)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("cpus", "gpus", "error", "message"),
    [
        ("widht", 0, UnknownNameError, "Unknown param 'widht' in executor.cpus_per_task"),
        ("i - 1", 0, InvalidValueError, r"executor.cpus_per_task='i - 1' must give a number above"),
        (1, "1.5 * i", InvalidValueError, "or whole above 1 at every point, got 1.5 at"),
        ("i > 0", 0, InvalidValueError, "got True at"),
    ],
)
def test_odd_needs_are_one_sentence(cpus, gpus, error, message):
    def asked():
        needs = Needs(cpus, gpus)
        needs.bind(placed)
        return needs.of(runs(1))

    with pytest.raises(error, match=message):
        asked()


def test_the_expression_is_read_before_anything_starts():
    with pytest.raises(InvalidValueError, match="Cannot read the expression"):
        make_executor({"kind": "ray_local", "cpus_per_task": "4 if"})
    assert make_executor({"kind": "ray_local", "gpus_per_task": "0.5 if i else 1"}).device == "cuda"
