from __future__ import annotations

import pytest

from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError, UnknownNameError


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"experimen": "toy"}, UnknownNameError, "Did you mean 'experiment'"),
        ({}, InvalidValueError, "names no experiment"),
        ({"experiment": "toys:toy", "params": [1]}, InvalidValueError, "params .* mapping"),
        ({"experiment": "toys:toy", "fits": {"law": "power"}}, InvalidValueError, "fits must be"),
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


def test_paths():
    sweep = Sweep.from_mapping("s", {"experiment": "toys:toy", "results_dir": "r"})
    assert str(sweep.folder) == "r/sweeps/s"
    assert str(sweep.tables) == "r/tables"
