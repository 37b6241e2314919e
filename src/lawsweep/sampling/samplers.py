"""The samplers by name, and what a sweep's ``search`` block asks for."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.options import read_options
from lawsweep.core.plugins import load_class
from lawsweep.grid.plan import Plan
from lawsweep.sampling.sampler import BaseSampler

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep

GROUP = "lawsweep.samplers"
SAMPLERS: dict[str, str] = {
    "grid": "lawsweep.sampling.grid:Grid",
    "threshold": "lawsweep.sampling.threshold.sampler:ThresholdSearch",
}
# What ``until`` asks for: of a fit, or of a value at each point.
UNTIL: dict[str, str] = {
    "until_fit": "lawsweep.sampling.adaptive.sampler:ParameterKnown",
    "until_value": "lawsweep.sampling.adaptive.sampler:ValuesKnown",
}
DEFAULT = "threshold"  # of a search block that names none


class Chosen(NamedTuple):
    """A kind of sampler with its options, checked; ``open`` makes one."""

    kind: str
    sampler: type[BaseSampler]
    options: Any

    @property
    def whole(self) -> bool:
        """Whether every run of the plan is wanted."""
        return self.sampler.whole

    def open(self, plan: Plan, known: Any = None, again: Any = None) -> BaseSampler:
        """The sampler at where ``known`` rows have brought it; ``again`` are to be tried again."""
        return self.sampler(plan, self.options, known, again)

    def check(self, plan: Plan) -> None:
        """Raise a LawsweepError where it does not fit the plan."""
        self.sampler.check(plan, self.options)

    def columns(self, plan: Plan) -> tuple[str, ...]:
        """Names of the columns of what it finds; none where that is no table."""
        return self.sampler.columns(plan, self.options)

    def headline(self) -> str | None:
        """What it looks for, in a few words; None of the whole grid."""
        return self.sampler.headline(self.options)

    def describe(self) -> dict[str, Any]:
        """All that tells one search from another, defaults included; the default kind is unsaid."""
        named = {} if self.kind == DEFAULT else {"kind": self.kind}
        return {**named, **dataclasses.asdict(self.options)}


def read_search(value: Any) -> Chosen:
    """The sampler of a sweep's ``search`` block; the whole grid where there is none.

    ``kind`` names it (``threshold`` where it is left out), the other keys are its options; one
    without any is a name alone.  Raises a LawsweepError.
    """
    if isinstance(value, str):
        value = {"kind": value}
    if value is not None and not isinstance(value, Mapping):
        raise InvalidValueError(
            "search must be the name of a sampler or a mapping, for example "
            f"{{axis: n_samples, event: memorized}}; got {value!r}."
        )
    given = {k: v for k, v in (value or {}).items() if v is not None}
    kind = given.pop("kind", "grid" if value is None else DEFAULT)
    sampler = find_sampler(kind)
    return Chosen(kind, sampler, read_options(sampler.Options, given, "search"))


def choose(sweep: Sweep) -> Chosen:
    """The sampler that a sweep asks for by ``search`` or ``until``.  Raises a LawsweepError."""
    if sweep.until is None:
        return read_search(sweep.search)
    if sweep.search is not None:
        raise InvalidValueError(
            "A sweep has search or until, and this one has both. Leave one out (search=null)."
        )
    return read_until(sweep.until, sweep.fits)


def read_until(value: Mapping[str, Any], fits: Sequence[Mapping[str, Any]] = ()) -> Chosen:
    """The sampler of an ``until`` block; ``fits`` are the sweep's.  Raises a LawsweepError."""
    from lawsweep.sampling.adaptive.options import with_fit

    given = {k: v for k, v in value.items() if v is not None}
    kind = until_kind(given)
    sampler = find_until(kind)
    if kind == "until_fit":
        _check_keys(given, sampler.Options)
        given = with_fit(given, fits)
    return Chosen(kind, sampler, read_options(sampler.Options, given, "until"))


def fits_of(sweep: Sweep) -> list[Mapping[str, Any]]:
    """The sweep's fits; the one that ``until`` is about quotes the interval that it stops by."""
    from lawsweep.sampling.adaptive.options import as_read

    given = {k: v for k, v in (sweep.until or {}).items() if v is not None}
    if not given or until_kind(given) != "until_fit":
        return list(sweep.fits)
    return as_read(given, sweep.fits)


def until_kind(given: Mapping[str, Any]) -> str:
    """Which kind an ``until`` block is of: one that names a fit or a parameter is of a fit."""
    from lawsweep.sampling.adaptive.options import VALUES

    about_fit = not any(given.get(key) is not None for key in VALUES)
    return "until_fit" if about_fit else "until_value"


def find_until(kind: str) -> type[BaseSampler]:
    """The class of a kind of ``until``."""
    module, _, name = UNTIL[kind].partition(":")
    found: type[BaseSampler] = getattr(importlib.import_module(module), name)
    return found


def _check_keys(given: Mapping[str, Any], options: type[Any]) -> None:
    """Refuse a misspelt key before the fit is looked for: ``maen`` is not about a fit."""
    from lawsweep.sampling.adaptive.options import ValueOptions

    own = [f.name for f in dataclasses.fields(options)]
    for key in given:
        if key not in own:
            beside = [f.name for f in dataclasses.fields(ValueOptions) if f.name not in own]
            raise unknown_name("option", str(key), [*own, *beside], "until")


def find_sampler(kind: Any = None) -> type[BaseSampler]:
    """The class of a kind of sampler, by default of ``threshold``.  Raises a LawsweepError."""
    kind = DEFAULT if kind is None else kind
    if not isinstance(kind, str):
        raise InvalidValueError(f"search.kind must be the name of a sampler, got {kind!r}.")
    found: type[BaseSampler] = load_class(GROUP, kind, SAMPLERS, BaseSampler)
    return found
