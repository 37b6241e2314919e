from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest
from toys import FaultMetrics, Metrics, Params, pair, toy

from lawsweep import experiment
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.registry import find_experiment


def test_an_experiment_is_a_plain_function():
    by_params = toy(Params(n=3), seed=5)
    assert by_params == toy(n=3, seed=5)
    assert by_params.draws == 3


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"m": 3}, UnknownNameError, "Unknown param 'm' in experiment toy"),
        ({}, InvalidValueError, "toy needs a value for n; got none"),
        ({"n": 0}, InvalidValueError, "n must be at least 1, got 0"),
    ],
)
def test_bad_params(fields, error, message):
    with pytest.raises(error, match=message):
        toy(**fields)


def test_constraints_hold_for_a_single_call():
    with pytest.raises(
        InvalidValueError, match="requires n_compressed <= n_target; got n_compressed=5, n_target=4"
    ):
        pair(n_target=4, n_compressed=5)


def test_what_comes_back_must_be_the_metrics():
    with pytest.raises(InvalidValueError, match="toy must return Metrics, got FaultMetrics"):
        toy.metrics_row(FaultMetrics(y=1.0))
    with pytest.raises(InvalidValueError, match="draws must be int, got 'x'"):
        toy.metrics_row(Metrics(y=1.0, draws="x"))


def test_an_experiment_travels_by_name():
    assert pickle.loads(pickle.dumps(toy)) is toy


@dataclass(frozen=True)
class Reserved:
    status: float


@dataclass(frozen=True)
class Same:
    n: float


def test_names_that_would_collide_are_refused_at_definition():
    def reserved(params: Params, seed: int) -> Reserved: ...
    def same(params: Params, seed: int) -> Same: ...
    def bare(params, seed): ...

    with pytest.raises(TypeError, match="'status' is a column every row has"):
        experiment(version=1)(reserved)
    with pytest.raises(TypeError, match="'n' is both a param and a metric"):
        experiment(version=1)(same)
    with pytest.raises(TypeError, match="must be annotated as"):
        experiment(version=1)(bare)
    with pytest.raises(TypeError, match="version must be an integer from 1"):
        experiment(version=0)(reserved)
    with pytest.raises(UnknownNameError, match="constraint 'm < 3'"):
        experiment(version=1, constraints=("m < 3",))(lambda_like)


def lambda_like(params: Params, seed: int) -> FaultMetrics:
    return FaultMetrics(y=0.0)


def test_found_by_name(folder):
    assert find_experiment("toys:toy") is toy
    assert find_experiment("ntk_min_eig").name == "ntk_min_eig"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("ntk_min_eg", UnknownNameError, "Did you mean 'ntk_min_eig'"),
        ("nowhere:f", UnknownNameError, "Cannot find the module 'nowhere'"),
        ("toys:tyo", UnknownNameError, "Did you mean 'toy'"),
        ("toys:Params", InvalidValueError, "decorate it with @experiment"),
        ("broken:f", InvalidValueError, "Importing 'broken' .* ZeroDivisionError: division"),
        (None, InvalidValueError, "experiment must be a name"),
    ],
)
def test_what_cannot_be_found_is_explained(folder, name, error, message):
    (folder / "broken.py").write_text("x = 1 / 0\n")
    with pytest.raises(error, match=message):
        find_experiment(name)
