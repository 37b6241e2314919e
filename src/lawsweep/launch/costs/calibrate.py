"""How fast is a core here?  A prior for seconds, until rows have been measured."""

from __future__ import annotations

import functools
import time

from lawsweep.core.cost import PRIOR_FLOPS_PER_S

# Small enough that no BLAS shares a product among threads, which then wait for each other wherever
# another process holds a core; large enough for some four fifths of a large product's rate.
SIZE, STACK = 64, 20
SECONDS = 0.1
REACHED = 0.7  # share of that rate which the runs of large sweeps reached (0.64 to 0.72)


@functools.cache
def core_flops_per_s() -> float:
    """Float64 flops a second that runs reach on one core, measured once a process in about 0.1 s.

    By the fastest of many products: what others take of the machine meanwhile is not what a core
    can do.  Within the bounds of what a core can be.
    """
    import numpy as np

    a = np.ones((STACK, SIZE, SIZE))
    b = a @ a
    fastest, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        np.matmul(a, a, out=b)
        fastest = min(fastest, time.perf_counter() - start)
    rate = REACHED * STACK * 2.0 * SIZE**3 / fastest
    return min(max(rate, PRIOR_FLOPS_PER_S / 10), PRIOR_FLOPS_PER_S * 10)
