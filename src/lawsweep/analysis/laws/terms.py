"""y = Σ c_k terms_k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.fitted import Found
from lawsweep.analysis.laws.judging.bands import half_band
from lawsweep.analysis.laws.law import Law, Points
from lawsweep.analysis.laws.straight import quoted, read_interval, solve_coefficients

if TYPE_CHECKING:
    from lawsweep.analysis.entries import Entry
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted


class Terms(Law):
    """y = Σ c_k terms_k, without an intercept unless a term is ``1``."""

    takes = needs = ("terms",)
    own = ("interval",)

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """``interval``, where it is not the usual one."""
        return read_interval(entry)

    def solve(self, spec: FitSpec, points: Points) -> Found:
        """Least squares over the points."""
        design = np.stack([points.inputs[t] for t in spec.terms], axis=1)
        return solve_coefficients(design, spec.terms, points, spec.level, quoted(spec))[0]

    def formula(self, found: Fitted) -> str:
        """``y = 0.3 [0.2, 0.4] * 1/n + 2.0 [1.9, 2.1]``."""
        terms = (
            p.interval() if p.name == "1" else f"{p.interval()} * {p.name}"
            for p in found.parameters
        )
        return f"{found.spec.y} = {' + '.join(terms)}"

    def band(
        self, found: Fitted, inputs: Mapping[str, Array], *, new: bool = False
    ) -> tuple[Array, Array] | None:
        """The sum's: the wider of what the scatter and the seeds say."""
        design = np.stack([np.asarray(inputs[t], dtype=np.float64) for t in found.spec.terms], 1)
        half = half_band(found, design, new=new)
        centre = self.predict(found, inputs)
        return None if half is None else (centre - half, centre + half)

    def predict(self, found: Fitted, inputs: Mapping[str, Array]) -> Array:
        """The sum."""
        return np.asarray(sum(found[t].estimate * inputs[t] for t in found.spec.terms))
