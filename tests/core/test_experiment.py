from __future__ import annotations

import pickle
import subprocess
import sys
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


@pytest.mark.parametrize("error", [AssertionError, KeyError("k"), SystemExit(3), ValueError("no")])
def test_whatever_params_raise_is_one_sentence(error):
    @dataclass(frozen=True, kw_only=True)
    class Picky:
        n: int

        def __post_init__(self):
            raise error

    def f(params: Picky, seed: int) -> FaultMetrics: ...

    f.__annotations__ = {"params": Picky, "seed": int, "return": FaultMetrics}
    with pytest.raises(InvalidValueError, match=r"picky refuses n=1: \S+\. Change the params"):
        experiment(version=1, name="picky")(f)(n=1)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InvalidValueError, match="seed must be a whole number from 0"):
        toy(n=1, seed=seed)


def test_defaults_are_what_the_row_says():
    seen = []

    @dataclass(frozen=True, kw_only=True)
    class Loose:
        n: int
        x: float = 1

    def f(params: Loose, seed: int) -> FaultMetrics:
        seen.append(params.x)
        return FaultMetrics(y=0.0)

    f.__annotations__ = {"params": Loose, "seed": int, "return": FaultMetrics}
    experiment(version=1, name="loose")(f)(n=1)
    assert isinstance(seen[0], float)


def test_an_experiment_that_cannot_be_imported_travels_by_value():
    """As from a notebook, with annotations as strings; another process knows none of its names."""
    source = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated
from lawsweep import Field, experiment

@dataclass(frozen=True, kw_only=True)
class Params:
    n: Annotated[int, Field("count")]
    x: float = 0.5

@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float

@experiment(version=1)
def book(params: Params, seed: int) -> Metrics:
    return Metrics(y=params.n + params.x + seed)

if __name__ == "__main__":
    import sys
    from ray import cloudpickle
    sys.stdout.buffer.write(cloudpickle.dumps(book))
"""
    made = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, check=True, timeout=300
    )
    reader = (
        "import pickle, sys; e = pickle.load(sys.stdin.buffer); "
        "print(e(n=1, seed=2).y, [s.has_default for s in e.params])"
    )
    read = subprocess.run(
        [sys.executable, "-c", reader],
        input=made.stdout,
        capture_output=True,
        check=True,
        timeout=300,
    )
    assert read.stdout.decode().strip() == "3.5 [False, True]"


def test_an_experiment_travels_by_name():
    assert pickle.loads(pickle.dumps(toy)) is toy


@dataclass(frozen=True)
class Reserved:
    status: float


@dataclass(frozen=True)
class Same:
    n: float


def test_imports_are_modules_that_exist_and_bring_torch():
    code = (
        "import importlib, sys; from lawsweep.core.registry import find_experiment\n"
        "names = ['ntk_min_eig', 'memorization', 'compression', 'ntk_memorization']\n"
        "found = [find_experiment(name) for name in names]; assert 'torch' not in sys.modules\n"
        "for one in found:\n"
        "    made = [importlib.import_module(m) for m in one.imports]\n"
        "    assert any('torch' in vars(m) for m in made), one.name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_names_that_would_collide_are_refused_at_definition():
    def reserved(params: Params, seed: int) -> Reserved: ...
    def same(params: Params, seed: int) -> Same: ...
    def bare(params, seed): ...

    with pytest.raises(TypeError, match="'status' is a column every row has"):
        experiment(version=1)(reserved)
    with pytest.raises(TypeError, match="'n' is both a param and a metric"):
        experiment(version=1)(same)
    with pytest.raises(TypeError, match=r"bare\(params\) has no annotation; say its type"):
        experiment(version=1)(bare)
    with pytest.raises(TypeError, match="version must be an integer from 1"):
        experiment(version=0)(reserved)
    for wrong in ("torch", [sys]):
        with pytest.raises(TypeError, match="imports is a list of modules' names, got "):
            experiment(version=1, imports=wrong)(lambda_like)
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
        ("broken:f", InvalidValueError, "failed at line 2 of helper.py: ZeroDivisionError"),
        ("lacking:f", UnknownNameError, "'nowhere' that is imported at line 1 of lacking.py for"),
        (None, InvalidValueError, "experiment must be a name"),
        ("leaver:f", InvalidValueError, "Importing 'leaver' .* SystemExit: 3. Mend"),
        ("copycat:compression", InvalidValueError, "as an installed experiment is"),
    ],
)
def test_what_cannot_be_found_is_explained(folder, name, error, message):
    (folder / "broken.py").write_text("import helper\n")
    (folder / "helper.py").write_text("\nx = 1 / 0\n")
    (folder / "lacking.py").write_text("import nowhere\n")
    (folder / "leaver.py").write_text("import sys; sys.exit(3)\n")
    (folder / "copycat.py").write_text(
        "from toys import *\n@experiment(version=1)\n"
        "def compression(params: Params, seed: int) -> Metrics: ...\n"
    )
    with pytest.raises(error, match=message):
        find_experiment(name)
