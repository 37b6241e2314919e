"""What overrides make inapplicable: a fit or figure about an axis that is gone, a search along it.

It is left out, and a note says so; nothing of it stops a run.  What would be wrong without the
overrides too (a misspelt column) stays, for ``study`` to refuse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.columns import columns_of, kinds_of
from lawsweep.analysis.values import check_values, columns_read
from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep
from lawsweep.sampling.samplers import choose

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec


def applicable(sweep: Sweep, before: Collection[str]) -> Sweep:
    """The sweep without what overrides made inapplicable; its ``notes`` say what that was.

    ``before`` are the names that the sweep spans or derives as it is written, its preset's too.
    """
    if not (sweep.fits or sweep.figures or sweep.search or sweep.until):
        return sweep
    try:
        made = sweep.plan()
    except LawsweepError:
        return sweep  # whoever needs the plan says it
    notes: list[str] = []
    known = set(before)
    key = "search" if sweep.until is None else "until"
    if getattr(sweep, key) is not None:
        chosen = choose(sweep)
        known |= set(chosen.columns(made))
        names = {*columns_of(made), *known}
        reason = chosen.sampler.inapplicable(made, chosen.options, names)
        if reason is not None:
            what = "the search" if key == "search" else key
            notes.append(f"{what} is left out, and the whole grid is meant: {reason}")
            sweep = dataclasses.replace(sweep, search=None, until=None)
    judge = _Judge(sweep, made, known)
    kept: dict[str, Any] = {}
    for key, check in (("fits", judge.fit), ("figures", judge.figure)):
        kept[key] = tuple(judge.kept(key, getattr(sweep, key), check, notes))
        if key == "fits":
            judge.gone = judge.named(sweep.fits) - judge.named(kept[key])
    if not notes:
        return sweep
    config = dict(sweep.config)
    config |= {"search": sweep.search, "until": sweep.until}
    config |= {k: list(some) for k, some in kept.items()}
    return dataclasses.replace(sweep, **kept, config=config, notes=(*sweep.notes, *notes))


class _Judge:
    """Tells of one entry of ``fits`` or ``figures`` why it does not apply; None where it does."""

    def __init__(self, sweep: Sweep, made: Plan, known: Collection[str]):
        self.made, self.known = made, known
        self.cells = choose(sweep).columns(made)
        self.columns, self.kinds = columns_of(made), kinds_of(made, self.cells)
        self.arrays = [s.name for s in made.experiment.arrays]
        self.fits = self._read(sweep.fits)
        self.gone: set[str] = set()  # names of fits that are left out

    def kept(
        self,
        key: str,
        entries: Sequence[Mapping[str, Any]],
        check: Callable[[Mapping[str, Any]], str | None],
        notes: list[str],
    ) -> list[Mapping[str, Any]]:
        """The entries that apply; a note of each of the others."""
        found = []
        for i, entry in enumerate(entries):
            reason = check(entry)
            if reason is None:
                found.append(entry)
            else:
                notes.append(f"{key}[{i}]{_called(entry)} is left out: {reason}")
        return found

    def fit(self, entry: Mapping[str, Any]) -> str | None:
        """Why a fit does not apply."""
        from lawsweep.analysis.laws.laws import parse_fits

        try:
            (spec,) = parse_fits([entry], [*self.columns, *self.cells, *self.known], self.kinds)
        except LawsweepError:
            return None
        return self._reason(spec, {*self.columns, *self.cells})

    def named(self, entries: Sequence[Mapping[str, Any]]) -> set[str]:
        """The names of fits, those that they are given too."""
        return {spec.name for spec in self._read(entries)}

    def _read(self, entries: Sequence[Mapping[str, Any]]) -> tuple[FitSpec, ...]:
        from lawsweep.analysis.laws.laws import parse_fits

        try:
            return parse_fits(entries, [*self.columns, *self.cells, *self.known], self.kinds)
        except LawsweepError:
            return ()  # whoever checks the sweep says it

    def figure(self, entry: Mapping[str, Any]) -> str | None:
        """Why a figure does not apply."""
        from lawsweep.analysis.figures.kinds import find_kind, parse_figures

        fit = entry.get("fit")
        if isinstance(fit, str) and fit in self.gone:
            return f"it draws the fit {fit}, which is left out"
        names = [*self.columns, *self.known]
        cells = [*self.cells, *names] if self.cells or "n_star" in self.known else []
        try:
            (spec,) = parse_figures([entry], names, self.arrays, cells, self.kinds, self.fits)
        except LawsweepError:
            return None
        of_cells = find_kind(spec.kind).of_cells
        if of_cells and not self.cells:
            return "it draws what a search found, and there is none any more"
        return self._reason(spec, set(self.cells if of_cells else self.columns))

    def _reason(self, spec: Any, columns: Collection[str]) -> str | None:
        gone = sorted(columns_read(spec) & set(self.known) - set(columns))
        if gone:
            return f"it reads {', '.join(gone)}, which the overrides took away"
        try:
            check_values(self.made, spec)
        except InvalidValueError as error:
            return str(error)
        return None


def _called(entry: Mapping[str, Any]) -> str:
    """What a person knows an entry by."""
    said = entry.get("name") or entry.get("title") or entry.get("y") or entry.get("z")
    return "" if said is None else f" ({str(said)[:60]})"
