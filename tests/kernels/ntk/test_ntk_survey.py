"""A survey of blocks of samples says what the report of all of them at once says."""

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import ACTIVATIONS, activation
from lawsweep.kernels.data import sampling
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.linearisation import linearise
from lawsweep.kernels.ntk.rank import ZeroReason, rank_report
from lawsweep.kernels.ntk.survey import Survey

WIDTHS = (5, 6, 6, 1)


def inputs(kind, n, seed):
    rng = np.random.default_rng(seed)
    law = "rademacher" if kind == "signs" else "gaussian"
    x = sampling.rows(law, rng, n, WIDTHS[0])
    if kind == "equal":
        x[-1] = x[0]
    if kind == "zero and minus zero":
        x[0, 1], x[-1] = 0.0, x[0]
        x[-1, 1] = -0.0
    if kind == "opposite":
        x[-1] = -x[0]
    if kind == "nearly equal":
        x[-1] = torch.nextafter(x[0], torch.tensor(9.0, dtype=x.dtype))
    if kind == "dead":
        x[0] = 0.0
    if kind == "parallel":
        x[n // 2 :] = x[:1] * torch.arange(1.0, n - n // 2 + 1).to(x)[:, None]
    return x


KINDS = (
    "generic", "equal", "zero and minus zero", "opposite", "nearly equal", "dead", "parallel",
    "signs",
)  # fmt: skip


def surveyed(x, weights, biases, act, layers, sizes):
    network = Network.of(weights, act, bias=biases is not None, layers=layers)
    survey = Survey(network)
    for part in x.split(sizes):
        survey.add(linearise(network, weights, part, biases))
    return survey.report()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_blocks_say_what_the_whole_says(name, bias):
    act, seen = activation(name), set()
    for seed, kind in enumerate(KINDS):
        rng = np.random.default_rng(seed)
        weights = init_weights(Network(WIDTHS, "linear"), rng)
        biases = [torch.zeros(m, dtype=torch.float64) for m in WIDTHS[1:]] if bias else None
        for n, layers in ((4, None), (12, None), (12, (1, 3)), (90, None)):
            x = inputs(kind, n, seed)
            whole = rank_report(
                linearise(
                    Network.of(weights, act, bias=biases is not None), weights, x, biases
                ).select(layers)
            )
            seen.add(whole.zero)
            found = surveyed(x, weights, biases, act, layers, 5)
            assert found == whole, (kind, n, layers)
    assert {None, ZeroReason.RANK, ZeroReason.DUPLICATE} <= seen


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["relu", "linear", "tanh"])
def test_a_network_without_hidden_units(name, bias):
    act, weights = activation(name), [torch.ones(5, 1, dtype=torch.float64)]
    biases = [torch.zeros(1, dtype=torch.float64)] if bias else None
    for kind, n in (("generic", 4), ("generic", 7), ("equal", 4), ("dead", 4)):
        x = inputs(kind, n, 0)
        whole = rank_report(
            linearise(Network.of(weights, act, bias=biases is not None), weights, x, biases)
        )
        assert surveyed(x, weights, biases, act, None, 3) == whole, kind


def test_many_rows_of_signs_are_told_apart():
    """All 2^12 rows of signs: numbers whose only difference is one high bit each."""
    bits = (np.arange(2**12)[:, None] >> np.arange(12)) & 1
    x = torch.from_numpy(2.0 * bits - 1.0)
    act = activation("sigmoid")
    weights = init_weights(Network((12, 400, 1), "linear"), np.random.default_rng(0))
    for rows, reason in ((x, None), (torch.cat([x, x[77:78]]), ZeroReason.DUPLICATE)):
        assert surveyed(rows, weights, None, act, None, 1000).zero is reason


def test_a_survey_of_nothing():
    with pytest.raises(ValueError, match="no samples were added; add some before"):
        Survey(Network(WIDTHS, "relu")).report()
