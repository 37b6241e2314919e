"""What a run is expected to cost, and how expected costs turn into seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# A core of today in float64 matrix products, and the fixed price of any run (call, draws, row).
# Only the first batches are sized by these; measured wall times replace them at once.
PRIOR_FLOPS_PER_S = 4e10
PRIOR_OVERHEAD_S = 2e-3


@dataclass(frozen=True)
class Cost:
    """Floating-point operations and peak memory of a run; floats, or arrays over many points."""

    flops: Any
    memory_bytes: Any = 0.0
