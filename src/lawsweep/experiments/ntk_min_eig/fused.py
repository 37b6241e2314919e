"""Many runs of one small ntk_min_eig at once: one forward pass, one Gram, one eigensolve.

A small network's run is mostly the price of some hundred calls, so they are made once for all.
Large ones fill the machine alone and are done one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lawsweep import stream
from lawsweep.experiments.batches import caught, in_batches, most_at_once, overlapping
from lawsweep.experiments.ntk_min_eig.cost import cost
from lawsweep.experiments.ntk_min_eig.held import FUSE_UP_TO, stacked_bytes
from lawsweep.experiments.ntk_min_eig.inputs import Inputs, inputs
from lawsweep.experiments.ntk_min_eig.metrics import Metrics
from lawsweep.experiments.ntk_min_eig.params import Params
from lawsweep.experiments.ntk_min_eig.run import (
    facts_of,
    of_data,
    prepare,
)
from lawsweep.experiments.ntk_min_eig.solve import any_start, exact_zero, finished, row
from lawsweep.kernels.base import devices
from lawsweep.kernels.eigmin import solvers
from lawsweep.worker.ahead import drawn_together, later

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.eigmin.result import MinEigenvalue

# A stack rounds otherwise than one matrix, and lambda_min carries that times the condition number:
# 0.08 eps lambda_max/lambda_min at most, over 160 kernels.  So up to here the two agree to 1e-9.
WELL_CONDITIONED = 5e7

REPORTED = 2**25  # numbers of the passes that come to the host at a time

Answer = Metrics | Exception
Run = tuple[Params, int]  # with its seed


def fused(params: Sequence[Params], seeds: Sequence[int], device: str) -> Sequence[Answer]:
    """One answer for each run, in order: a row, or the exception that is its failure.

    The runs differ in seeds and laws of data.  On a CPU a stack has as many as stay in a cache, on
    a device as many as fit, of any order that its table has solved by all eigenvalues.  In float32
    no stack of matrices agrees with one to 1e-9, so there every run is done alone.
    """
    runs, one = list(zip(params, seeds, strict=True)), params[0]
    more = one.n_lowest or one.full_spectrum or one.n_samples <= one.infinite_width_up_to
    cached = devices.on(device).stack // one.n_samples**2
    on_card = not device.startswith("cpu")
    fits = cached > 1 and (on_card or one.n_samples <= FUSE_UP_TO) and one.dtype == "float64"
    most: int | None = 1
    if fits and not more and _is_batched(one, device):
        drawn = one.network.n_params + one.n_samples * one.input_dim
        most = most_at_once(stacked_bytes(one), device, drawn) or cached
        if on_card:
            most = overlapping(cost(one).work, len(runs), most, device)
    return in_batches(runs, partial(_stack, device=device), most, later())


def _is_batched(params: Params, device: str) -> bool:
    """Whether the solver takes many matrices in one call."""
    import torch

    if solvers.needs_rows(params.solver):
        return False
    begins = solvers.first(params.solver, params.n_samples, torch.float64, torch.device(device))
    return begins.batched


def _stack(runs: Sequence[Run], device: str) -> list[Answer]:
    """The answers of runs that are computed at once."""
    from lawsweep.kernels.ntk.linearisation import OutOfRangeError

    if len(runs) == 1:
        return [_alone(runs[0], device)]
    drawn, weights = drawn_together(_draws, runs, device)
    good = [k for k, one in enumerate(drawn) if not isinstance(one, Exception)]
    try:
        given = [drawn[k] for k in good]
        # What was drawn for them all is let go as it is moved.
        rows = _together([runs[k] for k in good], given, weights, device)
    except OutOfRangeError:  # of some member: alone, each says for itself
        return [_alone(run, device) for run in runs]
    answers = {
        k: one if _agrees(one) else _alone(runs[k], device)
        for k, one in zip(good, rows, strict=True)
    }
    return [answers.get(k, one) for k, one in enumerate(drawn)]


def _samples(run: Run) -> Inputs:
    from lawsweep.kernels.data.sampling import DTYPES

    params, seed = run
    return inputs(params, seed, DTYPES[params.dtype], "cpu")


def _draws(runs: Sequence[Run]) -> tuple[list[Inputs | Exception], list[Tensor]]:
    """Samples of each run, and W_1 .. W_L, stacked, of those that could be drawn; on the host."""
    given = [caught(partial(_samples, run)) for run in runs]
    good = [s for (_, s), one in zip(runs, given, strict=True) if not isinstance(one, Exception)]
    return given, _weights(runs[0][0], good, "cpu") if good else []


def _weights(params: Params, seeds: Sequence[int], device: str) -> list[Tensor]:
    """W_1 .. W_L of every seed, stacked."""
    from lawsweep.kernels.data.sampling import DTYPES
    from lawsweep.kernels.network.init import init_stacks

    streams = [stream(seed, "weights") for seed in seeds]
    return init_stacks(params.network, streams, DTYPES[params.dtype], device)


def _agrees(answer: Answer) -> bool:
    """Whether a run alone would give this row too, to 1e-9."""
    if isinstance(answer, Exception) or answer.zero_reason is not None:
        return True
    return answer.condition_number is not None and answer.condition_number < WELL_CONDITIONED


def _alone(run: Run, device: str) -> Answer:
    params, seed = run
    answer: Answer = caught(lambda: finished(params, seed, prepare(params, seed, device)))
    return answer


def _together(
    runs: Sequence[Run], given: Sequence[Inputs], weights: list[Tensor], device: str
) -> list[Answer]:
    """The answers of the members; OutOfRangeError if the values of one of them leave the range."""
    import torch

    from lawsweep.kernels.ntk import gram as ntk
    from lawsweep.kernels.ntk.linearisation import linearise
    from lawsweep.kernels.ntk.rank import rank_reports

    if not runs:
        return []
    params, seeds = runs[0][0], [seed for _, seed in runs]
    # Stacked first and moved once: a copy to a device costs more than these few numbers.
    x = torch.stack([one.x for one in given]).to(device)
    lin = linearise(params.network, [w.to(device) for w in weights], x)
    weights.clear()
    diagonals = ntk.diagonal(lin)
    # Read on the CPU: many small questions, each of which would wait for a device.  Some members at
    # a time: the host need not hold what the device does.
    each = params.n_samples * params.network.passed
    step = max(1, int(REPORTED // max(each, 1))) if x.device.type != "cpu" else len(seeds)
    reports = [
        report
        for k in range(0, len(seeds), step)
        for report in rank_reports(lin.map(lambda t, k=k: t[k : k + step].cpu()))  # type: ignore[misc]
    ]
    error = ntk.gram_error_bound(lin, trace=1.0)  # of the trace
    traces, least = diagonals.sum(-1).tolist(), diagonals.amin(-1).tolist()
    facts = [
        {
            **facts_of(own, report, trace, low, error * trace),
            **of_data(own, one),
        }
        for (own, _), one, report, trace, low in zip(
            runs, given, reports, traces, least, strict=True
        )
    ]
    rows: dict[int, Answer] = {
        k: exact_zero(report.zero, facts[k])
        for k, report in enumerate(reports)
        if report.zero is not None
    }
    solved = [k for k in range(len(seeds)) if k not in rows]
    if solved:
        grams = ntk.gram(lin)
        chosen = grams if len(solved) == len(seeds) else grams[solved]
        for k, found in zip(solved, _eigenvalues(params, chosen, seeds, solved), strict=True):
            rows[k] = (
                found
                if isinstance(found, Exception)
                else row(found.given_error(facts[k]["gram_error"]), facts[k])
            )
    return [rows[k] for k in range(len(seeds))]


def _eigenvalues(
    params: Params, grams: Tensor, seeds: Sequence[int], solved: Sequence[int]
) -> list[MinEigenvalue | ValueError]:
    from lawsweep.kernels.eigmin.smallest import smallest_eigenvalues_batched

    n, solver = params.n_samples, params.solver
    starts: Any
    if solvers.first(solver, n, grams.dtype, grams.device).finds_all:
        starts = any_start(n).expand(len(solved), n)
    else:
        starts = [stream(seeds[k], "lanczos") for k in solved]
    return smallest_eigenvalues_batched(grams, starts=starts, solver=solver)
