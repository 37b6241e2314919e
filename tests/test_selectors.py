"""Every name that chooses one of several ways refuses one it does not know, with the nearest."""

import dataclasses
import importlib
import inspect
import typing
from pathlib import Path

import numpy as np
import pytest
import torch

import lawsweep
from lawsweep.core.errors import UnknownNameError
from lawsweep.experiments.compression import compression
from lawsweep.experiments.memorization import memorization
from lawsweep.experiments.ntk_memorization import ntk_memorization
from lawsweep.experiments.ntk_min_eig import ntk_min_eig
from lawsweep.kernels import activations
from lawsweep.kernels.base import names
from lawsweep.kernels.compression import theory as compression_theory
from lawsweep.kernels.compression.compress import compress
from lawsweep.kernels.compression.search import How
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.data import sampling, target_rows
from lawsweep.kernels.eigmin import smallest as eigmin
from lawsweep.kernels.eigmin import solvers as eigmin_solvers
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import row_shard
from lawsweep.kernels.optimise import methods as optimise_methods
from lawsweep.kernels.optimise import minimise
from lawsweep.kernels.optimise.objective import Objective
from lawsweep.kernels.training import checked as train_inputs
from lawsweep.kernels.training import losses as train_losses
from lawsweep.kernels.training import optimisers as train_optimisers
from lawsweep.kernels.training import stop as train_stop
from lawsweep.kernels.training import train

RELU = activations.activation("relu")
EYE = torch.eye(3, dtype=torch.float64)
RNG = np.random.default_rng(0)
POINTS = {
    memorization: {"n_samples": 4, "input_dim": 3, "width": 3},
    ntk_memorization: {"n_samples": 4, "input_dim": 3, "width": 3},
    ntk_min_eig: {"n_samples": 4, "input_dim": 3, "width": 3, "depth": 2, "activation": "relu"},
    compression: {"input_dim": 3, "n_target": 4, "n_compressed": 2},
}


def trained(**names):
    x = torch.ones(1, 2, 1, dtype=torch.float64)
    return train.train(x, x[..., 0], [x[:, :1]], RELU, learning_rate=0.1, max_steps=1, **names)


def compressed(**names):
    return compress(Target(EYE, EYE[0]), 1, RNG, **names)


def shard(**fields):
    given = {"network": Network((1, 1), "relu"), "weights": [np.ones((1, 1))], **fields}
    return row_shard.NtkShards(2, row_shard.GivenRows(np.ones((2, 1))), **given)(0, 1)


# The function that takes a name, what the name is of, a valid one, and how it is called with one.
KERNELS = [
    (activations.activation, "name", "activation", "relu", activations.activation),
    (compression_theory.expected_norm, "law", "row law", "gaussian",
     lambda s: compression_theory.expected_norm(s, 3)),
    (eigmin.smallest_eigenvalue, "solver", "solver", "dense",
     lambda s: eigmin.smallest_eigenvalue(EYE, start=RNG, solver=s)),
    (eigmin.smallest_eigenvalues_batched, "solver", "solver", "dense",
     lambda s: eigmin.smallest_eigenvalues_batched(EYE[None][:0], starts=[], solver=s)),
    *((compress, name, name, valid, lambda s, name=name: compressed(**{name: s}))
      for name, valid in (("outputs", "fixed"), ("signs", "mean"))),
    *((How, name, name, valid, lambda s, name=name: How(**{name: s}))
      for name, valid in (("objective", "reduced"), ("outputs", "trained"), ("signs", "search"),
                          ("start", "random"))),
    (minimise.minimise, "method", "method", "newton_cg",
     lambda s: minimise.minimise(Bowl(), EYE, method=s)),
    (optimise_methods.method, "name", "method", "lbfgs", optimise_methods.method),
    (Network, "parameterisation", "parameterisation", "standard",
     lambda s: Network((2, 2, 1), "linear", parameterisation=s)),
    (Network, "kinds", "layer kind", "residual", lambda s: Network((2, 2, 1), "relu", kinds=(s,))),
    (Network, "activation", "activation", "relu", lambda s: Network((2, 2, 1), s).act),
    (row_shard.NtkShards, "dtype", "dtype", "float32", lambda s: shard(dtype=s)),
    (row_shard.DrawnRows, "law", "row law", "gaussian",
     lambda s: row_shard.DrawnRows(s, RNG, 2)(0, 1)),
    (sampling.rows, "law", "row law", "sphere", lambda s: sampling.rows(s, RNG, 2, 2)),
    (target_rows.target_rows, "law", "row law", "sparse",
     lambda s: target_rows.target_rows(s, RNG, 2, 2)),
    (target_rows.target_outputs, "law", "output law", "signs",
     lambda s: target_rows.target_outputs(s, RNG, 2)),
    (train.train, "optimizer", "optimizer", "adam", lambda s: trained(optimizer=s)),
    (train.train, "loss", "loss", "squared", lambda s: trained(loss=s)),
    (train.train, "schedule", "schedule", "cosine", lambda s: trained(schedule=s)),
    (train.train, "stop_rule", "stop_rule", "checks", lambda s: trained(stop_rule=s)),
    (train_inputs.check_tensors, "loss", "loss", "squared",
     lambda s: train_inputs.check_tensors(EYE[None], EYE[:1], [EYE[None, :, :1]], s)),
    (train_inputs.check_settings, "names", "schedule", "constant",
     lambda s: train_inputs.check_settings(1, schedule=s)),
    (eigmin_solvers.line, "name", "solver", "sharded", eigmin_solvers.line),
    (eigmin_solvers.load, "name", "solver", "dense", eigmin_solvers.load),
    (eigmin_solvers.needs_rows, "name", "solver", "dense", eigmin_solvers.needs_rows),
    (eigmin_solvers.chain, "solver", "solver", "mixed",
     lambda s: next(eigmin_solvers.chain(s, 2, EYE.dtype, EYE.device))),
    (eigmin_solvers.Line, "needs", "need", "rows", lambda s: eigmin_solvers.Line("one", "a:b", s)),
    (eigmin_solvers.first, "solver", "solver", "mixed",
     lambda s: eigmin_solvers.first(s, 2, EYE.dtype, EYE.device)),
    (names.named, "name", "way", "up", lambda s: names.named("way", s, {"up": 1, "down": 2})),
    (train_losses.head, "name", "loss", "squared",
     lambda s: train_losses.head(s, EYE[None], EYE[None], EYE[None, None], False)),
    (train_losses.as_targets, "name", "loss", "logistic",
     lambda s: train_losses.as_targets(s, EYE, 1)),
    (train_losses.n_wrong, "name", "loss", "logistic",
     lambda s: train_losses.n_wrong(s, EYE[:, :1], EYE[0])),
    (train_optimisers.optimiser, "name", "optimizer", "adam", train_optimisers.optimiser),
    (train_optimisers.schedule_factor, "schedule", "schedule", "constant",
     lambda s: train_optimisers.schedule_factor(s, 0, 10)),
    (train_stop.Monitor, "rule", "stop_rule", "paper",
     lambda s: train_stop.Monitor(1, 1, 1, s, 0.0)),
]  # fmt: skip


