"""Runs of ``compression`` with outputs absorbed in the rows: many seeds at once, or one.

All restarts of all seeds are minimised as one tensor; a single run is a batch of one seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep import Infeasible, stream
from lawsweep.experiments._compression_metrics import Metrics
from lawsweep.experiments._compression_params import FROM_TARGET, Params
from lawsweep.experiments._compression_rows import row
from lawsweep.experiments._compression_target import (
    Task,
    draw,
    expected_scale,
    kernel_of,
    tolerance,
)
from lawsweep.kernels.compression import PopulationLoss
from lawsweep.kernels.compression_choice import dense_pays
from lawsweep.kernels.compression_norm import sampled_target_norm, target_norm
from lawsweep.kernels.compression_objective import HomogeneousObjective
from lawsweep.kernels.compression_simplified import ReducedLoss, SimplifiedLoss
from lawsweep.kernels.compression_solve import (
    Compression,
    choose,
    frame_start,
    minimise_rows,
    random_starts,
    sign_patterns,
)
from lawsweep.kernels.compression_theory import (
    TargetMoments,
    frame_holds,
    frame_norm,
    optimal_frame,
    quadratic_factor,
    target_moments,
)
from lawsweep.kernels.minimise import Result, Solver
from lawsweep.kernels.sampling import DTYPES

DENSE_REDUCED = 2000


def prepare(params: Params, seed: int, device: str) -> Task:
    """Target, moments and starts.  Raises Infeasible for a target that is zero."""
    w, alpha = draw(params, seed, device)
    kernel = kernel_of(params)
    moments = target_moments(w, alpha)
    scale = float(sum(a.abs() @ x.norm(dim=-1) for a, x in _parts(alpha, w)))
    if scale == 0.0:
        raise Infeasible("the target is zero: all its rows or output weights are zero")
    m, d, n = params.n_compressed, params.input_dim, params.n_restarts
    both = bool((alpha < 0).any()) and bool((alpha > 0).any())
    search = params.signs == "search" or (params.signs == "auto" and both)
    patterns = sign_patterns(m, moments.scale, search)
    # Where the output weights cancel, A_N says nothing of the size of the optimum's rows.
    size = max(abs(moments.scale), 0.3 * scale)
    starts = random_starts(stream(seed, "restarts"), n * len(patterns), m, d, size, kernel)
    if params.start != "random" and m <= d + 1:
        turned = moments.mean if moments.scale >= 0 else -moments.mean
        starts[0] = frame_start(m, size, turned, moments.eigenvectors, kernel).cpu()
    return Task(seed, w, alpha, moments, scale, starts, patterns.repeat_interleave(n, 0))


def _parts(alpha: Tensor, w: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(alpha.split(1 << 15), w.split(1 << 15), strict=True))


def population(params: Params, seeds: Sequence[int], device: str) -> list[Metrics | Exception]:
    """One answer a seed; a target that is zero is its Infeasible."""
    tasks: list[Task] = []
    answers: dict[int, Metrics | Exception] = {}
    for i, seed in enumerate(seeds):
        try:
            tasks.append(prepare(params, seed, device))
        except Infeasible as none:
            answers[i] = none
    if tasks:
        found = iter(_solve(params, tasks))
        for i in range(len(seeds)):
            if i not in answers:
                answers[i] = next(found)
    return [answers[i] for i in range(len(seeds))]


def _solve(params: Params, tasks: Sequence[Task]) -> list[Metrics]:
    kernel, d = kernel_of(params), params.input_dim
    first = tasks[0]
    counts = [len(t.starts) for t in tasks]
    group = torch.arange(len(tasks)).repeat_interleave(torch.tensor(counts))
    signs = torch.cat([t.signs for t in tasks]).to(first.w)
    starts = torch.cat([t.starts for t in tasks]).to(first.w)
    scale = torch.tensor([t.scale for t in tasks], dtype=torch.float64)[group].to(first.w)
    each = [tasks[int(i)].moments for i in group]
    if params.start == "reduced":
        reduced = _minimise(params, ReducedLoss(each, d, signs, kernel), starts, scale)
        good = reduced.converged.to(starts.device)[:, None, None]
        starts = torch.where(good, reduced.x.reshape(starts.shape), starts)
    objective = _objective(params, tasks, signs, group, each)
    result = _minimise(params, objective, starts, scale)
    ends = [sum(counts[: i + 1]) for i in range(len(counts))]
    parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    found = [choose(result, starts.shape[1:], signs, scale, part) for part in parts]
    others = _reduced_minima(params, tasks, found)
    rows = []
    for task, one, other in zip(tasks, found, others, strict=True):
        norm, error = _norm(params, task)
        rows.append(row(params, task, one, norm, error, other))
    return rows


def _reduced_minima(
    params: Params, tasks: Sequence[Task], found: Sequence[Compression]
) -> list[float | None]:
    """The minimum of each reduced objective that is nearest to the run's optimum."""
    if params.prediction != "reduced":
        return [None] * len(tasks)
    signs, v = torch.stack([f.signs for f in found]), torch.stack([f.v for f in found])
    moments = [t.moments for t in tasks]
    loss = ReducedLoss(moments, params.input_dim, signs, kernel_of(params))
    scale = torch.tensor([t.scale for t in tasks], dtype=torch.float64).to(v)
    result = _minimise(params, loss, v, scale)
    return [
        float(value) if good else None
        for value, good in zip(result.loss, result.converged, strict=True)
    ]


