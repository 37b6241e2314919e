"""One run of ntk_min_eig: the network on its samples, the kernel, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lawsweep import Infeasible, stream
from lawsweep.experiments.fields import ROW_LAWS
from lawsweep.experiments.ntk_min_eig.choice import chosen_solver
from lawsweep.experiments.ntk_min_eig.inputs import Inputs, inputs
from lawsweep.experiments.ntk_min_eig.params import Params
from lawsweep.kernels.base import devices
from lawsweep.kernels.eigmin import solvers

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.network.network import Network
    from lawsweep.kernels.ntk.linearisation import Linearisation
    from lawsweep.kernels.ntk.rank import RankReport, ZeroReason

    # The linearisation, the rank report, the trace and least entry of the diagonal, the error.
    Known = tuple[Linearisation | None, RankReport, tuple[float, float], float]

# A lambda_min of the infinite-width kernel whose error is a larger part of it is no number.
LIMIT_TOLERANCE = 1e-3
# Numbers of samples up to which they are drawn on the host as a whole (256 MB in float64), and so
# ahead; a card takes longer for larger ones than their draws do.
ON_HOST = 2**25


@dataclass(eq=False)
class Prepared:
    """A run before its eigenvalues: ``lin`` is what ``ntk.gram`` takes.

    ``solver``: the way it takes.  Where that forms no matrix, ``lin`` of all samples is never made:
    it is None.  ``zero`` names why lambda_min is exactly 0, if it is; ``facts`` are metrics that no
    solver changes; ``x`` and ``weights`` are what ``lin`` was made from.
    """

    solver: str
    lin: Linearisation | None
    zero: ZeroReason | None
    facts: dict[str, Any]
    x: Any
    weights: list[Any]

    def take(self) -> Linearisation:
        """``lin``, once: what a solve no longer needs it does not hold (6 N n numbers)."""
        lin, self.lin = self.lin, None
        if lin is None:
            raise ValueError("the linearisation was taken before; prepare the run again")
        return lin


def draw(params: Params, seed: int, device: str) -> tuple[Inputs, list[Any]]:
    """The samples and the weights W_1 .. W_L of one run."""
    from lawsweep.worker.ahead import drawn

    if params.n_samples * params.input_dim > ON_HOST:
        return _draw(params, seed, device)  # by blocks, each of which goes to the device
    given, weights = drawn(_on_host, params, seed, device)
    return given._replace(x=given.x.to(device)), [w.to(device) for w in weights]


def _on_host(params: Params, seed: int) -> tuple[Inputs, list[Any]]:
    return _draw(params, seed, "cpu")


def _draw(params: Params, seed: int, device: str) -> tuple[Inputs, list[Any]]:
    from lawsweep.kernels.data import sampling
    from lawsweep.kernels.network.init import init_weights

    dtype = sampling.DTYPES[params.dtype]
    weights = init_weights(params.network, stream(seed, "weights"), dtype, device)
    return inputs(params, seed, dtype, device), weights


def prepare(params: Params, seed: int, device: str) -> Prepared:
    """Draw, linearise, and collect what is known before a solve.

    Raises Infeasible where features or gradients leave the range of ``dtype``: a zero that
    underflow made is no zero of K; MemoryError where no solver fits, and no zero has a name.
    """
    from lawsweep.kernels.ntk.linearisation import OutOfRangeError

    no_room: MemoryError | None = None
    try:
        solver = chosen_solver(params, device)
    except MemoryError as error:
        # What names an exact zero goes by blocks, and such a row is not solved for.
        solver, no_room = solvers.names("rows")[0], error
    given, weights = draw(params, seed, device)
    known = _by_blocks if solvers.needs_rows(solver) else _at_once
    try:
        lin, report, diagonal, gram_error = known(params.network, given.x, weights)
    except OutOfRangeError as error:
        raise Infeasible(str(error)) from error
    if no_room is not None and report.zero is None:
        raise no_room
    facts = {**facts_of(params, report, *diagonal, gram_error), **of_data(params, given)}
    return Prepared(solver, lin, report.zero, facts, given.x, weights)


def _at_once(network: Network, x: Tensor, weights: Sequence[Tensor]) -> Known:
    """What is known of the kernel, and the linearisation that it takes."""
    from lawsweep.kernels.ntk import gram as ntk
    from lawsweep.kernels.ntk.linearisation import linearise
    from lawsweep.kernels.ntk.rank import rank_report

    lin = linearise(network, weights, x)
    report, diagonal = rank_report(lin), ntk.diagonal(lin)
    trace = float(diagonal.sum())
    error = ntk.gram_error_bound(lin, trace=trace)
    return lin, report, (trace, float(diagonal.min())), error


def _by_blocks(network: Network, x: Tensor, weights: Sequence[Tensor]) -> Known:
    """The same without a linearisation: one block of rows after the other, and no N^2 or N n."""
    import torch

    from lawsweep.kernels.ntk import gram as ntk
    from lawsweep.kernels.ntk.linearisation import OutOfRangeError, linearise, passes, range_message
    from lawsweep.kernels.ntk.survey import Survey

    survey, found = Survey(network), []
    blocks = x.split(devices.on(x.device).rows_tile)
    for rows in blocks:
        passed = passes(network, weights, rows)
        lin = passed.lin
        survey.add(lin)
        diagonal, lost = ntk.squares_seen(lin.layers)
        facts = (diagonal.sum(), diagonal.min(), lost, passed.in_range)
        found.append(torch.stack([fact.to(torch.float64) for fact in facts]))
    # One answer of the device for all blocks.
    traces, mins, losts, in_range = torch.stack(found).T.tolist()
    if not all(in_range):
        for rows in blocks:
            linearise(network, weights, rows)
    if any(losts) or not all(map(math.isfinite, traces)):
        raise OutOfRangeError(range_message("squared gradient norms", x.dtype))
    trace, least = math.fsum(traces), min(mins)
    if not math.isfinite(trace):
        name = str(x.dtype).removeprefix("torch.")
        raise OutOfRangeError(f"the kernel's trace leaves the range of {name}")
    error = ntk.gram_error_bound(lin, trace=trace)
    return None, survey.report(), (trace, least), error


def facts_of(
    params: Params, report: RankReport, trace: float, min_diagonal: float, gram_error: float
) -> dict[str, Any]:
    """The metrics of the network that no solver changes."""
    n_params, limit = _constants(params)
    return {
        "gram_error": gram_error,
        "trace": trace,
        "min_diagonal": min_diagonal,
        "n_params": n_params,
        "rank_bound": report.bound,
        "lambda_min_limit": limit,
    }


def of_data(params: Params, given: Inputs) -> dict[str, Any]:
    """The metrics that the samples alone decide."""
    return {"data_digest": given.digest, **_infinite_width(params, given)}


@lru_cache(maxsize=16)
def _constants(params: Params) -> tuple[int, float | None]:
    """What is the same for every seed: p, and the constant that lambda_min tends to."""
    return params.network.n_params, _limit(params)


def _limit(params: Params) -> float | None:
    """The sum of the layers' limits; None where the derivation says nothing."""
    network = params.network
    last = network.chosen == (network.depth,)
    if params.data not in ROW_LAWS or last:
        return None
    limits = _layer_limits(replace(network, layers=None))
    return math.fsum(limits[k - 1] for k in network.chosen)


