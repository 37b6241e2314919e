"""Plain functions as experiments: their arguments, what they are called, what is told of slips."""

from __future__ import annotations

import enum
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest
from omegaconf import DictConfig

import lawsweep
from lawsweep import Field, Study, Sweep, experiment
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.identity import run_id
from lawsweep.core.plain.annotations import field_specs
from lawsweep.core.plain.decorator import plain_experiment
from lawsweep.core.registry import find_experiment


class Kind(enum.Enum):
    RELU = "relu"
    TANH = 2


@dataclass(frozen=True)
class Inner:
    width: Annotated[int, Field("of a layer", ge=1)] = 3
    kind: Kind = Kind.TANH


@dataclass(frozen=True)
class Model:
    depth: int
    inner: Inner = field(default_factory=lambda: Inner(width=5))

    def __post_init__(self):
        if self.depth > 9:
            raise ValueError("too deep")


def everything(
    n: int,
    model: Model,
    kind: Kind = Kind.RELU,
    mode: Literal["a", "b", None] = None,
    path: Path = Path("x/y"),
    sizes: list[int] = [1, 2],  # noqa: B006
    pair: tuple[int, float | int] = (1, 2),
    box: tuple[float, float] = (0, 1),
    kinds: list[Kind] = [Kind.TANH],  # noqa: B006
    rate: float | int | None = None,
    config: DictConfig = DictConfig({"lr": 0.1}),  # noqa: B008
    table: Mapping[str, Any] = {"b": [1, {"c": 2}], "a": 1},
    seed: int = 0,
    device: str = "cpu",
) -> dict:
    return {k: v for k, v in locals().items() if k not in ("seed", "device")} | {"at": device}


def test_arguments_become_params_and_come_back_as_what_they_are():
    plain = plain_experiment(everything)
    assert (plain.takes_seed, plain.takes_device, plain.learns) == (True, True, True)
    specs = {s.name: s for s in plain.params}
    assert list(specs) == [
        "n", "model_depth", "model_inner_width", "model_inner_kind", "kind", "mode", "path",
        "sizes", "pair", "box", "kinds", "rate", "config", "table",
    ]  # fmt: skip
    held = {s.name: s.default for s in plain.params if s.has_default}
    assert held == {
        "model_inner_width": 5, "model_inner_kind": "TANH", "kind": "RELU", "mode": None,
        "path": "x/y", "sizes": (1, 2), "pair": "[1,2]", "box": (0.0, 1.0), "kinds": ("TANH",),
        "rate": None, "config": '{"lr":0.1}', "table": '{"a":1,"b":[1,{"c":2}]}',
    }  # fmt: skip
    got = plain(n=3, model={"depth": 2, "inner": {"width": 7}}, kinds=["RELU"], seed=4)
    assert got["model"] == Model(2, Inner(7, Kind.TANH))
    assert (got["kind"], got["kinds"], got["path"]) == (Kind.RELU, [Kind.RELU], Path("x/y"))
    assert (got["sizes"], got["pair"], got["box"]) == ([1, 2], (1, 2), (0.0, 1.0))
    assert isinstance(got["config"], DictConfig)
    assert got["config"].lr == 0.1
    assert got["table"] == {"a": 1, "b": [1, {"c": 2}]}
    # Given as the function takes them, it is the same run.
    assert plain(3, Model(2, Inner(7)), kinds=[Kind.RELU])["model"] == got["model"]
    flat = plain.flat({"n": 3, "model": Model(2, Inner(7, Kind.RELU))})
    assert flat == {
        "n": 3, "model_depth": 2, "model_inner_width": 7, "model_inner_kind": Kind.RELU,
    }  # fmt: skip
    assert specs["kind"].cast("relu") == specs["kind"].cast(Kind.RELU) == "RELU"
    assert specs["table"].cast({"b": (1,), "a": 0.5}) == '{"a":0.5,"b":[1]}'


def test_run_ids_do_not_tell_how_a_value_was_given():
    plain = plain_experiment(everything, "everything")
    specs = {s.name: s for s in plain.params}
    given = {"n": 3, "model_depth": 2, "kind": Kind.TANH, "table": {"z": 1, "a": 2}}
    other = {"n": 3, "model_depth": 2, "kind": "TANH", "table": '{"z": 1, "a": 2}'}
    ids = {run_id(plain, {n: specs[n].cast(v) for n, v in p.items()}, 0) for p in (given, other)}
    assert len(ids) == 1
    decorated = experiment(version=1, name="everything")(everything)
    assert run_id(decorated, {"n": 3, "model_depth": 2}, 0) == run_id(
        plain, {"n": 3, "model_depth": 2}, 0
    )


