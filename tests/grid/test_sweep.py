from __future__ import annotations

import numpy as np
import pytest
from toys import toy

from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError, UnknownNameError


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"experimen": "toy"}, UnknownNameError, "Did you mean 'experiment'"),
        ({}, InvalidValueError, "names no experiment"),
        ({"experiment": "toys:toy", "params": [1]}, InvalidValueError, "params .* mapping"),
        (
            {"experiment": "toys:toy", "fits": {"law": "power"}},
            InvalidValueError,
            "fits .* a list",
        ),
        ({"experiment": "t:t", "on_failure": {"timeout": 3}}, UnknownNameError, "'timeout_s'"),
        ({"experiment": "t:t", "on_failure": {"timeout_s": 0}}, InvalidValueError, "above 0"),
        ({"experiment": "t:t", "on_failure": {"stop_after": -1}}, InvalidValueError, "from 0"),
        ({"experiment": "t:t", "on_failure": {"max_attempts": "3"}}, InvalidValueError, "from 1"),
        ({"experiment": "t:t", "on_failure": 3}, InvalidValueError, "must be a mapping"),
    ],
)
def test_bad_configs(config, error, message):
    with pytest.raises(error, match=message):
        Sweep.from_mapping("s", config)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "  ", "..", "a\x00", 5])
def test_a_name_cannot_leave_its_folder(name):
    with pytest.raises(InvalidValueError, match="name of a sweep"):
        Sweep(name=name, experiment="toys:toy")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"params": [1]}, "params of sweep s must be a mapping"),
        ({"derive": ["x"]}, "derive of sweep s must be a mapping"),
        ({"max_points": True}, "max_points of sweep s must be a whole number from 1"),
        ({"max_points": 0}, "max_points of sweep s must be a whole number from 1"),
        ({"results_dir": ""}, "results_dir of sweep s must be a string"),
        ({"experiment": 3}, "experiment must be a name, a function or an Experiment"),
        (
            {"on_failure": {"timeout_s": float("inf")}},
            "seconds above 0 to 100,000,000, or null",
        ),
    ],
)
def test_a_sweep_built_in_python_is_checked_too(fields, message):
    with pytest.raises(InvalidValueError, match=message):
        Sweep(**{"name": "s", "experiment": "toys:toy", **fields})


def test_a_sweep_built_in_python_records_its_config():
    record = Sweep(name="s", experiment=toy, axes={"n": [1]}, seeds=2).record()
    assert record["experiment"] == "toys:toy"
    assert (record["axes"], record["seeds"]) == ({"n": [1]}, 2)
    assert record["on_failure"]["max_attempts"] == 3


def test_numpy_values_are_values():
    plan = Sweep(name="s", experiment=toy, axes={"n": np.arange(1, 4)}, seeds=np.int64(2)).plan()
    assert len(plan) == 6
    assert plan.run_ids == Sweep(name="s", experiment=toy, axes={"n": [1, 2, 3]}, seeds=2).plan(
    ).run_ids  # fmt: skip


def test_paths():
    sweep = Sweep.from_mapping("s", {"experiment": "toys:toy", "results_dir": "r"})
    assert str(sweep.folder) == "r/sweeps/s"
    assert str(sweep.tables) == "r/tables"