@lru_cache(maxsize=1024)
def _layer_limits(network: Network) -> tuple[float, ...]:
    from lawsweep.kernels.ntk.limits import layer_limits

    try:
        found = layer_limits(network)
    except OverflowError:  # beta^2 is no number: what the run itself found is kept
        return (math.nan,) * network.depth
    # NaN where the quadrature did not settle (a scale beyond its step).
    return found.values if found.error < 1e-6 else (math.nan,) * len(found.values)


def _infinite_width(params: Params, given: Inputs) -> dict[str, Any]:
    if params.n_samples > params.infinite_width_up_to:
        return {}
    import numpy as np

    from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
    from lawsweep.kernels.ntk.wide import infinite_width

    if _singular_at_any_width(params.network, given.x):
        return {"lambda_min_infinite_width": 0.0, "infinite_width_error": 0.0}
    limit = infinite_width(params.network, given.x)
    if not bool(limit.gram.isfinite().all()):
        return {"lambda_min_infinite_width": math.nan, "infinite_width_error": math.nan}
    # Any start serves: the generator is the solver's own, no part of the run's randomness.
    found = smallest_eigenvalue(limit.gram, start=np.random.default_rng(0))
    rounding = limit.error * float(limit.gram.trace())
    error = found.upper - found.lower + rounding if found.lower > -math.inf else math.nan
    good = found.converged and error <= LIMIT_TOLERANCE * found.value
    value = found.value if good else math.nan
    return {"lambda_min_infinite_width": value, "infinite_width_error": error}


def _singular_at_any_width(network: Network, x: Tensor) -> bool:
    """Whether the samples alone make K singular: multiples, zeros, a linear network's rank."""
    from lawsweep.kernels.ntk.rank import null_samples, samples_of

    bias = network.counts_bias
    samples = samples_of(network, x, affine=bias)
    null = null_samples(x, network.act, network.chosen, bias)
    if samples.zero is not None or bool(null.any()):
        return True
    return network.act.linear and len(x) > samples.rank
