"""The size above which runs fail: out of memory, over their time, infeasible.

Two hypotheses of the runs that failed so: they fail by chance, equally often at any size; or they
fail by chance below a limit, and always from it on.  How often by chance is not known.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_BY_CHANCE = np.array([0.02, 0.1, 0.3, 0.6])
LIKELY, SURE = 3.0, 20.0  # odds at which a limit is avoided, and taken for one


def find_limit(told: Mapping[int, tuple[int, int]]) -> tuple[int | None, bool]:
    """The first candidate at which runs always fail, and whether that is sure.

    ``told`` has of each candidate the runs that went well and those that failed for their size.
    None where chance explains as much.
    """
    n_well = sum(well for well, _ in told.values())
    n_failed = sum(failed for _, failed in told.values())
    last_well = max((c for c, (well, _) in told.items() if well), default=-1)
    above = [c for c, (_, failed) in told.items() if failed and c > last_well]
    if not above:
        return None, False
    n_above = sum(told[c][1] for c in above)
    odds = _likelihood(n_failed - n_above, n_well) / _likelihood(n_failed, n_well)
    return (min(above) if odds >= LIKELY else None), odds >= SURE


def _likelihood(n_failed: int, n_well: int) -> float:
    return float(np.mean(_BY_CHANCE**n_failed * (1 - _BY_CHANCE) ** n_well))
