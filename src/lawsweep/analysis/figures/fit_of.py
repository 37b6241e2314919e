"""Which law a figure draws: one of the sweep's fits, by its name, or one of the figure's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.laws import GROUP, LAWS, find_law, read_fit
from lawsweep.core import plugins
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.expression import Expression

ABOUT = ("x", "y", "by", "where")  # what a figure and the law in it have in common


def named_fit(entry: Entry, fits: Sequence[FitSpec]) -> FitSpec | None:
    """The sweep's fit that ``fit`` names; None where it says a law, or nothing.

    A word that is a law's name is that law.  Raises UnknownNameError for one that is neither.
    """
    value = entry.values.get("fit")
    laws = plugins.names(GROUP, LAWS)
    if not isinstance(value, str) or value in laws:
        return None
    found = next((spec for spec in fits if spec.name == value), None)
    if found is None:
        valid = (*(spec.name for spec in fits), *laws)
        raise unknown_name("fit", value, valid, f"{entry.place}.fit")
    return found


def with_fit(entry: Entry, spec: FitSpec, taken: Sequence[str], names: Sequence[str]) -> Entry:
    """The entry with x, y, by and where of its fit where it does not say them.

    Raises InvalidValueError where it says another x or y, does not tell apart what the fit does, or
    the fit reads what these figures have no column of.
    """
    law, place = find_law(spec.law), f"{entry.place}.fit"
    texts = [*(text for _, text in law.expressions(spec)), *([spec.where] if spec.where else [])]
    for name in (*(n for text in texts for n in Expression(text).names), *spec.by):
        if name not in names:
            raise InvalidValueError(
                f"{place}: the fit {spec.name} reads {name}, which this kind of figure has no "
                "column of. Draw a fit of thresholds by kind: threshold, one of rows by the others."
            )
    for key in ("x", "y"):
        said, own = entry.values.get(key), getattr(spec, key)
        both = key in taken and said is not None and own is not None
        if both and Expression(said).text != Expression(own).text:
            raise InvalidValueError(
                f"{place}: the fit {spec.name} has {key}: {own}, and the figure {key}: {said}. "
                f"Leave {key} out, or draw another fit."
            )
    given = entry.values.get("by")
    by = (given,) if isinstance(given, str) else tuple(given or ())
    apart = {*by, entry.values.get("panel")}
    lost = [name for name in spec.by if name not in apart]
    if "by" in entry.values and lost:
        raise InvalidValueError(
            f"{place}: the fit {spec.name} has a law for each {', '.join(lost)}, and the figure "
            f"does not tell them apart. Add by: {lost[0]}, or leave by out."
        )
    own = {"x": spec.x, "y": spec.y, "by": [*spec.by] or None, "where": spec.where}
    more = {k: v for k, v in own.items() if v is not None and k not in entry.values}
    more = {k: v for k, v in more.items() if k == "where" or k in taken}
    return replace(entry, values={**entry.values, **more})


def own_law(entry: Entry, names: Sequence[str]) -> FitSpec | None:
    """The law that ``fit`` says: by its name, with its keys, or a power law (true)."""
    value = entry.values.get("fit")
    if value in (None, False):
        return None
    given = value if isinstance(value, Mapping) else {"law": "power" if value is True else value}
    about: dict[str, Any] = {k: entry.values[k] for k in ABOUT if k in entry.values}
    panel = entry.values.get("panel")
    if isinstance(panel, str):
        by = about.get("by")
        about["by"] = [*dict.fromkeys([*((by,) if isinstance(by, str) else by or ()), panel])]
    for key in given:
        if key in about or key == "name":
            raise InvalidValueError(f"{entry.place}.fit takes no {key}: it is the figure's.")
    return read_fit(Entry(f"{entry.place}.fit", {**about, **given}, entry.kinds), names)


def of_x_alone(entry: Entry, spec: FitSpec) -> None:
    """Refuse a law of more than x."""
    if {key for key, _ in find_law(spec.law).inputs(spec)} != {"x"}:
        raise InvalidValueError(
            f"{entry.place}.fit must be a law of x alone, got {spec.law!r}. Put that one under "
            "fits."
        )
