"""One entry of a sweep's ``figures``, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec

FORMATS = ("png", "pdf", "svg")
GUIDE_VARIABLE = "x"  # what a line that is no group's own is a function of


@dataclass(frozen=True, kw_only=True)
class LineSpec:
    """A reference line: over the columns in a curve or scatter, over ``x`` in other kinds."""

    y: str
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """One figure; ``name`` is its file stem, None for a log switch or a label means: choose.

    Its fields are the keys an entry may have; each kind takes some of them.  ``fit`` is the law
    that is drawn, if any, and ``fit_named`` whether it is one of the sweep's fits, as it stands
    there; ``panel`` the column of ``by`` that panels tell apart; ``own`` is what keys say that the
    kind alone has.
    """

    name: str
    kind: str
    x: str = ""
    y: str = ""
    z: str | None = None
    by: tuple[str, ...] = ()
    panel: str | None = None
    band: str = "sd"
    logx: bool | None = None
    logy: bool | None = None
    logz: bool | None = None
    lines: tuple[LineSpec, ...] = ()
    title: str | None = None
    xlabel: str | None = None
    ylabel: str | None = None
    zlabel: str | None = None
    where: str | None = None
    fit: FitSpec | None = None
    array: str | None = None
    threshold: str | None = None  # over a heatmap: an event whose edge along y is drawn
    formats: tuple[str, ...] = FORMATS
    own: Mapping[str, Any] = field(default_factory=dict)
    fit_named: bool = False
