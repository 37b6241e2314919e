"""A power with a constant, and two powers of one x."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.laws.fitted import Found
from lawsweep.analysis.laws.law import Points
from lawsweep.analysis.laws.nonlinear.law import SumOfPowers

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted


class PowerOffset(SumOfPowers):
    """y = E + A x^a.

    Seeds: log y_s = log(E + A x^a) + e_s, or E_s + A_s x^(a_s); the interval of ``exponent`` is
    then one of the mean a_s too, of E of the mean E_s, of A of the geometric mean A_s.
    """

    names = ("E", "A", "exponent")
    contains = ("power",)

    def over(self, spec: FitSpec) -> tuple[str, ...]:
        """x."""
        assert spec.x is not None
        return (spec.x,)

    def formula(self, found: Fitted) -> str:
        """``loss = 1.7 [1.6, 1.8] + 410 [300, 500] * n^-0.34 [-0.4, -0.3]``."""
        e, a, exponent = (q.interval() for q in found.parameters)
        return f"{found.spec.y} = {e} + {a} * {found.spec.x_bracketed}^{exponent}"


class TwoPowers(SumOfPowers):
    """y = A x^a + B x^b with a < b; with ``exponents: [a, b]`` given only A and B are fitted.

    Seeds: log y_s = log(A x^a + B x^b) + e_s, or all fitted numbers each seed's own, whose means
    (of log A_s and log B_s; of A_s and B_s with given exponents) the intervals then hold too.
    """

    names = ("A", "a", "B", "b")
    own = ("errors", "exponents")
    contains = ("power",)
    offset = False

    def over(self, spec: FitSpec) -> tuple[str, ...]:
        """x, twice."""
        assert spec.x is not None
        return (spec.x, spec.x)

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """``errors`` and ``exponents``, two distinct numbers."""
        own = dict(super().read_own(entry, columns))
        given = entry.values.get("exponents")
        if given is not None:
            own["exponents"] = sorted(_two_numbers(entry, given))
        return own

    def solve(self, spec: FitSpec, points: Points) -> Found:
        """As any sum of powers; with the exponents given a weighted sum of two terms."""
        from lawsweep.analysis.laws.nonlinear.given import fit_given

        if "exponents" not in spec.own:
            return super().solve(spec, points)
        return fit_given(self, spec, points, tuple(spec.own["exponents"]))

    def formula(self, found: Fitted) -> str:
        """``y = 2.0 [1.9, 2.1] * n^-1.0 [-1.1, -0.9] + 0.5 [0.4, 0.6] * n^-0.5 [-0.6, -0.4]``."""
        x = found.spec.x_bracketed
        terms = []
        for c, a in (("A", "a"), ("B", "b")):
            exponent = found[a]
            fixed = "exponents" in found.spec.own
            text = f"{exponent.estimate:g}" if fixed else exponent.interval()
            terms.append(f"{found[c].interval()} * {x}^{text}")
        return f"{found.spec.y} = {' + '.join(terms)}"


def _two_numbers(entry: Entry, given: Any) -> tuple[float, float]:
    wrong = entry.wrong("exponents", "two distinct numbers, for example [-1, -0.5]", given)
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise wrong
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in given):
        raise wrong
    a, b = (float(v) for v in given)
    if not (math.isfinite(a) and math.isfinite(b)) or a == b:
        raise wrong
    return a, b
