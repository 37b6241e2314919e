"""One run of ntk_min_eig: the network on its samples, the kernel, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lawsweep import Infeasible, stream
from lawsweep.experiments.fields import ROW_LAWS
from lawsweep.experiments.ntk_min_eig.choice import chosen_solver
from lawsweep.experiments.ntk_min_eig.inputs import Inputs, inputs
from lawsweep.experiments.ntk_min_eig.params import MATRIX_FREE, Params
from lawsweep.kernels.base import devices

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.activations import Activation
    from lawsweep.kernels.ntk.gram import Linearisation
    from lawsweep.kernels.ntk.rank import RankReport, ZeroReason

    # The linearisation, the rank report, the trace and least entry of the diagonal, the error.
    Known = tuple[Linearisation | None, RankReport, tuple[float, float], float]

# A lambda_min of the infinite-width kernel whose error is a larger part of it is no number.
LIMIT_TOLERANCE = 1e-3


@dataclass(eq=False)
class Prepared:
    """A run before its eigenvalues: ``lin`` and ``layers`` are what ``ntk.gram`` takes.

    ``solver``: the way it takes.  Where that forms no matrix, ``lin`` of all samples is never made:
    it is None.  ``zero`` names why lambda_min is exactly 0, if it is; ``facts`` are metrics that no
    solver changes; ``x`` and ``weights`` are what ``lin`` was made from.
    """

    solver: str
    lin: Linearisation | None
    layers: tuple[int, ...] | None
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
    from lawsweep.kernels.data import sampling
    from lawsweep.kernels.network import networks

    dtype = sampling.DTYPES[params.dtype]
    weights = networks.init_weights(
        params.layer_widths,
        stream(seed, "weights"),
        params.layer_betas,
        dtype,
        device,
        params.parameterisation,
    )
    return inputs(params, seed, dtype, device), weights


def prepare(params: Params, seed: int, device: str) -> Prepared:
    """Draw, linearise, and collect what is known before a solve.

    Raises Infeasible where features or gradients leave the range of ``dtype``: a zero that
    underflow made is no zero of K; MemoryError where no solver fits, and no zero has a name.
    """
    from lawsweep.kernels.ntk import gram as ntk

    no_room: MemoryError | None = None
    try:
        solver = chosen_solver(params, device)
    except MemoryError as error:
        # What names an exact zero goes by blocks, and such a row is not solved for.
        solver, no_room = MATRIX_FREE[0], error
    given, weights = draw(params, seed, device)
    biases = [w.new_zeros(w.shape[1]) for w in weights] if params.bias else None
    known = _by_blocks if solver in MATRIX_FREE else _at_once
    try:
        lin, report, diagonal, gram_error = known(params, given.x, weights, biases)
    except ntk.OutOfRangeError as error:
        raise Infeasible(str(error)) from error
    if no_room is not None and report.zero is None:
        raise no_room
    facts = {**facts_of(params, report, *diagonal, gram_error), **of_data(params, given)}
    layers = (params.depth,) if params.conjugate else params.layers
    return Prepared(solver, lin, layers, report.zero, facts, given.x, weights)


def _at_once(params: Params, x: Tensor, weights: Sequence[Tensor], biases: Any) -> Known:
    """What is known of the kernel, and the linearisation that it takes."""
    from lawsweep.kernels.activations import activation
    from lawsweep.kernels.ntk import gram as ntk
    from lawsweep.kernels.ntk import rank as ntk_rank

    act = activation(params.activation)
    lin, layers = of_kernel(params, ntk.linearise(x, weights, act, biases))
    # Scales do not change what is exactly 0, so the reasons are read off the features themselves.
    report = ntk_rank.rank_report(lin, act, layers)
    lin = in_parameters(params, lin)
    diagonal = ntk.diagonal(lin, layers)
    trace = float(diagonal.sum())
    error = ntk.gram_error_bound(lin, layers, trace=trace)
    return lin, report, (trace, float(diagonal.min())), error


def _by_blocks(params: Params, x: Tensor, weights: Sequence[Tensor], biases: Any) -> Known:
    """The same without a linearisation: one block of rows after the other, and no N^2 or N n."""
    from lawsweep.kernels.activations import activation
    from lawsweep.kernels.ntk import gram as ntk
    from lawsweep.kernels.ntk.survey import Survey

    act = activation(params.activation)
    survey = Survey(act, (params.depth,) if params.conjugate else params.layers)
    traces, least = [], math.inf
    for rows in x.split(devices.ROWS_TILE.on(x.device)):
        lin, layers = of_kernel(params, ntk.linearise(rows, weights, act, biases))
        survey.add(lin)
        lin = in_parameters(params, lin)
        diagonal = ntk.diagonal(lin, layers)
        traces.append(float(diagonal.sum()))
        least = min(least, float(diagonal.min()))
    trace = math.fsum(traces)
    if not math.isfinite(trace):
        raise ntk.OutOfRangeError(f"the kernel's trace leaves the range of {params.dtype}")
    error = ntk.gram_error_bound(lin, layers, trace=trace)
    return None, survey.report(), (trace, least), error


def of_kernel(params: Params, lin: Linearisation) -> tuple[Linearisation, tuple[int, ...] | None]:
    """What the kernel asked for is made of: a linearisation and its layers (batches too)."""
    if params.conjugate:
        # K_L without a bias is F_{L-1} F_{L-1}^T.
        return replace(lin, bias=False), (params.depth,)
    return lin, params.layers


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
    widths = params.layer_widths
    n_weights = sum(a * b for a, b in pairwise(widths))
    return n_weights + (sum(widths[1:]) if params.bias else 0), _limit(params)


def in_parameters(params: Params, lin: Linearisation) -> Linearisation:
    """K = sum_l s_l^2 K_l of the NTK parameterisation: features times s_l carry the factor.

    A bias enters with the factor 1 and is added to the scaled features, as it should.  Batches too.
    """
    if params.parameterisation == "standard" or params.conjugate:
        return lin
    from lawsweep.kernels.network.networks import ntk_scales

    scales = ntk_scales(params.layer_widths, params.layer_betas)
    scaled = tuple(s * f for s, f in zip(scales, lin.features, strict=True))
    return replace(lin, features=scaled)


def _limit(params: Params) -> float | None:
    """The sum of the layers' limits; None where the derivation says nothing."""
    last = params.layers == (params.depth,)
    if params.data not in ROW_LAWS or params.conjugate or last:
        return None
    limits = _layer_limits(
        params.layer_widths, params.activation, params.layer_betas, params.parameterisation
    )
    chosen = params.layers or range(1, params.depth + 1)
    return math.fsum(limits[k - 1] for k in chosen)