def _objective(
    params: Params,
    tasks: Sequence[Task],
    signs: Tensor,
    group: Tensor,
    each: list[TargetMoments],
) -> HomogeneousObjective:
    kernel, d = kernel_of(params), params.input_dim
    if params.objective == "population":
        if len(tasks) == 1:
            return PopulationLoss(tasks[0].w, tasks[0].alpha, signs, kernel)
        w, alpha = torch.stack([t.w for t in tasks]), torch.stack([t.alpha for t in tasks])
        return PopulationLoss(w, alpha, signs, kernel, group=group, consume=True)
    if params.objective == "reduced":
        return ReducedLoss(each, d, signs, kernel)
    scale = torch.tensor([x.scale for x in each], dtype=torch.float64)
    linear = params.objective == "simplified_mean"
    mean = torch.stack([x.mean for x in each]) if linear else None
    return SimplifiedLoss(scale, d, signs, kernel, mean)


def _minimise(
    params: Params, objective: HomogeneousObjective, starts: Tensor, scale: Tensor
) -> Result:
    # For a frame that exists the bound L* proves an optimum; no Hessian's eigenvalues are needed.
    known = type(objective) is SimplifiedLoss and params.objective != "simplified_mean"
    known &= frame_holds(params.n_compressed, params.input_dim, kernel_of(params))
    auto: Solver | None = "newton_cg" if known else None
    chosen: Solver | None
    if isinstance(objective, ReducedLoss) and params.objective == "population":
        # The theory's own problem, not what ``solver`` speaks of.  Its orientation is soft by
        # differences of E_N's eigenvalues, so conjugate gradients need very many products.
        unknowns = params.n_compressed * params.input_dim
        chosen = "newton" if unknowns <= DENSE_REDUCED else "newton_cg"
    elif params.solver == "auto" and params.objective == "population":
        sizes = (params.n_target or 0, params.n_compressed, params.input_dim)
        chosen = "newton" if dense_pays(*sizes) else "newton_cg"
    else:
        chosen = auto if params.solver == "auto" else params.solver
    return minimise_rows(
        objective,
        starts.flatten(1),
        n_rows=params.n_compressed,
        scale=scale,
        tol=tolerance(params),
        max_iterations=params.max_iterations,
        solver=chosen,
    )


def _norm(params: Params, task: Task) -> tuple[float | None, float | None]:
    """E f^2 of what the objective stands for, and its standard error where it was sampled."""
    kernel, d, of = kernel_of(params), params.input_dim, task.moments
    if params.objective in FROM_TARGET:
        value = of.scale**2 * kernel.mean_factor(d)
        if params.objective != "simplified_target":
            value += kernel.linear * float(of.mean @ of.mean)
        if params.objective == "reduced":
            value += quadratic_factor(d, kernel) * float(of.eigenvalues.square().sum())
        return value, None
    if params.target_norm_method == "skip":
        return None, None
    if params.target_norm_method == "sample":
        rng = stream(task.seed, "norm_pairs")
        return sampled_target_norm(task.w, task.alpha, rng, params.n_norm_pairs, kernel)
    return target_norm(task.w, task.alpha, kernel), None


def simplified(params: Params, seeds: Sequence[int], device: str) -> list[Metrics | Exception]:
    """The simplified problem at A = E a|w|: the target is averaged away, seeds draw starts."""
    kernel = kernel_of(params)
    m, d, n = params.n_compressed, params.input_dim, params.n_restarts
    a = expected_scale(params)
    assert a is not None  # Params refuses what makes it unknown
    patterns = sign_patterns(m, a, params.signs == "search")
    count = n * len(patterns)
    starts = torch.cat(
        [random_starts(stream(s, "restarts"), count, m, d, abs(a), kernel) for s in seeds]
    )
    if params.start != "random" and m <= d + 1:
        frame = optimal_frame(m, torch.eye(d, dtype=torch.float64), kernel)
        starts[::count] = frame_norm(abs(a), d, m, kernel) * frame
    dtype = DTYPES[params.dtype]
    starts = starts.to(device=device, dtype=dtype)
    signs = patterns.repeat_interleave(n, 0).repeat(len(seeds), 1).to(starts)
    scale = torch.full((len(starts),), abs(a), dtype=dtype, device=starts.device)
    result = _minimise(params, SimplifiedLoss(a, d, signs, kernel), starts, scale)
    norm = a * a * kernel.mean_factor(d)
    rows: list[Metrics | Exception] = []
    for i in range(len(seeds)):
        part = slice(i * count, (i + 1) * count)
        found = choose(result, starts.shape[1:], signs, scale, part)
        rows.append(row(params, None, found, norm, None, None))
    return rows
