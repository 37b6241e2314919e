"""What a function returns is its Metrics in their types, or a failed row that says why not."""

from __future__ import annotations

import re

import numpy as np
import pytest
import text_toy
from text_toy import answers

from lawsweep.core.outcome import RunSpec
from lawsweep.worker.execute import execute_run


@pytest.fixture
def answer(monkeypatch):
    def run(**metrics):
        monkeypatch.setattr(text_toy, "given", metrics)
        return execute_run(answers, RunSpec(0, "r", {}, 0))

    return run


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"real": None}, "real must be float, got None. Return a value .NaN is one."),
        ({"whole": None}, "whole must be int, got None. Return a value, or declare"),
        ({"truth": None}, "truth must be bool, got None"),
        ({"text": None}, "text must be str, got None"),
        ({"word": None}, "word must be one of good, bad, got None"),
        ({"numbers": None}, "numbers must be list of int, got None"),
        ({"curve": None}, "curve must be an array, got None"),
        ({"real": True}, "real must be float, got True"),
        ({"real": np.bool_(True)}, "real must be float, got True"),
        ({"real": "1.5"}, "real must be float, got '1.5'"),
        ({"real": 1j}, "real must be float, got 1j"),
        ({"real": np.array([1.0])}, "real must be float, got array"),
        ({"maybe": False}, "maybe must be float or null, got False"),
        ({"whole": True}, "whole must be int, got True"),
        ({"whole": 1.5}, "whole must be int, got 1.5"),
        ({"whole": float("nan")}, "whole must be int, got nan"),
        ({"whole": 2**70}, "whole must be int"),
        ({"truth": 1}, "truth must be bool, got 1"),
        ({"truth": "true"}, "truth must be bool, got 'true'"),
        ({"text": 3}, "text must be str, got 3"),
        ({"text": b"a"}, "text must be str, got b'a'"),
        ({"word": "goood"}, "word must be one of good, bad, got 'goood' .*Did you mean 'good'"),
        ({"numbers": "12"}, "numbers must be list of int, got '12'"),
        ({"numbers": 3}, "numbers must be list of int, got 3"),
        ({"numbers": (1, None)}, "numbers must be list of int, got None"),
        ({"numbers": [[1], [2]]}, r"numbers must be list of int, got \[1\]"),
        ({"curve": "abc"}, "curve must be an array of real numbers"),
    ],
)
def test_a_metric_of_another_type_is_a_failed_row(answer, metrics, message):
    outcome = answer(**metrics)
    assert (outcome.status, outcome.metrics) == ("failed", None)
    assert re.search(message, outcome.error)


def test_metrics_of_numpy_are_plain_values(answer):
    outcome = answer(
        real=np.float32(0.25), whole=np.int32(7), truth=np.bool_(False), text=np.str_("b"),
        numbers=np.array([3, 4]), maybe=np.array(2.5), curve=np.arange(3),
    )  # fmt: skip
    assert outcome.status == "ok"
    assert outcome.metrics == {
        "real": 0.25, "whole": 7, "truth": False, "text": "b", "word": "good",
        "numbers": (3, 4), "maybe": 2.5,
    }  # fmt: skip
    kinds = {name: type(value) for name, value in outcome.metrics.items()}
    assert set(kinds.values()) == {float, int, bool, str, tuple}
    assert set(outcome.arrays) == {"curve"}
    assert answer(whole=3.0, maybe=None, real=float("inf")).metrics["whole"] == 3


def test_a_metric_too_many_or_too_few_is_a_failed_row(answer):
    assert "unexpected keyword argument 'extra'" in answer(extra=1).error
    assert answer().status == "ok"