@lru_cache(maxsize=1024)
def _layer_limits(
    widths: tuple[int, ...], name: str, betas: tuple[float, ...], parameterisation: str
) -> tuple[float, ...]:
    from lawsweep.kernels.activations import activation
    from lawsweep.kernels.ntk.limits import layer_limits

    try:
        found = layer_limits(widths, activation(name), betas, parameterisation)
    except OverflowError:  # beta^2 is no number: what the run itself found is kept
        return (math.nan,) * (len(widths) - 1)
    # NaN where the quadrature did not settle (a scale beyond its step).
    return found.values if found.error < 1e-6 else (math.nan,) * len(found.values)


def _infinite_width(params: Params, given: Inputs) -> dict[str, Any]:
    if params.n_samples > params.infinite_width_up_to:
        return {}
    import numpy as np

    from lawsweep.kernels.activations import activation
    from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
    from lawsweep.kernels.ntk.wide import infinite_width

    act = activation(params.activation)
    if _singular_at_any_width(params, given, act):
        return {"lambda_min_infinite_width": 0.0, "infinite_width_error": 0.0}
    limit = infinite_width(
        given.x,
        params.layer_widths,
        act,
        layers=params.layers,
        bias=params.bias,
        betas=params.layer_betas,
        parameterisation=params.parameterisation,
        conjugate=params.conjugate,
    )
    if not bool(limit.gram.isfinite().all()):
        return {"lambda_min_infinite_width": math.nan, "infinite_width_error": math.nan}
    # Any start serves: the generator is the solver's own, no part of the run's randomness.
    found = smallest_eigenvalue(limit.gram, start=np.random.default_rng(0))
    rounding = limit.error * float(limit.gram.trace())
    error = found.upper - found.lower + rounding if found.lower > -math.inf else math.nan
    good = found.converged and error <= LIMIT_TOLERANCE * found.value
    value = found.value if good else math.nan
    return {"lambda_min_infinite_width": value, "infinite_width_error": error}


def _singular_at_any_width(params: Params, given: Inputs, act: Activation) -> bool:
    """Whether the samples alone make K singular: multiples, zeros, a linear network's rank."""
    from lawsweep.kernels.ntk.rank import Samples, null_samples

    bias = params.bias and not params.conjugate
    samples = Samples.of(given.x, act, bias, params.depth)
    layers = (params.depth,) if params.conjugate else params.layers or range(1, params.depth + 1)
    if samples.zero is not None or bool(null_samples(given.x, act, layers, bias).any()):
        return True
    return act.linear and params.n_samples > samples.rank
