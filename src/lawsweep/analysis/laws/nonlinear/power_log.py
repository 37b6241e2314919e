"""A power with a logarithm: y = C x^a (log x)^k."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.fitted import Found, Parameter
from lawsweep.analysis.laws.judging.bands import half_band
from lawsweep.analysis.laws.law import Law, Points
from lawsweep.analysis.laws.straight import SAME, same_everywhere, solve_coefficients

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted

NAMES = ("C", "k", "exponent")


class PowerLog(Law):
    """y = C x^a (log x)^k, x > 1: log y = log C + a log x + k log log x, by least squares.

    ``exponent`` and ``k`` fix what they give: ``exponent: 1`` is n (log n)^k.  Linear in all it
    fits: the mean of the seeds' own log C_s, a_s and k_s is that of the law of geometric means.
    """

    own = ("exponent", "k")
    log_x = log_y = True
    contains = ("power",)

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """Numbers."""
        own: dict[str, float] = {}
        for key in self.own:
            value = entry.values.get(key)
            if value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise entry.wrong(key, "a number; without the key it is fitted", value)
            own[key] = float(value)
        return own

    def unusable(self, inputs: Sequence[Array], y: Array) -> Iterator[tuple[Array, str]]:
        """log log x needs x > 1."""
        yield np.asarray(y <= 0), "with y ≤ 0"
        for x in inputs:
            yield np.asarray(x <= 1), "with x ≤ 1, where log log x is none"

    def solve(self, spec: FitSpec, points: Points) -> Found:
        """Least squares of log y on what is not given."""
        assert spec.x is not None
        x = points.inputs[spec.x]
        if np.any(x <= 1):
            return Found(reason="log log x needs x > 1")
        if len(points) > len(NAMES) and same_everywhere(points.y):
            return Found(reason=SAME)
        columns = _columns(x)
        given = {name: float(spec.own[name]) for name in self.own if name in spec.own}
        known = sum((value * columns[name] for name, value in given.items()), np.zeros(len(x)))
        free = [name for name in NAMES if name not in given]
        rest = replace(
            points, y=points.y - known, replicates=points.replicates - known[points.point_of]
        )
        design = np.stack([columns[name] for name in free], axis=1)
        found, _ = solve_coefficients(design, free, rest, spec.level)
        if not found.parameters:
            return found
        by_name = {q.name: q for q in found.parameters}
        parameters = [by_name.get(n) or Parameter(n, given[n], given[n], given[n]) for n in NAMES]
        total = float(np.sum((points.y - points.y.mean()) ** 2))
        assert found.rss is not None
        r2 = 1 - found.rss / total if found.r2 is not None and total > 0 else None
        return replace(found, parameters=tuple(parameters), r2=r2)

    def formula(self, found: Fitted) -> str:
        """``y ~ n^1.0 [0.9, 1.1] * log(n)^2.0 [1.8, 2.2]``."""

        def shown(name: str) -> str:
            parameter = found[name]
            fixed = name in found.spec.own
            return f"{parameter.estimate:g}" if fixed else parameter.interval()

        x = found.spec.x_bracketed
        return f"{found.spec.y} ~ {x}^{shown('exponent')} * log({found.spec.x})^{shown('k')}"

    def predict(self, found: Fitted, inputs: Mapping[str, Array]) -> Array:
        """The law; no number where x ≤ 1."""
        columns = _columns(inputs[found.spec.x or ""])
        power = sum(found[name].estimate * columns[name] for name in ("k", "exponent"))
        with np.errstate(over="ignore"):
            return np.asarray(found["C"].estimate * np.exp(power))

    def band(
        self, found: Fitted, inputs: Mapping[str, Array], *, new: bool = False
    ) -> tuple[Array, Array] | None:
        """That of log y, back in units of y."""
        columns = _columns(inputs[found.spec.x or ""])
        free = [columns[name] for name in NAMES if name not in found.spec.own]
        half = half_band(found, np.stack(free, axis=1), new=new)
        if half is None:
            return None
        centre = self.predict(found, inputs)
        with np.errstate(over="ignore"):
            return centre * np.exp(-half), centre * np.exp(half)


def _columns(x: Array) -> dict[str, Array]:
    """The regressor of each parameter."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(np.asarray(x, dtype=np.float64))
        return {"C": np.ones_like(log), "k": np.log(log), "exponent": log}
