"""What a run is expected to cost, and how expected costs turn into seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# A core of today in float64 matrix products, and the fixed price of any run (call, draws, row).
# Only the first batches are sized by these; measured wall times replace them at once.
PRIOR_FLOPS_PER_S = 4e10
PRIOR_OVERHEAD_S = 2e-3

# The kinds of work, each with a rate of its own on every device (``launch.costs.rates``), and the
# unit that it is stated in.
WORK = {
    "matmul_float64": "flops",
    "matmul_float32": "flops",
    "cholesky_float64": "flops",
    "cholesky_float32": "flops",
    "solve_float64": "flops",
    "solve_float32": "flops",
    "bandwidth": "bytes",
    "launch": "operations",
    "draws": "normals",
}


@dataclass(frozen=True)
class Cost:
    """Floating-point operations and peak memory of a run; floats, or arrays over many points.

    ``flops``: as many of a large float64 matrix product as take a CPU's core so long.  ``work``:
    what a run does, by kind (``WORK``): flops of matrix products, of factorisations (Cholesky's,
    or eigenvalues'), of triangular solves with one vector; bytes that are passed over beside them;
    operations that are sent to the device one by one; normal numbers that are drawn on the host.
    It is what ``lawsweep plan --on gpus=8:H100`` prices; without it that takes all flops for
    products.  ``fused_bytes``: what each run of a fused batch holds on a GPU, where that is not
    ``memory_bytes``.
    """

    flops: Any = 0.0
    memory_bytes: Any = 0.0
    work: Mapping[str, Any] = field(default_factory=dict)
    fused_bytes: Any = None