class Bowl(Objective):
    """|x|^2/2, an objective that the minimiser is done with at once."""

    def value_gradient(self, x):
        return 0.5 * x.square().sum(-1), x


def ident(case):
    return f"{case[0].__qualname__}-{case[1]}"


@pytest.mark.parametrize("case", KERNELS, ids=ident)
def test_a_kernel_refuses_a_name_it_does_not_know(case):
    _, _, what, valid, call = case
    call(valid)
    with pytest.raises(ValueError, match=f"unknown {what} '{valid}x'; valid: .*{valid}.* mean '"):
        call(valid + "x")


# Text that chooses nothing: what is said of a result or in a message, and torch's devices.
LABELS = {
    ("Activation", "name"), ("BlockEigenvalue", "solver"), ("smallest_eigenvalue_block", "solver"),
    ("LowestEigenvalues", "solver"), ("MinEigenvalue", "solver"), ("Pair", "solver"),
    ("KernelEnd", "reason"), ("NtkShards", "device"), ("checked", "what"), ("drawn", "what"),
    ("unknown", "what"), ("check_name", "what"), ("named", "what"),
    ("from_folder", "what"), ("from_folder", "package"), ("KernelError", "what"),
    ("Dense", "name"), ("Residual", "name"), ("range_message", "what"),
    ("proved", "solver"), ("Line", "name"), ("Line", "home"),
    ("Meeting", "host"), ("Table", "kind"), ("Table", "source"), ("sizes_of", "kind"),
    ("stated", "kind"), ("Training", "stepped"),  # "cpu" or a card's; who made it; a sentence
}  # fmt: skip
# Names that the function hands to one that is walked, before anything is done with them.
HANDED_ON = {("blocks", "loss"), ("Block", "loss"), ("from_folder", "name")}


def kernel_functions():
    for path in sorted(Path(lawsweep.__file__).parent.glob("kernels/**/*.py")):
        parts = path.relative_to(Path(lawsweep.__file__).parent).with_suffix("").parts
        module = importlib.import_module(".".join(("lawsweep", *parts)).removesuffix(".__init__"))
        for name, item in vars(module).items():
            if getattr(item, "__module__", None) != module.__name__ or name.startswith("_"):
                continue
            if inspect.isfunction(item) or inspect.isclass(item):
                yield item


def takes_names(item):
    """Public parameters of a kernel that are text or one of several names."""
    try:
        signature = inspect.signature(item)
    except (TypeError, ValueError):  # an Enum, an exception
        return
    try:
        hints = typing.get_type_hints(item.__init__ if inspect.isclass(item) else item)
    except NameError:
        return
    for name in signature.parameters:
        hint = hints.get(name)
        if hint is str or typing.get_origin(hint) is typing.Literal:
            yield name


def test_every_kernel_that_takes_a_name_is_walked():
    walked = {(case[0].__qualname__, case[1]) for case in KERNELS}
    missed = [
        (item.__qualname__, name)
        for item in kernel_functions()
        for name in takes_names(item)
        if (item.__qualname__, name) not in walked | LABELS | HANDED_ON
    ]
    assert missed == [], missed


def test_the_nearest_name_is_told():
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        trained(optimizer="adamw")
    assert "did you mean" not in str(names.unknown("law", "xyzzy", ("gaussian", "sphere")))


@pytest.mark.parametrize("experiment", POINTS, ids=lambda e: e.name)
def test_params_refuse_a_name_they_do_not_know(experiment):
    """However a Params is made: what runs it may not see another's name."""
    point = POINTS[experiment]
    hints = typing.get_type_hints(experiment.params_type)
    chosen = [n for n, h in hints.items() if typing.get_origin(h) is typing.Literal]
    assert len(chosen) >= 3
    good = experiment.params_type(**point)
    for name in chosen:
        for wrong in (getattr(good, name) + "x", "nonsense", None):
            with pytest.raises(UnknownNameError, match=f"Unknown {name} '{wrong}'. .*Valid: "):
                dataclasses.replace(good, **{name: wrong})
