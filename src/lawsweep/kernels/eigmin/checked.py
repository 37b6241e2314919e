"""What smallest_eigenvalue is given: checked, scaled into a safe range, and a start vector."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.crew import Crew
from lawsweep.kernels.base.names import check_name

# Inverse iteration squares numbers up to 1 / lambda_min, so entries are held within this power of
# the largest number of their type (1e-77 .. 1e77 in float64, 2e-10 .. 4e9 in float32).
SAFE_RANGE = 0.25
NORM_ROWS = 512  # torch takes the norm of a whole matrix with one thread: a thread takes so many
SOLVERS = ("auto", "dense", "cholesky_lanczos", "mixed")


def default_tol(dtype: torch.dtype) -> float:
    """Relative residual asked of a pair: some eigenvalue of K lies so close to the value.

    It is lambda_min, and the error of the residual squared over the gap, unless a second eigenvalue
    lies between the proved lower bound and the value: of eigenvalues closer together than the
    proof can tell (``cholesky_margin``) the value may be any.
    """
    return 1e-10 if dtype is torch.float64 else math.sqrt(torch.finfo(dtype).eps)


def gamma(k: int, dtype: torch.dtype) -> float:
    """gamma_k = k u / (1 - k u), the relative rounding of k operations in a row; inf past 1/u."""
    unit = float(torch.finfo(dtype).eps) / 2
    return k * unit / (1.0 - k * unit) if k * unit < 1.0 else math.inf


def checked(matrix: Tensor, solver: str) -> Tensor:
    """``matrix``; ValueError for a bad shape, type or solver."""
    check_name("solver", solver, SOLVERS)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"expected a square matrix (N, N), got shape {tuple(matrix.shape)}")
    if matrix.dtype not in (torch.float64, torch.float32):
        raise ValueError(f"expected float64 or float32, got {matrix.dtype}; convert the matrix")
    return matrix


def scaled(matrix: Tensor) -> tuple[Tensor, float, float]:
    """(K / s, ||K / s||_F, s), s a power of 2 that brings K within SAFE_RANGE, mostly 1.

    A power of 2 changes no digit but those below the range: entries under 2^-1022 (2^-126 in
    float32) after scaling, of no account beside the largest, about 1.
    """
    high = torch.finfo(matrix.dtype).max ** SAFE_RANGE
    norm = _norm(matrix)  # finite only if every entry is: no N^2 temporary
    if 1.0 / high <= norm <= high:
        return matrix, norm, 1.0
    least, most = torch.aminmax(matrix)
    size = max(abs(float(least)), abs(float(most)))
    if not math.isfinite(size):
        raise ValueError("the matrix has NaN or infinite entries; check what built it")
    if size == 0.0:
        return matrix, 0.0, 1.0
    exponent = math.frexp(size)[1] - 1
    # 2^-exponent may not be a number of this type (for subnormal entries): two factors are.
    half = exponent // 2
    matrix = (matrix * 2.0**-half).mul_(2.0 ** (half - exponent))
    return matrix, _norm(matrix), 2.0**exponent


def _norm(matrix: Tensor) -> float:
    parts = matrix.split(NORM_ROWS if matrix.device.type == "cpu" else len(matrix))
    norms = matrix.new_empty(len(parts))
    with Crew(min(torch.get_num_threads(), len(parts))) as crew:
        pairs = zip(parts, norms, strict=True)
        crew.run(partial(torch.linalg.vector_norm, part, out=norm) for part, norm in pairs)
    return float(norms.norm())


def start_vector(
    matrix: Tensor, norm: float, start: np.random.Generator | Tensor
) -> tuple[Tensor, Tensor]:
    """The start vector v, of unit norm, and K v.

    ValueError for a bad one or a matrix that it shows lopsided.
    """
    n = matrix.shape[0]
    if isinstance(start, np.random.Generator):
        start = torch.from_numpy(start.standard_normal(n))
    vector = start.to(device=matrix.device, dtype=matrix.dtype)
    if vector.shape != (n,) or not bool(torch.isfinite(vector).all()) or not bool(vector.any()):
        raise ValueError(f"the start must be {n} finite numbers, not all 0")
    vector = vector / vector.abs().amax()  # so that its norm neither over- nor underflows
    vector = vector / vector.norm()
    # K v = K^T v for one vector tells a non-symmetric matrix apart without an N^2 temporary.
    # Either product is off by at most gamma_N | |K| |v| | <= gamma_N ||K||_F |v|.
    image = matrix @ vector
    gap = float((image - vector @ matrix).norm())
    if gap > 2.0 * gamma(n, matrix.dtype) * norm:
        raise ValueError("the matrix is not symmetric; pass (K + K.T) / 2 if that is meant")
    return vector, image
