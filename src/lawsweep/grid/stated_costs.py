"""What the cost function of an experiment states of the points of a plan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.plan import Plan


class _Columns:
    """The params as attributes, for a cost function."""

    def __init__(self, columns: Mapping[str, np.ndarray]):
        self.__dict__.update(columns)


def stated_costs(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Flops and bytes of each point, finite, (n_points,) both; zeros where nothing is stated.

    Whole numbers are handed to the cost function as float64: n**3 of a large n must not wrap
    around.  Raises InvalidValueError where it fails or answers no numbers.
    """
    cost = plan.experiment.cost
    if cost is None:
        return np.zeros(plan.n_points), np.zeros(plan.n_points)
    columns = {
        n: c.astype(np.float64) if c.dtype.kind in "iu" else c
        for n, c in plan.over_points().items()
    }
    try:
        with np.errstate(all="ignore"):
            found = cost(_Columns(columns))
    except Exception as error:  # noqa: BLE001  (a user's function)
        raise InvalidValueError(
            f"The cost function of {plan.experiment.name} failed: {type(error).__name__}: "
            f"{error}. It is called with arrays over the points; use numpy arithmetic."
        ) from None
    arrays = []
    for name in ("flops", "memory_bytes"):
        try:
            value = np.asarray(getattr(found, name), dtype=np.float64)
            arrays.append(np.broadcast_to(value, (plan.n_points,)))
        except (AttributeError, TypeError, ValueError):
            raise InvalidValueError(
                f"The cost function of {plan.experiment.name} must return "
                f"Cost(flops=..., memory_bytes=...) of numbers or arrays over the points; its "
                f"{name} is not. Use arithmetic that works on numpy arrays."
            ) from None
    flops, memory = (np.clip(np.nan_to_num(a, nan=0.0), 0.0, 1e300) for a in arrays)
    return flops, memory
