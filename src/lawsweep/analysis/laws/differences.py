"""The difference of two fitted parameters, or of two thresholds, with its interval.

A stream depends on a run's seed and its name alone (``core/randomness``), so two groups of one fit,
or two variants of a sweep, that have a seed in common share its draws.  What these add to both laws
leaves their difference: each shared seed gives one difference of its own two laws, and S of them
the interval mean ± t(S − 1) sd / √S.  That is exact for exchangeable pairs with normal differences,
coupled or not; where nothing is coupled it merely spends half of the degrees of freedom.  Draws
cancel as far as both laws are over the same x, and a bend would make laws over different x differ
by itself: where the points of the two are not the same, both are fitted anew to those they share.

Beside it stands the interval of two independent estimates: Welch's where both intervals are
Student's, otherwise that of the ends (Zou and Donner, Statistics in Medicine 27, 1693 (2008)): with
estimates a, b and their own intervals, the difference b − a has the distances
√((b − low_b)² + (high_a − a)²) below and √((high_b − b)² + (a − low_a)²) above.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from lawsweep.analysis.laws.fitted import Fitted, Interval, Parameter, count
from lawsweep.analysis.laws.judging.common import over_the_same, seed_pairs, seeds_of
from lawsweep.core.errors import unknown_name

MOST_PAIRS = 10  # of one fit; of more groups only neighbours are compared
SCALES = ("C",)  # the law at x = 1: a difference of it says little, so it must be asked for


@dataclass(frozen=True, kw_only=True)
class Difference:
    """b − a of one parameter, at ``level``.

    ``low`` and ``high`` are those of ``paired``, from the ``n_pairs`` seeds that both have, and
    where there is no such interval those of ``independent``; ``unpaired`` then says why.  Either
    is None where it cannot be known.
    """

    name: str
    parameter: str
    a: str
    b: str
    level: float
    estimate: float
    paired: Interval | None = None
    independent: Interval | None = None
    n_pairs: int | None = None
    unpaired: str = ""
    note: str = ""

    @property
    def low(self) -> float:
        """The lower end; NaN where neither interval is known."""
        return (self.paired or self.independent or (math.nan, math.nan))[0]

    @property
    def high(self) -> float:
        """The upper end; NaN where neither interval is known."""
        return (self.paired or self.independent or (math.nan, math.nan))[1]

    def text(self) -> str:
        """``exponent, a to b: 0.022 [0.012, 0.032] (95 %, paired by 8 seeds; unpaired […])``."""
        said = Parameter(self.parameter, self.estimate, self.low, self.high).interval()
        how = f"{100 * self.level:g} %"
        if self.paired is not None:
            how += f", paired by {count(self.n_pairs or 0, 'seed')}"
            if self.independent is not None:
                alone = Parameter("", self.estimate, *self.independent).interval()
                how += f"; unpaired {alone[alone.index('[') :]}"
        else:
            how += f", unpaired: {self.unpaired}" if self.unpaired else ", unpaired"
        how += f"; {self.note}" if self.note else ""
        return f"{self.parameter}, {self.a} to {self.b}: {said} ({how})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; numbers that are not finite are None."""

        def plain(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "name": self.name,
            "parameter": self.parameter,
            "a": self.a,
            "b": self.b,
            "level": self.level,
            "estimate": plain(self.estimate),
            "low": plain(self.low),
            "high": plain(self.high),
            "paired": None if self.paired is None else list(self.paired),
            "independent": None if self.independent is None else list(self.independent),
            "n_pairs": self.n_pairs,
            "text": self.text(),
        }


def differences(results: Sequence[Fitted]) -> list[Difference]:
    """Differences between the groups of each fit that differ in one column of ``by``.

    All such pairs of groups, or, where that is more than ten of a fit, those of neighbours.  Groups
    without a fit are left out.
    """
    found: list[Difference] = []
    for name in dict.fromkeys(r.spec.name for r in results):
        groups = [r for r in results if r.spec.name == name and r.reason is None and r.group]
        pairs = [p for p in combinations(groups, 2) if _column_apart(*p) is not None]
        if len(pairs) > MOST_PAIRS:
            pairs = [(a, b) for a, b in pairs if not _between(a, b, pairs)]
        for a, b in pairs:
            column = _column_apart(a, b)
            assert column is not None
            others = ", ".join(f"{k}={v}" for k, v in a.group.items() if k != column)
            names = (f"{column}={_plain(a.group[column])}", _plain(b.group[column]))
            names = (f"{others}: {names[0]}", names[1]) if others else names
            found += difference(a, b, names=names)
    return found


