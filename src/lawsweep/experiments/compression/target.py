"""What ``compression`` is to fit: the target that a run draws, and the scale that is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep import stream
from lawsweep.experiments.compression.params import Params

if TYPE_CHECKING:
    from lawsweep.kernels.compression.target import Target


def draw(params: Params, seed: int, device: str) -> Target:
    """Rows w (N, d) and alpha = a/N; for the simplified problem the limit that it stands for."""
    from lawsweep.kernels.compression.target import Target
    from lawsweep.kernels.data.sampling import DTYPES
    from lawsweep.kernels.data.target_rows import target_outputs, target_rows

    dtype, n, d = DTYPES[params.dtype], params.n_target, params.input_dim
    if n is None:
        from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel

        scale = expected_scale(params)
        assert scale is not None  # Params refuses what makes it unknown
        return Target.averaged(scale, d, HomogeneousKernel(params.slope), dtype, device)
    w = target_rows(
        params.target_rows,
        stream(seed, "target_rows"),
        n,
        d,
        density=params.row_density,
        mean=params.row_mean,
        normalise=params.normalise_rows,
        centre=params.centre_rows,
        dtype=dtype,
        device=device,
    )
    rng = stream(seed, "target_outputs")
    a = target_outputs(params.target_outputs, rng, n, params.n_outputs, bias=params.output_bias)
    return Target.of(w, (a / n).to(device=device, dtype=dtype), params.entry)


def expected_scale(params: Params) -> float | None:
    """A = E a|w|; None where it depends on N (centred rows) or is not known (rows with a mean)."""
    from lawsweep.kernels.compression.theory import expected_norm

    if params.centre_rows or (params.row_mean and not params.normalise_rows):
        return None
    if params.normalise_rows:
        # A sparse row may be zero, and stays so.
        law, d, density = params.target_rows, params.input_dim, params.row_density
        zero = (1.0 - density) ** d if law == "sparse" and not params.row_mean else 0.0
        return params.mean_output * (1.0 - zero)
    norm = expected_norm(params.target_rows, params.input_dim, params.row_density)
    return params.mean_output * norm
