"""The kinds of figure by name, and what a sweep's ``figures`` ask for."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from lawsweep.analysis.entries import Entry, distinct_names, entries
from lawsweep.analysis.figures.base import FigureKind, Known
from lawsweep.analysis.figures.specs import FigureSpec
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.core.plugins import load_class

GROUP = "lawsweep.figures"
KINDS: dict[str, str] = {
    "curve": "lawsweep.analysis.figures.of_rows.curves:Curve",
    "scatter": "lawsweep.analysis.figures.of_rows.scatter:Scatter",
    "heatmap": "lawsweep.analysis.figures.of_rows.heatmap:Heatmap",
    "threshold": "lawsweep.analysis.figures.of_rows.thresholds:Thresholds",
    "residuals": "lawsweep.analysis.figures.of_laws.residuals:Residuals",
    "slopes": "lawsweep.analysis.figures.of_laws.residuals:Slopes",
    "joint": "lawsweep.analysis.figures.of_laws.joint:JointCurves",
    "collapse": "lawsweep.analysis.figures.of_laws.collapse:CollapseFigure",
    "gram": "lawsweep.analysis.figures.of_arrays.gram_map:GramMap",
    "loss_curves": "lawsweep.analysis.figures.of_arrays.array_curves:ArrayCurves",
}
KEYS = tuple(f.name for f in fields(FigureSpec) if f.name not in ("own", "fit_named"))


@functools.cache
def find_kind(name: str) -> FigureKind:
    """The kind of figure of that name, ours or another package's.  Raises a LawsweepError."""
    made: FigureKind = load_class(GROUP, name, KINDS, FigureKind)()
    return made


def parse_figures(
    given: Any,
    columns: Sequence[str],
    arrays: Sequence[str] | None = None,
    cells: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    fits: Sequence[FitSpec] = (),
) -> tuple[FigureSpec, ...]:
    """The ``figures`` of a sweep file; ``columns``, ``arrays``, ``cells``, ``fits``: see ``Known``.

    ``kinds``: what columns hold, where it is known: bool, int, float, str, or another word.

    Raises UnknownNameError (key, kind, column, function) or InvalidValueError, naming the entry.
    """
    known = Known(columns, arrays, cells, fits)
    specs = [_read(entry, known) for entry in entries(given, "figures", KEYS, kinds)]
    names = distinct_names([s.name for s in specs])
    return tuple(replace(s, name=n) for s, n in zip(specs, names, strict=True))


def _read(entry: Entry, known: Known) -> FigureSpec:
    name = entry.kind("kind", GROUP, KINDS)
    kind = None if name is None else find_kind(name)
    entry.check_keys(KEYS if kind is None else (*KEYS, *kind.own))
    if name is None or kind is None:
        raise entry.unknown_kind("kind", GROUP, KINDS)
    return kind.read(entry, name, known)
