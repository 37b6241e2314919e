"""What the cost function of an experiment states of the points of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lawsweep.core.cost import WORK
from lawsweep.core.errors import InvalidValueError, unknown_name
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
    found = _asked(plan)
    if plan.experiment.cost is None:
        return np.zeros(plan.n_points), np.zeros(plan.n_points)
    flops, memory = (_over_points(plan, name, getattr(found, name, None))
                     for name in ("flops", "memory_bytes"))  # fmt: skip
    return flops, memory


def stated_fused_bytes(plan: Plan) -> tuple[np.ndarray, bool]:
    """Bytes that each run of a fused batch holds on a GPU, (n_points,); whether that is stated for
    itself, and not the memory of a run alone.  Raises as ``stated_costs``.
    """
    found = _asked(plan)
    fused = getattr(found, "fused_bytes", None)
    if fused is not None:
        return _over_points(plan, "fused_bytes", fused), True
    if found is None:
        return np.zeros(plan.n_points), False
    return _over_points(plan, "memory_bytes", getattr(found, "memory_bytes", None)), False


def stated_work(plan: Plan) -> dict[str, np.ndarray]:
    """What a run of each point does, by kind of work (``core.cost.WORK``), (n_points,) each.

    Empty where no kinds are stated.  Raises as ``stated_costs``, and for a kind there is none of.
    """
    found = _asked(plan)
    work = getattr(found, "work", None) or {}
    for kind in work:
        if kind not in WORK:
            raise unknown_name("work", kind, WORK, f"the cost function of {plan.experiment.name}")
    return {kind: _over_points(plan, f"work[{kind!r}]", n) for kind, n in work.items()}


def _asked(plan: Plan) -> Any:
    """What the cost function answers; None where there is none."""
    cost = plan.experiment.cost
    if cost is None:
        return None
    columns = {
        n: c.astype(np.float64) if c.dtype.kind in "iu" else c
        for n, c in plan.over_points().items()
    }
    try:
        with np.errstate(all="ignore"):
            return cost(_Columns(columns))
    except Exception as error:  # noqa: BLE001  (a user's function)
        raise InvalidValueError(
            f"The cost function of {plan.experiment.name} failed: {type(error).__name__}: "
            f"{error}. It is called with arrays over the points; use numpy arithmetic."
        ) from None


def _over_points(plan: Plan, name: str, value: Any) -> np.ndarray:
    """A stated number of each point, finite and not negative."""
    try:
        if value is None:
            raise TypeError
        wide = np.broadcast_to(np.asarray(value, dtype=np.float64), (plan.n_points,))
    except (TypeError, ValueError):
        raise InvalidValueError(
            f"The cost function of {plan.experiment.name} must return "
            f"Cost(flops=..., memory_bytes=...) of numbers or arrays over the points; its "
            f"{name} is not. Use arithmetic that works on numpy arrays."
        ) from None
    return np.clip(np.nan_to_num(wide, nan=0.0), 0.0, 1e300)
