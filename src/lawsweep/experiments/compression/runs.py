"""Runs of ``compression``: many seeds at once, or one; all that is computed for their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from lawsweep import Infeasible, stream
from lawsweep.experiments.batches import caught
from lawsweep.experiments.compression.metrics import Metrics
from lawsweep.experiments.compression.params import Params
from lawsweep.experiments.compression.rows import Found, row
from lawsweep.experiments.compression.target import draw
from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.compression.compress import compress_all, nearest_reduced
from lawsweep.kernels.compression.frames import (
    FrameLosses,
    frame_losses,
    frames_fit,
    sphere_error,
)
from lawsweep.kernels.compression.norm import series_error
from lawsweep.kernels.compression.search import How
from lawsweep.kernels.compression.solve import Compression
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import frame_cosine

N_SUP_STARTS = 24
MOST_SUP_DIM = 1000
# What the objectives keep of the target: its degrees up to this.
DEGREES = {"simplified": 0, "simplified_target": 0, "simplified_mean": 1, "reduced": 2}


@dataclass(frozen=True)
class Task:
    """A run and its target."""

    params: Params
    seed: int
    target: Target


@full_precision()
def answers(runs: Sequence[tuple[Params, int]], device: str) -> list[Metrics | Exception]:
    """One answer a run; a target that cannot be compressed is its Infeasible.

    The runs differ in their seeds, their targets' laws and what is made of a row.
    """
    tasks = [caught(partial(prepare, params, seed, device)) for params, seed in runs]
    found = iter(_solve([t for t in tasks if isinstance(t, Task)]))
    return [next(found) if isinstance(t, Task) else t for t in tasks]


def prepare(params: Params, seed: int, device: str) -> Task:
    """The run's target.  Raises Infeasible where it is zero, or its fixed outputs are."""
    target = draw(params, seed, device)
    if target.is_zero:
        raise Infeasible("the target is zero: all its rows or output weights are zero")
    if params.student_outputs == "fixed" and target.mean_output_vanishes:
        raise Infeasible("fixed outputs are the target's mean output, which is zero; train them")
    return Task(params, seed, target)


def how_of(params: Params) -> How:
    """What the params say of the search."""
    simplified = params.objective in ("simplified", "simplified_target")
    return How(
        objective="simplified" if simplified else params.objective,  # type: ignore[arg-type]
        outputs=params.student_outputs,
        signs=params.signs,
        start=params.start,
        n_restarts=params.n_restarts,
        method=None if params.solver == "auto" else params.solver,
        tol=params.tol,
        max_iterations=params.max_iterations,
    )


def _solve(tasks: Sequence[Task]) -> list[Metrics | Exception]:
    if not tasks:
        return []
    params = tasks[0].params
    how, targets = how_of(params), [t.target for t in tasks]
    rngs = [stream(t.seed, "restarts") for t in tasks]
    best = compress_all(targets, params.n_compressed, rngs, how)
    reduced = _reduced_minima(params, targets, best, how)
    return [
        caught(partial(_row, task, one, minimum))
        for task, one, minimum in zip(tasks, best, reduced, strict=True)
    ]


def _row(task: Task, best: Compression, minimum: float | None) -> Metrics:
    return row(task.params, _measured(task.params, task, best, minimum))


def _reduced_minima(
    params: Params, targets: Sequence[Target], best: Sequence[Compression], how: How
) -> list[float | None]:
    """The minimum of each reduced objective that is nearest to the run's optimum."""
    if params.prediction != "reduced":
        return [None] * len(targets)
    signs, v = torch.stack([b.signs for b in best]), torch.stack([b.v for b in best])
    result = nearest_reduced(targets, signs, v.flatten(1), how)
    return [
        float(value) if good else None
        for value, good in zip(result.loss, result.converged, strict=True)
    ]


def _measured(params: Params, task: Task, best: Compression, reduced: float | None) -> Found:
    """Everything else that the row tells of one run."""
    target = task.target
    found = Found(target, best, reduced=reduced)
    if params.objective in DEGREES:
        found = replace(found, norm=target.norm_to_degree(DEGREES[params.objective]))
    elif params.target_norm_method == "sample":
        rng = stream(task.seed, "norm_pairs")
        value, error = target.sampled_norm(rng, params.n_norm_pairs)
        found = replace(found, norm=value, norm_se=error)
    elif params.target_norm_method == "exact":
        found = replace(found, norm=target.norm[0])
    if params.entry.closed is None:
        rest = series_error(target, best.v, best.outputs)
        exact = params.target_norm_method == "exact"
        found = replace(found, series_error=rest + (target.norm[1] if exact else 0.0))
    if params.compare_frames and params.mean_output != 0.0:
        frames, sup = _frames(params, task, best.v), _sup_error(task)
        found = replace(found, frames=frames, sup_error=sup)
    return found


def _frames(params: Params, task: Task, v: Tensor) -> FrameLosses | None:
    """The true loss of frames, where frames are simplices."""
    m, kernel = params.n_compressed, task.target.kernel
    if not frames_fit(m, params.input_dim) or frame_cosine(m, kernel) != -1.0 / (m - 1):
        return None
    return frame_losses(task.target, v, stream(task.seed, "frames"))


def _sup_error(task: Task) -> float | None:
    """How far h is from its mean over the sphere, from random and suggested directions."""
    target, of = task.target, task.target.moments
    d = target.dim
    if d > MOST_SUP_DIM:
        return None
    draws = torch.from_numpy(stream(task.seed, "sphere").standard_normal((N_SUP_STARTS, d)))
    starts = torch.cat([draws[: N_SUP_STARTS - 4], of.eigenvectors[:, :2].T.cpu().to(draws)])
    if float(of.mean.norm()) > 0:
        mean = of.mean[None].cpu().to(draws)
        starts = torch.cat([starts, mean, -mean])
    return sphere_error(target, starts.to(target.rows))[0]
