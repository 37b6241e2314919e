"""When two values are the same: bit for bit, to a tolerance, or but for rounding that is amplified.

Whether a value that came out otherwise is explained by rounding is seen by doing the run again
with draws that are off in the last bit (``core.randomness.nudges``).  What that moves is not
determined by the problem beyond so many digits, and another processor moves it likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.core.circumstances import EPS
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Outcome
from lawsweep.core.randomness.nudges import nudged

if TYPE_CHECKING:
    import numpy as np

N_NUDGES = 3
# Of a run that amplifies rounding, before what is left counts as a difference: a ReLU that changes
# side or a check that ends the training is a jump, which few nudges may not make.
N_MORE = 9
# Another library may round some of a run's operations several times worse than once in its data.
SHARE = 10.0


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric (or array) that came out otherwise; ``relative`` is None where it has no sense."""

    name: str
    recorded: Any
    now: Any
    relative: float | None = None


def same_value(a: Any, b: Any, tolerance: float | None = None) -> bool:
    """Whether two values are the same, real numbers bit for bit or to a relative tolerance.

    NaN is the same as NaN, and differs from a missing value; 0.0 differs from -0.0 bit for bit.
    """
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(
            same_value(x, y, tolerance) for x, y in zip(a, b, strict=True)
        )
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        if tolerance is None:
            return a.hex() == b.hex()
        return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b)) < math.inf
    return type(a) is type(b) and bool(a == b)


def relative_difference(a: Any, b: Any) -> float | None:
    """``|a - b| / max(|a|, |b|)`` of two finite numbers, None for anything else."""
    for value in (a, b):
        if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
            return None
    largest = max(abs(a), abs(b))
    return abs(a - b) / largest if largest else 0.0


def compare_arrays(
    recorded: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray], tolerance: float | None
) -> list[Difference]:
    """A Difference for each array that has another shape, or entries that differ."""
    found = []
    for name in sorted({*recorded, *now}):
        a, b = recorded.get(name), now.get(name)
        if a is None or b is None or a.shape != b.shape:
            found.append(Difference(name=name, recorded=_shape(a), now=_shape(b)))
            continue
        pairs = list(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
        bad = [(x, y) for x, y in pairs if not same_value(x, y, tolerance)]
        if bad:
            worst = max(bad, key=lambda p: relative_difference(*p) or 0.0)
            text = f"{len(bad):,} of {a.size:,} entries differ, the worst"
            found.append(
                Difference(
                    name=name,
                    recorded=f"{text} {worst[0]!r}",
                    now=f"{worst[1]!r}",
                    relative=relative_difference(*worst),
                )
            )
    return found


def _shape(array: np.ndarray | None) -> str:
    return "missing" if array is None else f"an array of shape {tuple(array.shape)}"


@dataclass(frozen=True, kw_only=True)
class Amplified:
    """A metric that differs as rounding alone moves it here.

    ``moved`` is by how much, relative, draws off by an eps moved it (None: it is no number, and
    they changed it).  ``from_step`` is the first of its steps, if it has any, that may differ.
    """

    name: str
    recorded: Any
    now: Any
    moved: float | None
    from_step: int | None = None


def nudged_outcomes(run: Callable[[], Outcome], dtype: str) -> list[Outcome]:
    """The run again with nudged draws; the first is not nudged, and should be what is known."""
    found = [run()]
    for kind in range(1, N_NUDGES + 1):
        with nudged(EPS[dtype], kind):
            found.append(run())
    return found


def more_nudged_outcomes(run: Callable[[], Outcome], dtype: str) -> list[Outcome]:
    """The run with the nudges that come after those of ``nudged_outcomes``."""
    found = []
    for kind in range(N_NUDGES + 1, N_NUDGES + N_MORE + 1):
        with nudged(EPS[dtype], kind):
            found.append(run())
    return found


def explained(
    differences: Sequence[Difference],
    now: Outcome,
    others: Sequence[Outcome],
    experiment: Experiment,
    tolerance: float,
) -> tuple[list[Difference], list[Amplified]]:
    """Of ``differences`` those that rounding does not explain, and those that it does.

    ``others`` are the outcomes of the run with nudged draws.
    """
    steps = {s.name: s.info.steps for s in experiment.metrics}
    left, amplified = [], []
    for d in differences:
        values = [_value(now, d.name), *(_value(o, d.name) for o in others)]
        found = _amplified(d, values, steps.get(d.name, ()), tolerance)
        if found is None:
            left.append(d)
        else:
            amplified.append(found)
    return left, amplified


def _value(outcome: Outcome, name: str) -> Any:
    if name in (outcome.arrays or {}):
        array = (outcome.arrays or {})[name]
        return array.shape, *array.ravel().tolist()
    return (outcome.metrics or {}).get(name)


def _amplified(
    d: Difference, values: Sequence[Any], steps: Sequence[int], tolerance: float
) -> Amplified | None:
    now, others = values[0], values[1:]
    if isinstance(now, list | tuple) and isinstance(d.recorded, list | tuple):
        first = _first_apart(d.recorded, now, others, tolerance)
        if first is None:
            return None
        at = steps[first] if first < len(steps) else None
        return Amplified(name=d.name, recorded=d.recorded, now=now, moved=None, from_step=at)
    by = [relative_difference(now, other) for other in others]
    if d.relative is not None and None not in by:
        moved = max(b for b in by if b is not None)
        if moved <= tolerance / SHARE or d.relative > SHARE * moved:
            return None
        return Amplified(name=d.name, recorded=d.recorded, now=d.now, moved=moved)
    if all(same_value(now, other, tolerance) for other in others):
        return None
    return Amplified(name=d.name, recorded=d.recorded, now=d.now, moved=None)


def _first_apart(
    recorded: Sequence[Any], now: Sequence[Any], others: Sequence[Sequence[Any]], tolerance: float
) -> int | None:
    """The first place at which a list may differ and does, None if it may not there.

    Values come one after the other: from the first place on that rounding moves, all may differ.
    """
    longest = max(len(v) for v in (recorded, now, *others))
    for i in range(longest):
        here = [list(v[i : i + 1]) for v in (recorded, now, *others)]
        moves = not all(same_value(here[1], h, tolerance / SHARE) for h in here[2:])
        if moves:
            return i
        if not same_value(here[0], here[1], tolerance):
            return None
    return None