def slips():
    def bare(n, m: int): ...
    def stars(*n: int): ...
    def pairs(**n: int): ...
    def placed(n: int, /): ...
    def unlike(n: set): ...
    def wrong(n: int = 0.5): ...
    def later(n: Nowhere): ...  # noqa: F821
    def array(n: np.ndarray): ...
    def reserved(status: int): ...
    def many(models: list[Model]): ...

    return {
        bare: r"bare\(n\) has no annotation; say its type, for example n: float",
        stars: r"stars takes \*n, and the params of an experiment have names",
        pairs: r"pairs takes \*\*n, and the params of an experiment have names",
        placed: r"placed takes n by its place alone; .* leave out the /",
        unlike: r"unlike\(n\) has the unsupported type <class 'set'>; use bool, int",
        wrong: r"The default of .*wrong\(n\) does not fit: n must be int, got 0.5",
        later: r"An annotation of .*later cannot be looked up \(name 'Nowhere'",
        array: r"'n' is a param, and a param is no Array",
        reserved: r"'status' is a column every row has already",
        many: r"many\(models\): a list of dataclasses is not supported",
    }


@pytest.mark.parametrize(("function", "sentence"), slips().items(), ids=lambda v: "")
def test_what_is_no_experiment_is_one_sentence(function, sentence):
    with pytest.raises((TypeError, InvalidValueError), match=sentence):
        plain_experiment(function)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kind": "rleu"}, r"kind must be one of RELU, TANH, got 'rleu' \(str\)"),
        ({"path": 3}, "path must be a path, got 3"),
        ({"box": [1]}, "box must be 2 values, got 1"),
        ({"sizes": 3}, "sizes must be list of int, got 3"),
        ({"config": [1]}, r"config must be a mapping, got \[1\]"),
        ({"config": {"a": float("nan")}}, "config must be made of numbers, texts"),
        ({"config": {1: 2}}, "config must be made of numbers, texts"),
        ({"pair": {}}, "pair must be a list, got {}"),
        ({"model": {"depht": 1}}, "Unknown param 'model_depht' .* Did you mean 'model_depth'"),
        ({"model": {"depth": 10}}, "refuses .*: too deep"),
    ],
)
def test_a_value_that_does_not_fit_is_one_sentence(given, sentence):
    with pytest.raises((InvalidValueError, UnknownNameError), match=sentence):
        plain_experiment(everything)(**{"n": 1, "model": {"depth": 2}, **given})


class Told(TypedDict):
    loss: Annotated[float, Field("of the last step", unit="nat")]
    curve: np.ndarray


def test_metrics_that_a_return_annotation_names_are_known_before_a_row():
    def told(n: int) -> Told: ...
    def number(n: int) -> Annotated[float, Field("half")]: ...
    def full(n: int) -> Inner: ...

    made = [plain_experiment(f) for f in (told, number, full)]
    assert [[s.name for s in (*e.metrics, *e.arrays)] for e in made] == [
        ["loss", "curve"], ["value"], ["width", "kind"]
    ]  # fmt: skip
    assert made[0].metrics[0].info.unit == "nat"
    assert [e.learns for e in made] == [True, True, False]
    assert [e.takes_seed for e in made] == [False] * 3


@dataclass
class Metrics:
    edge: Annotated[np.float32, Field("an edge")]
    count: np.int64
    curve: np.ndarray | None = None


def test_the_full_form_takes_brackets_or_none_and_numpy_s_types():
    @experiment
    def full(params: Inner, seed: int) -> Metrics:
        """With the class as its only argument."""
        return Metrics(np.float32(params.width), np.int64(seed), np.arange(2))

    @experiment()
    def seedless(params: Inner) -> Metrics: ...

    assert [s.kind for s in (*full.metrics, *full.arrays)] == ["float", "int", "array"]
    row, arrays = full.measured(full(Inner(4), 2), {}, 2)
    assert row == {"edge": 4.0, "count": 2}
    assert arrays["curve"].tolist() == [0.0, 1.0]
    assert (full.version, full.spread, seedless.takes_seed) == (1, False, False)
    assert [s.name for s in field_specs(Inner)] == ["width", "kind"]
    with pytest.raises(TypeError, match=r"written with names, as @experiment\(version=1\)"):
        experiment("f")


