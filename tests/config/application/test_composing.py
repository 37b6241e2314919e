"""Each job's config is the one that Hydra composes for it, in values, types and order."""

from __future__ import annotations

import pickle

import pytest
from omegaconf import OmegaConf

from lawsweep.config.application.composing import Composer, is_equal, task_config, task_of, whole_of
from lawsweep.config.application.grammar import jobs_of
from lawsweep.core.errors import InvalidValueError


def nodes(config, path=()):
    """Every node of a config with its type and flags."""
    found = [(path, type(config).__name__, OmegaConf.get_type(config))]
    if OmegaConf.is_dict(config) and not (config._is_none() or config._is_missing()):
        for key in config:
            found += nodes(config._get_node(key), (*path, key))
    return [*found, (path, config._metadata.flags if hasattr(config, "_metadata") else None)]


@pytest.fixture(scope="module")
def composer(application):
    """One for all jobs, so that each begins from what others chose, and numbers from others'."""
    made = Composer(*application)
    for job in (("lr=0.5", "seed=3", "model.width=8"), ("model=big", "lr=2"), ("opt=sgd",)):
        made.base(job), made.values(job)
    return made


JOBS = [
    (),
    ("lr=0.2",),
    ("lr=3",),
    ("lr=null",),
    ("lr='0.2'",),
    ("lr=[1,2]",),
    ("lr={a: 1}",),
    ("model=big",),
    ("model=big", "model.width=7"),
    ("model.width=7", "model=big", "lr=1e-3"),
    ("model={name: own}",),
    ("opt=sgd", "opt.momentum=0.5"),
    ("~opt",),
    ("~opt.wd",),
    ("~opt.wd=0.0",),
    ("~nested.deep.deeper",),
    ("opt.betas=[0.5,0.6]",),
    ("base.y=[]",),
    ("data/source@data.first=net",),
    ("+data/source@data.second=net", "data.second.fast=false"),
    ("extra=more",),
    ("extra=more", "added.by=me"),
    ("+new=5",),
    ("+new.inner.key=5", "lr=1"),
    ("++lr=5", "++newer=6"),
    ("+tags={a: 1, b: [x, y]}",),
    ("+typed=schema", "typed.scale=2"),
    ("+typed=schema", "typed.scale=2", "typed.n=4", "typed.kind=abc"),
    ("name='with ${lr} inside'",),
    ("name=${model.width}",),
    ("text='a b c: d # e'",),
    ("missing=here",),
    ("relative.a=3", "steps=[4]"),
    ("seed=5", "lr=0.1"),
    ("nested.deep.deeper.on=false",),
    ("lr=-0.5", "seed=-3"),
    ("lr=true",),
    ("lr=nan",),
    ("lr=010",),
    ("lr=1_000",),
    ("lr=1e5",),
]


@pytest.mark.parametrize("job", JOBS, ids=" ".join)
def test_a_jobs_config_is_as_hydra_composes_it(application, composer, job):
    loader, master = application
    theirs = loader.load_sweep_config(master, list(job))
    base = composer.base(job)
    assert composer.is_alike
    ours = whole_of(base, composer.values(job), job)
    assert is_equal(ours, theirs)
    assert ours == theirs or job == ("lr=nan",)
    assert nodes(ours) == nodes(theirs)
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
    task = task_config(base, composer.values(job))
    assert nodes(task) == nodes(task_of(theirs))
    assert OmegaConf.to_yaml(task) == OmegaConf.to_yaml(task_of(theirs))
    assert OmegaConf.is_struct(task) == OmegaConf.is_struct(task_of(theirs))
    assert str(pickle.loads(pickle.dumps(ours)).hydra.sweep.dir) == str(theirs.hydra.sweep.dir)


def test_jobs_of_one_choice_are_composed_once(application, monkeypatch):
    loader, master = application
    composer, n = Composer(loader, master), []
    compose = type(loader).load_configuration
    monkeypatch.setattr(
        type(loader), "load_configuration", lambda *a, **k: n.append(1) or compose(*a, **k)
    )
    jobs = jobs_of(["lr=range(0,20)", "model=small,big"], {}, loader)
    for job in jobs:
        composer.base(job)
    assert len(jobs) == 40
    assert len(n) == 4  # two choices, each composed and compared once