def difference(
    a: Fitted,
    b: Fitted,
    parameter: str | None = None,
    *,
    names: tuple[str, str] | None = None,
) -> list[Difference]:
    """b − a of ``parameter``, or of all that both laws have but the factor ``C``.

    ``names`` say what a and b are; by default their groups.  No fit, no difference.  Raises
    UnknownNameError for a parameter that one of them has not.
    """
    shared = [p.name for p in a.parameters if p.name in {q.name for q in b.parameters}]
    if parameter is not None and a.parameters and b.parameters and parameter not in shared:
        raise unknown_name("parameter", parameter, shared, "fits in common")
    wanted = [n for n in shared if n not in SCALES] if parameter is None else [parameter]
    if not a.parameters or not b.parameters or not wanted:
        return []
    first, second, note = over_the_same(a, b)
    pairs, unpaired = seed_pairs(first, second)
    labels = names or (a.label() or "A", b.label() or "B")
    level = min(a.spec.level, b.spec.level)
    return [
        replace(_difference(first, second, name, labels, level, pairs, unpaired), note=note)
        for name in wanted
    ]


def _difference(
    a: Fitted,
    b: Fitted,
    name: str,
    labels: tuple[str, str],
    level: float,
    pairs: Mapping[int, tuple[Mapping[str, float], Mapping[str, float]]],
    unpaired: str,
) -> Difference:
    from scipy.special import stdtrit

    estimate = b[name].estimate - a[name].estimate
    apart = np.array([y[name] - x[name] for x, y in pairs.values() if name in x and name in y])
    paired, n = None, None
    if len(apart) > 1:
        n = len(apart)
        if {*pairs} != seeds_of(a.points) | seeds_of(b.points):  # what the others say is no pair
            estimate = float(apart.mean())
        half = float(stdtrit(n - 1, (1 + level) / 2)) * float(apart.std(ddof=1)) / math.sqrt(n)
        paired = (estimate - half, estimate + half)
    return Difference(
        name=a.spec.name,
        parameter=name,
        a=labels[0],
        b=labels[1],
        level=level,
        estimate=estimate,
        paired=paired,
        independent=_independent(a, b, name, level),
        n_pairs=n,
        unpaired="" if paired else unpaired or "too few seeds with a law of their own",
    )


def _independent(a: Fitted, b: Fitted, name: str, level: float) -> Interval | None:
    """The interval of the difference of two independent estimates."""
    from scipy.special import stdtrit

    p, q = a[name], b[name]
    both = [_student(a, p), _student(b, q)]
    if both[0] is None or both[1] is None or a.spec.level != b.spec.level:
        return of_ends((p.estimate, p.low, p.high), (q.estimate, q.low, q.high))
    variances = np.array([error**2 for error, _ in (both[0], both[1])])
    freedoms = np.array([dof for _, dof in (both[0], both[1])])
    total, estimate = float(variances.sum()), q.estimate - p.estimate
    if total == 0.0:
        return estimate, estimate
    dof = total**2 / float(np.sum(variances**2 / freedoms))
    half = float(stdtrit(dof, (1 + level) / 2)) * math.sqrt(total)
    return estimate - half, estimate + half


def _student(found: Fitted, parameter: Parameter) -> tuple[float, int] | None:
    """Standard error and degrees of freedom of an interval that is estimate ± t se."""
    from scipy.special import stdtrit

    below = parameter.estimate - parameter.low
    above = parameter.high - parameter.estimate
    if not math.isfinite(above) or found.covariance is None or found.n_parameters is None:
        return None
    if abs(above - below) > 1e-6 * abs(above + below) + 1e-12 * abs(parameter.estimate):
        return None
    of_seeds = parameter.seeds is not None and parameter.seeds[1] >= parameter.high
    dof = found.n_points - found.n_parameters if found.dof is None else found.dof
    if of_seeds and found.seed_laws is not None:
        dof = found.seed_laws - 1
    if dof < 1:
        return None
    return above / float(stdtrit(dof, (1 + found.spec.level) / 2)), dof


def of_ends(
    a: tuple[float, float, float], b: tuple[float, float, float]
) -> tuple[float, float] | None:
    """Interval of b − a of independent (estimate, low, high); None where an end is not known."""
    if not all(math.isfinite(v) for v in (*a, *b)):
        return None
    middle = b[0] - a[0]
    below = math.hypot(b[0] - b[1], a[2] - a[0])
    return middle - below, middle + math.hypot(b[2] - b[0], a[0] - a[1])


def _column_apart(a: Fitted, b: Fitted) -> str | None:
    """The one column of ``by`` in which two groups differ."""
    apart = [k for k, v in a.group.items() if b.group.get(k) != v]
    return apart[0] if len(apart) == 1 else None


def _between(a: Fitted, b: Fitted, pairs: Sequence[tuple[Fitted, Fitted]]) -> bool:
    """Whether another group stands between them; groups come in ascending order."""
    column = _column_apart(a, b)
    return any(
        p is a and _column_apart(p, q) == column and any(s is q and t is b for s, t in pairs)
        for p, q in pairs
    )


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
