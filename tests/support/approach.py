"""A law and a kind of figure as another package has them: it knows no more than our docs say."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lawsweep.analysis.figures.base import FigureKind
from lawsweep.analysis.laws.law import Law
from lawsweep.analysis.laws.straight import solve_coefficients


class Approach(Law):
    """y = limit + C x^rate, where the rate is given: ``{law: approach, x: …, y: …, rate: -1}``."""

    own = ("rate",)

    def read_own(self, entry, columns):
        rate = entry.values.get("rate", -1.0)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or rate >= 0:
            raise entry.wrong("rate", "a number below 0", rate)
        return {"rate": float(rate)}

    def solve(self, spec, points):
        v = points.inputs[spec.x] ** spec.own["rate"]
        design = np.stack([np.ones_like(v), v], axis=1)
        return solve_coefficients(design, ("limit", "gap"), points, spec.level)[0]

    def formula(self, found):
        rate = found.spec.own["rate"]
        limit, gap = (found[name].interval() for name in ("limit", "gap"))
        return f"{found.spec.y} = {limit} + {gap} * {found.spec.x_bracketed}^{rate:g}"

    def predict(self, found, inputs):
        v = inputs[found.spec.x] ** found.spec.own["rate"]
        return found["limit"].estimate + found["gap"].estimate * v


class Clumsy(Approach):
    """Fits well, and cannot say what."""

    def formula(self, found):
        return found["no such parameter"]


class Histogram(FigureKind):
    """How the rows' x are distributed."""

    keys: ClassVar = ("x",)
    needs: ClassVar = ("x",)
    own: ClassVar = ("bins",)
    subject: ClassVar = "x"

    def paint(self, axes, columns, spec, arrays):
        rows = columns.where(spec.where, f"{spec.name}.where")
        rows = rows[columns.statuses(rows) == "ok"]
        axes.hist(columns.numbers(spec.x, rows, f"{spec.name}.x"), bins=spec.own.get("bins", 10))
        axes.set_xlabel(spec.xlabel or spec.x)
        return [f"{len(rows)} rows"]
