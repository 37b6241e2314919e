"""How fast is a core here?  A prior for seconds, until rows have been measured."""

from __future__ import annotations

import functools
import os
import time

from lawsweep.core.cost import PRIOR_FLOPS_PER_S

SIZE = 768
SECONDS = 0.15


@functools.cache
def core_flops_per_s() -> float:
    """Float64 matrix-product rate of one core, measured once a process in about 0.2 s.

    numpy may use all cores for it, so the rate is divided by their number; within the bounds of
    what a core can be (a machine that is busy must not make a plan look endless).
    """
    import numpy as np

    a = np.ones((SIZE, SIZE))
    b = a @ a  # the first product also starts the threads
    n, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        np.matmul(a, a, out=b)
        n += 1
    rate = n * 2.0 * SIZE**3 / elapsed / len(os.sched_getaffinity(0))
    return min(max(rate, PRIOR_FLOPS_PER_S / 10), PRIOR_FLOPS_PER_S * 10)
