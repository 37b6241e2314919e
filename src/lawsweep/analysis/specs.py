"""What a sweep's ``fits`` and ``figures`` ask for, checked before anything runs.

Parsing needs the names of the columns only, no data, and imports neither pandas nor matplotlib,
so ``plan`` can refuse a misspelt metric in milliseconds instead of after a night of compute.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from lawsweep.core.errors import InvalidValueError, LawsweepError, unknown_name
from lawsweep.core.expressions import Expression

LAWS = ("power", "exponential", "linear", "terms")
# Kinds that draw an array beside the rows (key ``array``) in place of columns.
ARRAY_KINDS = ("gram", "loss_curves")
KINDS = ("curve", "scatter", "heatmap", "threshold", *ARRAY_KINDS)
BANDS = ("sd", "sem", "minmax", "none")
HEATMAP_VARIABLE = "x"  # what a line over a heatmap is a function of

_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """One law to fit, once per group of ``by``; x, y, terms and where are expressions.

    ``power``: y = C x^a; ``exponential``: y = C exp(a x); ``linear``: y = b + a x;
    ``terms``: y = Σ c_k terms_k, without an intercept unless a term is ``1``.
    ``local``: give the slope between each two neighbouring points too.
    """

    name: str
    law: str
    y: str
    x: str | None = None
    by: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    where: str | None = None
    level: float = 0.95
    local: bool = False


@dataclass(frozen=True, kw_only=True)
class LineSpec:
    """A reference line: over the columns in a curve or scatter, over ``x`` in a heatmap."""

    y: str
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """One figure; ``name`` is its file stem, None for a log switch or a label means: choose.

    Kinds of arrays (``ARRAY_KINDS``) have the name of one in ``array`` and x, y empty.
    """

    name: str
    kind: str
    x: str
    y: str
    z: str | None = None
    by: tuple[str, ...] = ()
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
    fit: bool = False
    array: str | None = None
    threshold: str | None = None  # over a heatmap: an event whose edge along y is drawn


def parse_fits(entries: Any, columns: Sequence[str]) -> tuple[FitSpec, ...]:
    """The ``fits`` of a sweep file.  ``columns`` are the names its table will have.

    Raises UnknownNameError (key, law, column, function) or InvalidValueError, naming the entry.
    """
    specs = [_parse_fit(entry, columns) for entry in _entries(entries, "fits", FitSpec)]
    return tuple(replace(s, name=n) for s, n in zip(specs, _unique(specs), strict=True))


def parse_figures(
    entries: Any,
    columns: Sequence[str],
    arrays: Sequence[str] | None = None,
    cells: Sequence[str] = (),
) -> tuple[FigureSpec, ...]:
    """The ``figures`` of a sweep file; see ``parse_fits``.

    ``arrays``: names of the experiment's arrays; None: not known here, so not checked.
    ``cells``: columns of the thresholds that the sweep searches for; none of an ordinary sweep.
    """
    specs = [
        _parse_figure(entry, columns, arrays, cells)
        for entry in _entries(entries, "figures", FigureSpec)
    ]
    return tuple(replace(s, name=n) for s, n in zip(specs, _unique(specs), strict=True))


def _parse_fit(entry: _Entry, columns: Sequence[str]) -> FitSpec:
    law = entry.choice("law", LAWS, None)
    by_terms = law == "terms"
    entry.require("y", "terms" if by_terms else "x")
    entry.refuse("x" if by_terms else "terms", f"law {law}")
    if by_terms:
        entry.refuse("local", "law terms")
    level = entry.values.get("level", 0.95)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise entry.wrong("level", "a number between 0 and 1, for example 0.95", level)
    y = entry.expression("y", columns)
    return FitSpec(
        name=entry.stem(f"{law}_{_slug(y)}"),
        law=law,
        y=y,
        x=None if by_terms else entry.expression("x", columns),
        by=entry.columns("by", columns),
        terms=entry.expressions("terms", columns) if by_terms else (),
        where=entry.expression("where", columns, needed=False),
        level=float(level),
        local=entry.flag("local") or False,
    )


def _parse_figure(
    entry: _Entry, columns: Sequence[str], arrays: Sequence[str] | None, cells: Sequence[str]
) -> FigureSpec:
    kind = entry.choice("kind", KINDS, None)
    if kind in ARRAY_KINDS:
        return _parse_array_figure(entry, kind, columns, arrays)
    if kind == "threshold":
        return _parse_threshold_figure(entry, cells)
    entry.refuse("array", f"kind {kind}")
    heatmap = kind == "heatmap"
    entry.require("x", "y", *(("z",) if heatmap else ()))
    for key in ("by", "band", "fit") if heatmap else ("z", "zlabel", "logz", "threshold"):
        entry.refuse(key, f"kind {kind}")
    if kind == "scatter":
        entry.refuse("band", "kind scatter")
    x, y = entry.expression("x", columns), entry.expression("y", columns)
    z = entry.expression("z", columns) if heatmap else None
    return FigureSpec(
        name=entry.stem(f"{kind}_{_slug(z or y)}"),
        kind=kind,
        x=x,
        y=y,
        z=z,
        by=entry.columns("by", columns),
        band=entry.choice("band", BANDS, "sd"),
        lines=entry.lines((HEATMAP_VARIABLE,) if heatmap else columns),
        threshold=entry.expression("threshold", columns, needed=False),
        where=entry.expression("where", columns, needed=False),
        fit=entry.flag("fit") or False,
        logx=entry.flag("logx"),
        logy=entry.flag("logy"),
        logz=entry.flag("logz"),
        title=entry.text("title"),
        xlabel=entry.text("xlabel"),
        ylabel=entry.text("ylabel"),
        zlabel=entry.text("zlabel"),
    )


def _parse_threshold_figure(entry: _Entry, cells: Sequence[str]) -> FigureSpec:
    """Thresholds of a search against x; ``y`` may make something else of ``n_star``."""
    if not cells:
        raise InvalidValueError(
            f"{entry.place}: kind threshold draws what a search found, and this sweep has no "
            "search block. Add one with axis and event, or choose another kind."
        )
    entry.require("x")
    for key in ("z", "logz", "zlabel", "band", "array", "threshold"):
        entry.refuse(key, "kind threshold")
    y = "n_star" if entry.values.get("y") is None else entry.expression("y", cells)
    if "n_star" not in Expression(y).names:
        raise entry.wrong("y", "an expression of n_star", y)
    return FigureSpec(
        name=entry.stem(f"threshold_{_slug(y)}"),
        kind="threshold",
        x=entry.expression("x", cells),
        y=y,
        by=entry.columns("by", cells),
        lines=entry.lines((HEATMAP_VARIABLE,)),
        where=entry.expression("where", cells, needed=False),
        fit=entry.flag("fit") or False,
        logx=entry.flag("logx"),
        logy=entry.flag("logy"),
        title=entry.text("title"),
        xlabel=entry.text("xlabel"),
        ylabel=entry.text("ylabel"),
    )


def _parse_array_figure(
    entry: _Entry, kind: str, columns: Sequence[str], arrays: Sequence[str] | None
) -> FigureSpec:
    entry.require("array")
    lines = kind == "loss_curves"
    for key in ("x", "y", "z", "logz", "band", "fit", "lines"):
        entry.refuse(key, f"kind {kind}")
    for key in ("zlabel",) if lines else ("by", "logx", "logy"):
        entry.refuse(key, f"kind {kind}")
    name = entry.text("array") or ""
    if arrays is not None and name not in arrays:
        raise unknown_name("array", name, arrays, entry.place)
    return FigureSpec(
        name=entry.stem(f"{kind}_{_slug(name)}"),
        kind=kind,
        x="",
        y="",
        array=name,
        by=entry.columns("by", columns),
        logx=entry.flag("logx"),
        logy=entry.flag("logy"),
        where=entry.expression("where", columns, needed=False),
        title=entry.text("title"),
        xlabel=entry.text("xlabel"),
        ylabel=entry.text("ylabel"),
        zlabel=entry.text("zlabel"),
    )


@dataclass(frozen=True)
class _Entry:
    """One mapping of the sweep file and where it stands, for messages."""

    place: str
    values: Mapping[str, Any]

    def wrong(self, key: str, expected: str, got: Any) -> InvalidValueError:
        return InvalidValueError(
            f"{self.place}.{key} must be {expected}, got {got!r}. Change its value."
        )

    def require(self, *keys: str) -> None:
        for key in keys:
            if self.values.get(key) is None:
                raise InvalidValueError(
                    f"{self.place} needs {key}; got {sorted(self.values)}. Add a line '{key}: …'."
                )

    def refuse(self, key: str, where: str) -> None:
        if self.values.get(key) not in (None, False):
            raise InvalidValueError(
                f"{self.place}: {where} takes no {key}, got {self.values[key]!r}. Remove it."
            )

    def choice(self, key: str, valid: Sequence[str], default: str | None) -> str:
        value = self.values.get(key, default)
        if value is None and default is None:
            self.require(key)
        value = "none" if value is None or value is False else str(value)
        if value not in valid:
            raise unknown_name(key, value, valid, self.place)
        return value

    def expression(self, key: str, names: Collection[str], needed: bool = True) -> Any:
        value = self.values.get(key)
        if value is None and not needed:
            return None
        return self._checked(f"{self.place}.{key}", value, names)

    def expressions(self, key: str, names: Collection[str]) -> tuple[str, ...]:
        value = self.values.get(key)
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise self.wrong(key, "a list of expressions", value)
        texts = tuple(
            self._checked(f"{self.place}.{key}[{i}]", v, names) for i, v in enumerate(value)
        )
        if len(set(texts)) < len(texts):
            raise self.wrong(key, "a list without repeats", list(texts))
        return texts

    @staticmethod
    def _checked(place: str, value: Any, names: Collection[str]) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidValueError(
                f"{place} must be an expression such as input_dim**2, got {value!r}. Change it."
            )
        try:
            expression = Expression(value)
        except LawsweepError as error:
            raise type(error)(f"{place}: {error}") from None
        for name in expression.names:
            if name not in names:
                raise unknown_name("column", name, names, place)
        return expression.text

    def columns(self, key: str, names: Collection[str]) -> tuple[str, ...]:
        value = self.values.get(key)
        if value is None:
            return ()
        listed = (value,) if isinstance(value, str) else value
        if not isinstance(listed, Sequence) or not all(isinstance(v, str) for v in listed):
            raise self.wrong(key, "a column or a list of columns", value)
        for name in listed:
            if name not in names:
                raise unknown_name("column", name, names, f"{self.place}.{key}")
        return tuple(dict.fromkeys(listed))

    def lines(self, names: Collection[str]) -> tuple[LineSpec, ...]:
        found = []
        for line in _entries(self.values.get("lines"), f"{self.place}.lines", LineSpec):
            line.require("y")
            found.append(LineSpec(y=line.expression("y", names), label=line.text("label")))
        return tuple(found)

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if isinstance(value, Mapping | list | tuple | bool):
            raise self.wrong(key, "text", value)
        return None if value is None else str(value)

    def stem(self, default: str) -> str:
        name = self.text("name") or default
        if not _STEM.match(name):
            raise self.wrong("name", "a file name of letters, digits and ._-", name)
        return name


def _entries(
    value: Any, place: str, spec: type[FitSpec | FigureSpec | LineSpec]
) -> Iterator[_Entry]:
    """The entries of a list of mappings, each with only the keys of ``spec``."""
    if value is None:
        return
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidValueError(
            f"{place} must be a list of mappings, got {value!r}. Start each entry with '- '."
        )
    valid = [f.name for f in fields(spec)]
    for i, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise InvalidValueError(
                f"{place}[{i}] must be a mapping of {', '.join(valid)}, got {entry!r}."
            )
        for key in entry:
            if key not in valid:
                raise unknown_name("key", str(key), valid, f"{place}[{i}]")
        yield _Entry(f"{place}[{i}]", entry)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:60] or "value"


def _unique(specs: Sequence[FitSpec | FigureSpec]) -> list[str]:
    """Names made distinct (two files of one stem would overwrite each other): a, a_2, a_3."""
    names: list[str] = []
    for spec in specs:
        name, k = spec.name, 1
        while name in names:
            k += 1
            name = f"{spec.name}_{k}"
        names.append(name)
    return names
