"""Reasons: codes with advice, one convention in all kernels, and what rows of before said."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pickle
import pkgutil
import re
import sys

import numpy as np
import pytest
import torch

import lawsweep.kernels
from lawsweep.experiments.aliases import END_ALIASES, ZERO_ALIASES
from lawsweep.kernels.activations import activation
from lawsweep.kernels.base.reasons import Ended, KernelError, Reason
from lawsweep.kernels.eigmin.few import smallest_eigenvalues
from lawsweep.kernels.eigmin.result import EigenReason, Pair
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
from lawsweep.kernels.ntk.change import KernelReason
from lawsweep.kernels.ntk.rank import ZeroReason
from lawsweep.kernels.optimise.minimise import MinimiseReason, Result
from lawsweep.kernels.training.stop import StopReason
from lawsweep.kernels.training.train import train


def everywhere(base):
    """All classes below ``base``, of every kernel."""
    for found in pkgutil.walk_packages(lawsweep.kernels.__path__, "lawsweep.kernels."):
        importlib.import_module(found.name)
    return [c for c in base.__subclasses__() if c.__module__.startswith("lawsweep.")]


def test_every_reason_is_a_code_with_advice():
    found = everywhere(Reason)
    assert len(found) >= 6
    for reason in (r for kind in found for r in kind):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason), reason
        assert reason == reason.value == str(reason) == f"{reason}"
        assert not reason.advice.endswith((".", " ")), reason
        assert reason.ok or reason.advice, reason


def test_a_code_is_the_same_in_every_kernel_and_process():
    assert EigenReason.CONVERGED == MinimiseReason.CONVERGED == "converged"
    assert {EigenReason.CONVERGED, MinimiseReason.CONVERGED} == {"converged"}
    again = pickle.loads(pickle.dumps(EigenReason.UNRESOLVED))
    assert again is EigenReason.UNRESOLVED
    assert again.advice == EigenReason.UNRESOLVED.advice


def test_every_text_of_before_has_a_code_of_today():
    zeros = {r.value for r in ZeroReason}
    assert set(ZERO_ALIASES.values()) == zeros
    ends = zeros | {r.value for kind in (EigenReason, KernelReason) for r in kind}
    assert set(END_ALIASES.values()) == ends - {"converged"}
    assert not {*ZERO_ALIASES, *END_ALIASES} & ends


def test_a_result_that_is_an_answer_is_itself():
    found = smallest_eigenvalue(torch.eye(5, dtype=torch.float64), start=np.random.default_rng(0))
    assert found.throw() is found


def test_a_result_that_is_no_answer_says_its_code_and_what_to_do():
    matrix = torch.ones(5, 5, dtype=torch.float64)
    found = smallest_eigenvalue(matrix, start=np.random.default_rng(0))
    with pytest.raises(KernelError, match=r"MinEigenvalue ended with numerically_singular: .+\.$"):
        found.throw()
    with pytest.raises(KernelError) as caught:
        found.throw()
    assert caught.value.reason is EigenReason.NUMERICALLY_SINGULAR
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.reason) == (str(caught.value), caught.value.reason)


def test_restarts_are_an_answer_where_one_of_them_is():
    def restarts(*reasons):
        n = len(reasons)
        zeros = torch.zeros(n, dtype=torch.float64)
        return Result(zeros.unsqueeze(1), zeros, zeros, zeros, reasons, zeros)

    good = restarts(MinimiseReason.STALLED, MinimiseReason.CONVERGED)
    assert good.throw() is good
    with pytest.raises(KernelError, match="stalled"):
        restarts(MinimiseReason.STALLED, MinimiseReason.NON_FINITE).throw()


def test_seeds_are_an_answer_where_all_of_them_are():
    torch.manual_seed(0)
    x, y = torch.randn(2, 6, 3), torch.randn(2, 6)
    weights = [torch.randn(2, 3, 4), torch.randn(2, 4, 1)]

    def trained(rate):
        return train(
            x, y, weights, activation("tanh"), optimizer="gd", learning_rate=rate, max_steps=3
        )

    budget = trained(1e-3)
    assert budget.throw() is budget
    assert budget.stop_reason == (StopReason.MAX_STEPS,) * 2
    with pytest.raises(KernelError, match=r"Training ended with diverged: .*lower the learning"):
        trained(1e30).throw()


def test_every_result_that_says_how_it_ended_can_throw():
    everywhere(Ended)
    for module in [m for n, m in sys.modules.items() if n.startswith("lawsweep.kernels.")]:
        for kind in vars(module).values():
            if not (inspect.isclass(kind) and dataclasses.is_dataclass(kind)):
                continue
            names = {f.name for f in dataclasses.fields(kind)} | {*vars(kind)}
            if names & {"reason", "stop_reason"} and kind is not Pair:  # which is judged yet
                assert issubclass(kind, Ended), kind


def test_the_lowest_eigenvalues_are_an_answer_where_each_is():
    good = smallest_eigenvalues(
        torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64)), 2, start=np.random.default_rng(0)
    )
    assert good.throw() is good
    flat = torch.ones(8, 8, dtype=torch.float64)
    with pytest.raises(KernelError, match="LowestEigenvalues ended with unresolved"):
        smallest_eigenvalues(flat, 2, start=np.random.default_rng(0)).throw()
