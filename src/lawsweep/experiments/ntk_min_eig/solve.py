"""From a prepared run of ntk_min_eig to its row: a named zero, or a solve with its evidence."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lawsweep import stream
from lawsweep.experiments.fields import ROW_LAWS
from lawsweep.experiments.ntk_min_eig.choice import is_stored
from lawsweep.experiments.ntk_min_eig.metrics import Metrics
from lawsweep.experiments.ntk_min_eig.params import Params
from lawsweep.experiments.ntk_min_eig.run import Prepared
from lawsweep.kernels.eigmin import solvers

TOLERANCE = 1e-3  # of the residual that a matrix-free solve is asked for, relative to its value

if TYPE_CHECKING:
    from lawsweep.kernels.ntk.rank import ZeroReason


def finished(params: Params, seed: int, run: Prepared) -> Metrics:
    """The row of a prepared run."""
    from lawsweep.kernels.ntk import gram as ntk

    facts = run.facts
    if run.zero is not None and not (params.n_lowest or params.full_spectrum):
        return exact_zero(run.zero, facts)
    if solvers.needs_rows(run.solver):
        return row(_by_rows(params, seed, run), facts)
    matrix = ntk.gram(run.take())
    # As many zeros as the rank leaves, and one at least where there is a reason for one.
    n_zero = max(params.n_samples - facts["rank_bound"], int(run.zero is not None))
    facts = {**facts, **_spectra(params, seed, matrix, n_zero)}
    if run.zero is not None:
        return exact_zero(run.zero, facts)
    return _solved(matrix, run.solver, seed, facts)


def exact_zero(zero: ZeroReason, facts: dict[str, Any]) -> Metrics:
    """The row of a kernel that is singular for a reason that can be named."""
    reason = zero.value
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
    """The row of a solve: a ``MinEigenvalue`` given the Gram's error, or a block's."""
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
        stop_reason=found.reason.value,
        n_iterations=found.n_iterations,
        converged=found.converged,
        certified=found.certified,
        sign_trusted=found.lower > facts["gram_error"],
        **facts,
    )


def _solved(matrix: Any, solver: str, seed: int, facts: dict[str, Any]) -> Metrics:
    from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue

    begins = solvers.first(solver, len(matrix), matrix.dtype, matrix.device)
    start = any_start(len(matrix)) if begins.finds_all else stream(seed, "lanczos")
    found = smallest_eigenvalue(matrix, start=start, solver=solver)
    return row(found.given_error(facts["gram_error"]), facts)


@lru_cache(maxsize=16)
def any_start(n_samples: int) -> Any:
    """A start for a solver that finds all eigenvalues: any serves, so one for all seeds.

    Another seed's kernel is independent of it; a stream a seed costs as much as a small Gram.
    """
    import torch

    return torch.from_numpy(stream(0, "lanczos").standard_normal(n_samples))


def _by_rows(params: Params, seed: int, run: Prepared) -> Any:
    """A solve that forms no K = J J^T; sharded: over the shards of where this runs, if it has any.

    The residual asked for is TOLERANCE times the value, which puts the value within about
    TOLERANCE^2 over the relative gap to the next eigenvalue; two starts have to agree.
    """
    from lawsweep.kernels.ntk.row_shard import NtkShards
    from lawsweep.worker.shards import HerePool, current

    solver, device = run.solver, run.weights[0].device
    weights = [w.cpu().double().numpy() for w in run.weights]
    make = NtkShards(
        params.n_samples,
        _rows(params, seed, run),
        params.network,
        weights,
        dtype=params.dtype,
        device=str(device),
        store=is_stored(params, solver, device),
    )
    pool = current() if solvers.line(solver).sharded else HerePool()
    with pool.open(make) as shards:
        return solvers.load(solver)(
            shards,
            key=int.from_bytes(stream(seed, "lanczos").bytes(16), "little"),
            layers=params.network.chosen,
            tol=TOLERANCE,
            n_starts=2,
            solver=solver,
        )


def _rows(params: Params, seed: int, run: Prepared) -> Any:
    """What gives the shards their inputs: those at hand in this process, elsewhere drawn anew.

    Inputs of other processes travel only where no law draws them.
    """
    from lawsweep.kernels.ntk.row_shard import DrawnRows, GivenRows

    if not solvers.line(run.solver).sharded:
        return GivenRows(run.x)
    if params.data in ROW_LAWS:
        return DrawnRows(params.data, stream(seed, "data"), params.input_dim)
    return GivenRows(run.x.cpu().double().numpy())


def _spectra(params: Params, seed: int, matrix: Any, n_zero: int) -> dict[str, Any]:
    """The lowest eigenvalues with their residuals, and all of them, where asked for.

    ``n_zero`` of the lowest are 0 for a reason.
    """
    import torch

    from lawsweep.kernels.eigmin.few import smallest_eigenvalues, spectrum

    out: dict[str, Any] = {}
    if params.n_lowest:
        found = smallest_eigenvalues(matrix, params.n_lowest, start=stream(seed, "lowest"))
        # A value that did not converge is no number.
        known = found.values.where(found.known, torch.nan)
        known[:n_zero] = 0.0
        out["lowest_eigenvalues"] = known.cpu().numpy()
        out["lowest_residuals"] = found.residuals.cpu().numpy()
        out["lowest_complete"] = found.complete
    if params.full_spectrum:
        out["spectrum"] = spectrum(matrix).cpu().numpy()
    return out