@pytest.fixture
def imports(monkeypatch):
    """What a test imports from files of its own is forgotten after it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "plain_" in name or name in ("a", "b"):
            del sys.modules[name]


def test_a_function_is_called_after_where_it_is(tmp_path, monkeypatch, imports):
    (tmp_path / "sweeps").mkdir()
    for place in ("a", "b/c-1"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "plain_train.py").write_text(
            "import plain_beside\n"
            "def run(n: int, seed: int = 0):\n"
            f"    return {{'y': n + plain_beside.ONE, 'where': {place!r}}}\n"
        )
        (tmp_path / place / "plain_beside.py").write_text("ONE = 1\n")
    monkeypatch.chdir(tmp_path)
    first = find_experiment("a/plain_train.py:run")
    second = find_experiment("b/c-1/plain_train.py:run")
    assert (first.name, second.name) == ("a_plain_train_run", "b_c_1_plain_train_run")
    assert find_experiment("a.plain_train:run").name == first.name
    monkeypatch.chdir(tmp_path / "a")
    assert find_experiment("plain_train.py:run").name == first.name
    assert find_experiment("b/c-1/plain_train.py:run") is second  # from the root of the project
    # Two files of one name: the second is shipped as its text, the first by its name.
    assert pickle.loads(pickle.dumps(first))(1) == {"y": 2, "where": "a"}
    packed = pickle.dumps(second)
    del sys.modules[second.function.__module__]
    assert pickle.loads(packed)(n=2) == {"y": 3, "where": "b/c-1"}
    for name, sentence in {
        "plain_trian.py:run": "There is no file plain_trian.py; looked from .* 'plain_train.py'",
        "plain_train.py:rum": "Unknown experiment 'rum' in module plain_train. Did you mean 'run'",
        "plain_train.py:plain_beside": "is no experiment and no function, but module",
    }.items():
        with pytest.raises((InvalidValueError, UnknownNameError), match=sentence):
            find_experiment(name)


def test_a_function_runs_with_its_axes_as_overrides_and_from_a_sweep_s_file(
    tmp_path, monkeypatch, imports
):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "plain_one.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Model:\n    width: int = 2\n"
        "def area(n: int, model: Model = Model(), tags: dict = {}):\n"
        "    return n * model.width + len(tags)\n"
    )
    (tmp_path / "sweeps" / "areas.yaml").write_text(
        "experiment: ../plain_one.py:area\naxes: {n: [1, 2], tags: [{a: 1}, {}]}\n"
        "params: {model: {width: 3}}\nfits: [{law: power, x: n, y: value}]\n"
    )
    monkeypatch.chdir(tmp_path)
    study = lawsweep.open("plain_one.py:area", "n=1,2", "model.width=3,4", "executor=serial")
    study.run()
    assert study.sweep.name == study.plan.experiment.name == "plain_one_area"
    assert study.frame()["value"].tolist() == [3, 4, 6, 8]
    monkeypatch.chdir(tmp_path / "sweeps")  # the path counts from the file of the sweep, too
    sweep = lawsweep.load_sweep("areas.yaml", f"results_dir={tmp_path}/results", "executor=serial")
    other = Study(sweep)
    assert len(set(other.plan.run_ids) & set(study.plan.run_ids)) == 2
    other.run()
    assert sorted(other.frame()["value"]) == [3, 4, 6, 7]
    for override, sentence in {
        "m=1": "Unknown key 'm'",
        "seeds=3": "plain_one_area takes no seed: runs of several would be the same one",
        "model.widht=3": "Unknown param 'model_widht'",
    }.items():
        with pytest.raises((InvalidValueError, UnknownNameError), match=sentence):
            lawsweep.open(f"{tmp_path}/plain_one.py:area", "n=1", override)


def test_functions_of_no_file_run_through_the_python_api(tmp_path):
    local = 3

    def shifted(n: int, seed: int):
        return {"y": n + local + seed}

    settings = {"results_dir": str(tmp_path), "executor": "serial"}
    study = lawsweep.open(shifted, axes={"n": [1, 2]}, seeds=2, name="trial", **settings)
    study.run()
    assert study.frame()["y"].tolist() == [4, 5, 5, 6]
    times = lawsweep.open(lambda n, k=2.5: [n] * n, axes={"n": [1, 2]}, name="times", **settings)
    times.run()
    assert (
        "must return a dict of metrics, a number or a dataclass, got list"
        in times.frame()["error"][0]
    )
    power = lawsweep.open(lambda n, k=2.5: n**k, axes={"n": [1, 2]}, name="power", **settings)
    power.run()
    assert power.frame()["value"].tolist() == [1.0, 2**2.5]
    with pytest.raises(InvalidValueError, match="A lambda has no name; give one"):
        lawsweep.open(lambda n: n)
    with pytest.raises(UnknownNameError, match=r"Unknown key 'axis' in open\. Did you mean 'axes'"):
        lawsweep.open(lambda n: n, name="x", axis={"n": [1]})
    with pytest.raises(InvalidValueError, match="seeds are for a function; a sweep's file"):
        lawsweep.open("ntk_width", seeds=3)
    with pytest.raises(InvalidValueError, match="experiment must be a name, a function or an"):
        Sweep("x", experiment=3)


def error_of(n: int) -> dict:
    return {"loss": 1.0, "error": 2.0}


def alike_of(n: int) -> dict:
    if n > 1:
        return {"y": 1.0}
    return {"y": 1.0, "Y": 2.0}


def fine_of(n: int, seed: int) -> dict:
    """A param and the seed given back are none, nor is what an inner function returns."""

    def inner():
        return {"status": 1}

    found = {"status": inner()}
    return {"n": n, "seed": seed, "loss": len(found)}


def test_a_metric_that_no_row_could_have_is_told_before_anything_runs():
    with pytest.raises(TypeError, match="returns a metric 'error', which is a column every row"):
        plain_experiment(error_of)
    with pytest.raises(TypeError, match="returns 'Y', which is one name with 'y' to SQL"):
        plain_experiment(alike_of)
    assert plain_experiment(fine_of).learns
