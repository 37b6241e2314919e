"""Runs of ``compression`` with outputs absorbed in the rows: many seeds at once, or one.

All restarts of all seeds are minimised as one tensor; a single run is a batch of one seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep import Infeasible, stream
from lawsweep.experiments.compression.metrics import Metrics
from lawsweep.experiments.compression.params import FROM_TARGET, Params
from lawsweep.experiments.compression.rows import row
from lawsweep.experiments.compression.search import Search
from lawsweep.experiments.compression.target import (
    Task,
    draw,
    expected_scale,
    kernel_of,
    tolerance,
)
from lawsweep.kernels.compression.choice import dense_pays
from lawsweep.kernels.compression.norm import sampled_target_norm, target_norm
from lawsweep.kernels.compression.objective import HomogeneousObjective
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.simplified import ReducedLoss, SimplifiedLoss
from lawsweep.kernels.compression.solve import (
    Compression,
    frame_start,
    minimise_rows,
    sign_patterns,
)
from lawsweep.kernels.compression.theory import (
    TargetMoments,
    frame_holds,
    frame_norm,
    optimal_frame,
    quadratic_factor,
    target_moments,
)
from lawsweep.kernels.data.sampling import DTYPES
from lawsweep.kernels.optimise.minimise import Result
from lawsweep.kernels.optimise.restarts import by_risk, split, turned

DENSE_REDUCED = 2000


def prepare(params: Params, seed: int, device: str) -> Task:
    """Target, moments and where to search.  Raises Infeasible for a target that is zero."""
    w, alpha = draw(params, seed, device)
    kernel = kernel_of(params)
    moments = target_moments(w, alpha)
    scale = float(sum(a.abs() @ x.norm(dim=-1) for a, x in _parts(alpha, w)))
    if scale == 0.0:
        raise Infeasible("the target is zero: all its rows or output weights are zero")
    m, d = params.n_compressed, params.input_dim
    both = bool((alpha < 0).any()) and bool((alpha > 0).any())
    search = params.signs == "search" or (params.signs == "auto" and both)
    # Where the output weights cancel, A_N says nothing of the size of the optimum's rows.
    size, frame = max(abs(moments.scale), 0.3 * scale), None
    if params.start != "random" and m <= d + 1:
        mean = moments.mean if moments.scale >= 0 else -moments.mean
        frame = frame_start(m, size, mean, moments.eigenvectors, kernel).cpu()
    patterns = sign_patterns(m, moments.scale, search)
    found = Search(params, seed, patterns, size, frame, moments.scale, both)
    return Task(seed, w, alpha, moments, scale, found)


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
    shape = (params.n_compressed, params.input_dim)

    def batch(live: list[int], size: int) -> None:
        some = [tasks[i] for i in live]
        drawn = [t.search.draw(size) for t in some]
        result = _minimise_together(params, some, drawn)
        parts = split(result, [len(starts) for starts, _ in drawn])
        for task, part in zip(some, parts, strict=True):
            task.search.parts.append(part)

    plans = [t.search.sizes for t in tasks]
    by_risk(plans, batch, lambda i: tasks[i].search.enough(tasks[i].scale))
    found = [t.search.found(shape, t.scale) for t in tasks]
    others = _reduced_minima(params, tasks, found)
    rows = []
    for task, one, other in zip(tasks, found, others, strict=True):
        norm, error = _norm(params, task)
        rows.append(row(params, task, one, norm, error, other))
    return rows


def _minimise_together(
    params: Params, tasks: Sequence[Task], drawn: Sequence[tuple[Tensor, Tensor]]
) -> Result:
    """One batch of restarts (starts and signs) of each task."""
    kernel, d = kernel_of(params), params.input_dim
    counts = torch.tensor([len(starts) for starts, _ in drawn])
    group = torch.arange(len(tasks)).repeat_interleave(counts)
    starts = torch.cat([starts for starts, _ in drawn]).to(tasks[0].w)
    signs = torch.cat([signs for _, signs in drawn]).to(tasks[0].w)
    scale = torch.tensor([t.scale for t in tasks], dtype=torch.float64)[group].to(starts)
    each = [tasks[int(i)].moments for i in group]
    objective = _objective(params, tasks, signs, group, each)
    starts = turned(objective, starts.flatten(1), *starts.shape[1:]).reshape(starts.shape)
    if params.start == "reduced":
        reduced = _minimise(params, ReducedLoss(each, d, signs, kernel), starts, scale)
        good = reduced.converged.to(starts.device)[:, None, None]
        starts = torch.where(good, reduced.x.reshape(starts.shape), starts)
    return _minimise(params, objective, starts, scale)


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
    auto = "newton_cg" if known else None
    if isinstance(objective, ReducedLoss) and params.objective == "population":
        # The theory's own problem, not what ``solver`` speaks of.  Its orientation is soft by
        # differences of E_N's eigenvalues, so conjugate gradients need very many products.
        unknowns = params.n_compressed * params.input_dim
        chosen: str | None = "newton" if unknowns <= DENSE_REDUCED else "newton_cg"
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
        method=chosen,
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
    m, d = params.n_compressed, params.input_dim
    a = expected_scale(params)
    assert a is not None  # Params refuses what makes it unknown
    patterns, frame = sign_patterns(m, a, params.signs == "search"), None
    if params.start != "random" and m <= d + 1:
        basis = torch.eye(d, dtype=torch.float64)
        frame = frame_norm(abs(a), d, m, kernel) * optimal_frame(m, basis, kernel)
    searches = [Search(params, s, patterns, abs(a), frame, a, False) for s in seeds]

    def batch(live: list[int], size: int) -> None:
        drawn = [searches[i].draw(size) for i in live]
        starts = torch.cat([x for x, _ in drawn]).to(device=device, dtype=DTYPES[params.dtype])
        signs = torch.cat([x for _, x in drawn]).to(starts)
        scale = torch.full((len(starts),), abs(a), dtype=starts.dtype, device=starts.device)
        result = _minimise(params, SimplifiedLoss(a, d, signs, kernel), starts, scale)
        for i, part in zip(live, split(result, [len(x) for x, _ in drawn]), strict=True):
            searches[i].parts.append(part)

    by_risk([s.sizes for s in searches], batch, lambda i: searches[i].enough(abs(a)))
    norm = a * a * kernel.mean_factor(d)
    return [row(params, None, s.found((m, d), abs(a)), norm, None, None) for s in searches]