def test_where_hydra_composes_otherwise_it_is_left_to_hydra(application, monkeypatch):
    loader, master = application
    composer = Composer(loader, master)
    monkeypatch.setattr(Composer, "_is_as_hydras", lambda *_: False)
    for job in (("lr=0.2", "model=big"), ("lr=0.3", "model=big")):
        base = composer.base(job)
        assert base.is_whole
        ours = whole_of(base, [], job)
        assert ours == loader.load_sweep_config(master, list(job))
        assert task_config(base, []).lr == float(job[0][3:])


def test_what_cannot_be_composed_is_hydras_error(application):
    from hydra.errors import HydraException

    loader, master = application
    for job in (("model=nothing",), ("nothing=1",), ("~nothing",), ("+lr=1",)):
        composer = Composer(loader, master)
        with pytest.raises(HydraException):
            task_config(composer.base(job), composer.values(job))


PLAIN = [
    "1",
    "-3",
    "0",
    "0.5",
    "-0.5",
    "1.0e-5",
    "2.5e3",
    "abc",
    "a_b",
    "true",
    "null",
    "nan",
    "inf",
    "010",
    "-0",
    "1_0",
    "1e3",
    ".5",
    "5.",
    "a-b",
    "'x'",
    "a b",
    "[1]",
    "x1",
    "1x",
    "yes",
    "off",
    "E",
    "12345678901234567890",
    "True",
    "NULL",
    "+5",
    "1.5.2",
    "a.b",
]


@pytest.mark.parametrize("value", PLAIN)
def test_a_plain_value_is_read_as_hydras_parser_reads_it(application, value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    loader, master = application
    composer = Composer(loader, master)
    composer.values(("lr=7", "lr=7.5", "lr=word"))
    theirs = OverridesParser.create().parse_override(f"lr={value}")
    (ours,) = composer.values((f"lr={value}",))
    assert repr(ours.value()) == repr(theirs.value())
    assert (ours.input_line, ours.key_or_group, ours.type) == (
        theirs.input_line, theirs.key_or_group, theirs.type
    )  # fmt: skip


ARGUMENTS = [
    ["lr=1,2", "model=small,big"],
    ["lr=range(1,4)", "seed=3"],
    ["lr=range(0,1,0.25)"],
    ["lr=choice(1,2,a)"],
    ["model=glob(*)"],
    ["model=glob(*,exclude=s*)"],
    ["lr=sort(3,1,2)", "seed=sort(1,2,reverse=true)"],
    ["lr=shuffle(1)"],
    ["lr=tag(t,choice(1,2))"],
    ["lr=float(1),2"],
    ["name='a b','c d'"],
    ["name='a, b'"],
    ["opt.betas=[1,2],[3,4]"],
    ["+new=1,2", "~opt", "++lr=3"],
    ["lr=1,2", "lr=3"],
    ["lr={a:1},{a:2}"],
    [],
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=" ".join)
def test_jobs_are_those_of_hydras_own_sweeper(application, arguments):
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    loader, _ = application
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    (theirs,) = BasicSweeper.split_arguments(parsed, None)
    ours = [list(job) for job in jobs_of(arguments, {}, loader)]
    assert ours == theirs


def test_params_of_the_config_come_before_the_arguments(application):
    loader, _ = application
    jobs = jobs_of(["lr=3"], {"lr": "1,2", "seed": "range(2)"}, loader)
    assert jobs == [("lr=3", "seed=0"), ("lr=3", "seed=1")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lr=interval(0,1)"], "interval, which has no list of values: write lr=range"),
        (["model=glob(nothing*)"], "gives no value"),
        (["lr=range(0,3000)", "seed=range(0,3000)"], "9,000,000 jobs, more than the limit"),
    ],
)
def test_what_has_no_list_of_values_is_refused(application, arguments, said):
    loader, _ = application
    with pytest.raises(InvalidValueError, match=said):
        jobs_of(arguments, {}, loader)
