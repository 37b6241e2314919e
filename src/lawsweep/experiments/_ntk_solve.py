"""From a prepared run of ntk_min_eig to its row: a named zero, or a solve with its evidence."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep import stream
from lawsweep.experiments._ntk_metrics import Metrics
from lawsweep.experiments._ntk_params import MATRIX_FREE, Params
from lawsweep.experiments._ntk_run import Prepared

SHARE = 0.7  # of the free memory that a run may take
SMALL_BYTES = 1e9  # what every machine has
TOLERANCE = 1e-3  # of the residual that a matrix-free solve is asked for, relative to its value

if TYPE_CHECKING:
    from lawsweep.kernels.ntk_rank import ZeroReason


def finished(params: Params, seed: int, run: Prepared) -> Metrics:
    """The row of a prepared run."""
    from lawsweep.kernels import ntk

    facts = run.facts
    if run.zero is not None and not (params.n_lowest or params.full_spectrum):
        return exact_zero(run.zero, facts)
    solver = chosen_solver(params, run)
    lin = run.take()
    if solver in MATRIX_FREE:
        del lin  # its shards make their own, row by row
        return row(_matrix_free(params, seed, run, solver), facts)
    matrix = ntk.gram(lin, run.layers)
    del lin
    facts = {**facts, **_spectra(params, seed, matrix)}
    if run.zero is not None:
        return exact_zero(run.zero, facts)
    return _solved(matrix, solver, seed, facts)


def exact_zero(zero: ZeroReason, facts: dict[str, Any]) -> Metrics:
    """The row of a kernel that is singular for a reason that can be named."""
    reason = str(zero)
    return Metrics(
        lambda_min=0.0,
        lambda_min_lower=0.0,
        lambda_min_upper=0.0,
        residual=0.0,
        lambda_max=None,
        condition_number=None,
        zero_reason=reason,
        solver_used="exact",
        stop_reason=reason,
        n_iterations=0,
        converged=True,
        certified=True,
        sign_trusted=True,
        **facts,
    )


def row(found: Any, facts: dict[str, Any]) -> Metrics:
    """The row of a solve (an ``eigmin.MinEigenvalue``)."""
    positive = found.value > 0.0
    return Metrics(
        lambda_min=found.value,
        lambda_min_lower=found.lower,
        lambda_min_upper=found.upper,
        residual=found.residual,
        lambda_max=found.lambda_max,
        condition_number=found.lambda_max / found.value if positive else None,
        zero_reason=None,
        solver_used=found.solver,
        stop_reason=str(found.reason),
        n_iterations=found.n_iterations,
        converged=found.converged,
        certified=found.certified,
        sign_trusted=found.lower > facts["gram_error"],
        **facts,
    )


def _solved(matrix: Any, solver: str, seed: int, facts: dict[str, Any]) -> Metrics:
    from lawsweep.kernels.eigmin import smallest_eigenvalue

    dense = is_dense(solver, len(matrix))
    start = dense_start(len(matrix)) if dense else stream(seed, "lanczos")
    return row(smallest_eigenvalue(matrix, start=start, solver=solver), facts)


def is_dense(solver: str, n_samples: int) -> bool:
    """Whether this solver finds all eigenvalues at this size."""
    from lawsweep.kernels.eigmin import DENSE_BELOW

    return solver == "dense" or (solver == "auto" and n_samples < DENSE_BELOW)


@lru_cache(maxsize=16)
def dense_start(n_samples: int) -> Any:
    """The vector that a dense solve turns into the eigenvector: any serves, so one for all seeds.

    Another seed's kernel is independent of it; a stream a seed costs as much as a small Gram.
    """
    import torch

    return torch.from_numpy(stream(0, "lanczos").standard_normal(n_samples))


def chosen_solver(params: Params, run: Prepared) -> str:
    """``auto`` as it is where K and a factor of it fit the device, else matrix_free or sharded."""
    from lawsweep.core.memory import memory_share
    from lawsweep.core.shards import current
    from lawsweep.kernels.eigmin_choice import choose_solver, matrix_bytes

    asks_for_matrix = params.n_lowest or params.full_spectrum
    # The question costs a system call; a small problem is not worth one.
    size = run.x.element_size()
    small = matrix_bytes(params.n_samples, size) < SMALL_BYTES
    if params.solver != "auto" or asks_for_matrix or small:
        return params.solver
    return choose_solver(
        params.n_samples,
        params.layer_widths,
        SHARE * memory_share() * _free_bytes(run.x.device),
        itemsize=size,
        n_shards=current().n_shards,
    )


def _free_bytes(device: Any) -> float:
    if device.type == "cuda":
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    import psutil

    from lawsweep.kernels import workspace

    workspace.release()
    return float(psutil.virtual_memory().available)


def _matrix_free(params: Params, seed: int, run: Prepared, solver: str) -> Any:
    """Davidson on K = J J^T; ``sharded``: over the shards of where this runs, one if it has none.

    The residual asked for is TOLERANCE times the value, which puts the value within about
    TOLERANCE^2 over the relative gap to the next eigenvalue; two starts have to agree.
    """
    from lawsweep.core.shards import HerePool, current
    from lawsweep.kernels.eigmin_block import smallest_eigenvalue_block
    from lawsweep.kernels.networks import ntk_scales
    from lawsweep.kernels.row_shard import GivenRows, NtkShards

    weights = [w.cpu().double().numpy() for w in run.weights]
    scales = None
    if params.parameterisation == "ntk" and not params.conjugate:
        scales = ntk_scales(params.layer_widths, params.layer_betas)
    layers = run.layers or tuple(range(1, params.depth + 1))
    biased = params.bias and not params.conjugate
    make = NtkShards(
        params.n_samples,
        GivenRows(run.x.cpu().double().numpy()),
        weights,
        params.activation,
        [np.zeros(w.shape[1]) for w in weights] if biased else None,
        layers,
        scales,
        params.dtype,
        str(run.x.device),
    )
    pool = current() if solver == "sharded" else HerePool()
    with pool.open(make) as shards:
        return smallest_eigenvalue_block(
            shards,
            key=int.from_bytes(stream(seed, "lanczos").bytes(16), "little"),
            layers=layers,
            tol=TOLERANCE,
            n_starts=2,
            solver=solver,
        )


def _spectra(params: Params, seed: int, matrix: Any) -> dict[str, Any]:
    """The lowest eigenvalues with their residuals, and all of them, where asked for."""
    from lawsweep.kernels.eigmin_few import smallest_eigenvalues, spectrum

    out: dict[str, Any] = {}
    if params.n_lowest:
        found = smallest_eigenvalues(matrix, params.n_lowest, start=stream(seed, "lowest"))
        values = found.values.cpu().numpy()
        # A value that did not converge is no number.
        out["lowest_eigenvalues"] = values if found.converged else np.full_like(values, np.nan)
        out["lowest_residuals"] = found.residuals.cpu().numpy()
        out["lowest_complete"] = found.complete
    if params.full_spectrum:
        out["spectrum"] = spectrum(matrix).cpu().numpy()
    return out
