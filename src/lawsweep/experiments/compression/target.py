"""What ``compression`` is to minimise: target, kernel, tolerance, expected scale of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep import stream
from lawsweep.experiments.compression.params import Params
from lawsweep.experiments.compression.search import Search
from lawsweep.kernels.compression.theory import TargetMoments, expected_norm
from lawsweep.kernels.data.sampling import DTYPES
from lawsweep.kernels.data.target_rows import target_outputs, target_rows
from lawsweep.kernels.gaussian.arccos import HomogeneousKernel


@dataclass(frozen=True)
class Task:
    """One run: its target, and the search for its optimum."""

    seed: int
    w: Tensor
    alpha: Tensor
    moments: TargetMoments
    scale: float
    search: Search


def draw(params: Params, seed: int, device: str) -> tuple[Tensor, Tensor]:
    """Rows w (N, d) and alpha = a/N, (N,) or (N, K)."""
    n, dtype = params.n_target or 0, DTYPES[params.dtype]
    w = target_rows(
        params.target_rows,
        stream(seed, "target_rows"),
        n,
        params.input_dim,
        density=params.row_density,
        mean=params.row_mean,
        normalise=params.normalise_rows,
        centre=params.centre_rows,
        dtype=dtype,
        device=device,
    )
    rng = stream(seed, "target_outputs")
    a = target_outputs(params.target_outputs, rng, n, params.n_outputs, bias=params.output_bias)
    return w, (a / n).to(device=device, dtype=dtype)


def kernel_of(params: Params) -> HomogeneousKernel:
    """Of a homogeneous activation."""
    return HomogeneousKernel(params.slope)


def tolerance(params: Params) -> float:
    """``tol``, or by default the larger of 1e-10 and 64 eps: the latter counts in float32 only.

    A gradient sums terms of total size sum_i |a_i||w_i|/N, each rounded to eps, so eps of that is
    the least one can ask for (measured in float32: gradients stall at 0.3 to 15 eps).  64 leaves
    room for long sums, as for the least curvature that counts as negative (``minimise``).
    """
    if params.tol is not None:
        return params.tol
    return max(1e-10, 64 * float(torch.finfo(DTYPES[params.dtype]).eps))


def expected_scale(params: Params) -> float | None:
    """A = E a|w|; None where it depends on N (centred rows) or is not known (rows with a mean)."""
    if params.centre_rows or (params.row_mean and not params.normalise_rows):
        return None
    if params.normalise_rows:
        # A sparse row may be zero, and stays so.
        law, d, density = params.target_rows, params.input_dim, params.row_density
        zero = (1.0 - density) ** d if law == "sparse" and not params.row_mean else 0.0
        return params.mean_output * (1.0 - zero)
    norm = expected_norm(params.target_rows, params.input_dim, params.row_density)
    return params.mean_output * norm
