"""What ``until`` says: which interval is to be how narrow, and what may be spent on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lawsweep.core.cost import PRIOR_FLOPS_PER_S
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.options import check_options
from lawsweep.core.schema import Field

_BUDGET = re.compile(r"([0-9.]+(?:e[+-]?\d+)?)\s*(s|min|h|device-hours?|device_hours?)?\Z")
VALUES = ("mean", "median", "quantile")  # what may be known of each point
_SECONDS = {None: 1.0, "s": 1.0, "min": 60.0}
EXAMPLES = (
    "{mean: lambda_min, within: 0.05, relative: true} or {fit: power_lambda_min, within: 0.02}"
)


@dataclass(frozen=True, kw_only=True)
class UntilOptions:
    """What both kinds of ``until`` take.

    ``within`` is the half width that the interval may have at most, in units of what is estimated;
    with ``relative`` as a share of it.  ``first`` seeds are run before an interval is believed, and
    ``most`` at most (all of the sweep's, if left out).  ``budget`` is in predicted seconds of one
    device: a number, or ``90 min``, ``2 device-hours``; the prediction is 2 ms a run and its
    stated flops at ``gflops`` (1e9 a second), which asks no clock, so that the same table gives
    the same decisions.
    """

    within: Annotated[float, Field("half width of the interval", gt=0)]
    relative: bool = False
    first: Annotated[int, Field("seeds before an interval is believed", ge=3, le=1000)] = 6
    most: Annotated[int | None, Field("seeds at most", ge=3)] = None
    budget: Annotated[float | str | None, Field("predicted seconds", gt=0)] = None
    gflops: Annotated[float, Field("1e9 operations a second", gt=0)] = PRIOR_FLOPS_PER_S / 1e9

    def __post_init__(self) -> None:
        check_options(self, "until")
        if self.most is not None and self.most < self.first:
            raise InvalidValueError(
                f"until.most must be until.first ({self.first}) or more, got {self.most}."
            )
        _ = self.budget_s

    @property
    def budget_s(self) -> float | None:
        """The budget in predicted seconds; None without one."""
        if not isinstance(self.budget, str):
            return self.budget
        match = _BUDGET.match(self.budget.strip())
        try:
            seconds = float(match[1]) * _SECONDS.get(match[2], 3600.0) if match else 0.0
        except ValueError:  # 1.2.3
            seconds = 0.0
        if not seconds > 0:
            raise InvalidValueError(
                f"until.budget must be seconds, or a time such as '90 min' or '2 device-hours', "
                f"got {self.budget!r}."
            )
        return seconds

    def target(self, estimate: float) -> float:
        """The half width that is enough where the estimate is this."""
        return self.within * abs(estimate) if self.relative else self.within

    def cap(self, n_seeds: int) -> int:
        """Seeds at most, of so many that the sweep has."""
        return n_seeds if self.most is None else min(n_seeds, self.most)


@dataclass(frozen=True, kw_only=True)
class ValueOptions(UntilOptions):
    """Seeds are added at each point until its ``mean``, ``median`` or ``quantile`` is known.

    Each is an expression over params and metrics; a quantile is the ``q``-th.  ``confidence``: of
    the interval, at the moment at which the point stops.
    """

    mean: str | None = None
    median: str | None = None
    quantile: str | None = None
    q: Annotated[float | None, Field("which quantile", gt=0, lt=1)] = None
    first: Annotated[int, Field("seeds before an interval is believed", ge=3, le=1000)] = 10
    confidence: Annotated[float, Field("of the interval", gt=0.5, lt=1)] = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [n for n in VALUES if (getattr(self, n) or "").strip()]
        if len(given) != 1:
            raise InvalidValueError(
                f"until needs one of mean, median, quantile or fit, got {given or 'none'}; for "
                f"example {EXAMPLES}."
            )
        if (self.q is None) == (given == ["quantile"]):
            raise InvalidValueError(
                "until.q says which quantile, for example {quantile: gap, q: 0.9, within: 0.1}; "
                f"got {given[0]} {'without' if self.q is None else 'with'} it."
            )

    @property
    def what(self) -> str:
        """``mean``, ``median`` or ``quantile``."""
        return next(n for n in VALUES if getattr(self, n))

    @property
    def y(self) -> str:
        """The expression."""
        return str(getattr(self, self.what))

    @property
    def level_q(self) -> float:
        """The quantile asked for."""
        return 0.5 if self.q is None else self.q

    @property
    def called(self) -> str:
        """``mean of lambda_min``, ``0.9-quantile of gap``."""
        return f"{f'{self.q:g}-quantile' if self.q is not None else self.what} of {self.y}"


@dataclass(frozen=True, kw_only=True)
class FitOptions(UntilOptions):
    """Whole seeds are added over values of x until ``parameter`` of a fit is known.

    ``fit`` is the name of one of the sweep's fits (which may be left out where there is only one),
    ``parameter`` one of its law's (by default the last: an exponent, a slope).  At least ``keep``
    values of x are run, both ends among them.  The confidence is the fit's ``level``, and its
    ``interval`` is what has to be narrow: unless one is given, of a law that has the choice that of
    the ``seeds``.
    """

    fit: Annotated[str | Mapping[str, Any] | None, Field("name of a fit")] = None
    parameter: str | None = None
    keep: Annotated[int, Field("values of x at least", ge=3)] = 5
    interval: Literal["seeds", "wider"] | None = None

    @property
    def entry(self) -> Mapping[str, Any]:
        """The entry of the fit, as under ``fits``."""
        assert isinstance(self.fit, Mapping)
        return self.fit

    @property
    def called(self) -> str:
        """``exponent of power_lambda_min``."""
        return f"{self.parameter or last_parameter(self.entry)} of {named(self.entry)}"


def named(entry: Mapping[str, Any]) -> str:
    """What a fit is called: its ``name``, or the one that its law and y make."""
    from lawsweep.analysis.entries import Entry

    return Entry("fits", entry).stem(str(entry.get("law")), str(entry.get("y")).strip())


def last_parameter(entry: Mapping[str, Any]) -> str:
    """The last parameter of its law, as far as the law lists them."""
    from lawsweep.analysis.laws.laws import find_law

    law = find_law(str(entry.get("law")))
    names = getattr(law, "names", ())
    return str(names[-1]) if law.straight and isinstance(names, tuple) else "parameter"


def with_fit(given: Mapping[str, Any], fits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``until`` with the entry of the fit that it names, its interval said.

    Raises a LawsweepError.
    """
    asked = given.get("fit")
    if not isinstance(asked, Mapping):
        k, name = _place(asked, fits)
        asked = {**fits[k], "name": name}
    return {**given, "fit": _quoting(asked, given.get("interval"))}


def as_read(given: Mapping[str, Any], fits: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The sweep's fits, the one that ``until`` names with the interval that it stops by."""
    if isinstance(given.get("fit"), Mapping):
        return list(fits)
    k, _ = _place(given.get("fit"), fits)
    return [*fits[:k], _quoting(fits[k], given.get("interval")), *fits[k + 1 :]]


def _place(asked: Any, fits: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Which of the fits is called so (where there is one, that), and its name."""
    from lawsweep.analysis.entries import distinct_names
    from lawsweep.core.errors import unknown_name

    names = distinct_names([named(entry) for entry in fits])
    if asked is None and len(names) == 1:
        asked = names[0]
    if asked is None or not names:
        of = f"one of {', '.join(names)}" if names else "and the sweep has no fits; add one"
        raise InvalidValueError(f"until needs fit, the name of a fit, {of}.")
    if asked not in names:
        raise unknown_name("fit", str(asked), names, "until")
    return names.index(asked), str(asked)


def _quoting(entry: Mapping[str, Any], interval: Any) -> Mapping[str, Any]:
    """The entry with the interval that is asked for; of a law without the choice as it is."""
    from lawsweep.analysis.laws.laws import find_law

    if "interval" in find_law(str(entry.get("law"))).own:
        return {**entry, "interval": interval or entry.get("interval") or "seeds"}
    if interval is not None:
        raise InvalidValueError(
            f"until.interval chooses between intervals of a law that is straight, and "
            f"{entry.get('law')} has one alone. Leave it out."
        )
    return entry
