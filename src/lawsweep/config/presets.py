"""A sweep file and its preset, as two parts that merge into what is meant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lawsweep.config.axes_of import axes_of, without_unused
from lawsweep.config.habits import refuse_defaults
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.registry import find_experiment
from lawsweep.grid.axes import Axes
from lawsweep.grid.sweep import KEYS, check_shapes

GROUPS = ("executor", "store")


def preset_of(presets: Any, name: Any, path: Path) -> dict[str, Any]:
    """The preset of that name; all of them are checked.  Raises a LawsweepError."""
    if not isinstance(presets, Mapping):
        raise InvalidValueError(f"presets in {path} must map names to parts of a sweep.")
    for one, part in presets.items():  # of them all: a slip in one is told before it is wanted
        place = f"preset {one} of {path}"
        check_part(part or {}, place)
        if (part or {}).get("preset") is not None:
            raise InvalidValueError(f"The {place} cannot choose another preset; write it out.")
    if name is None:
        return {}
    if not isinstance(name, str) or name not in presets:
        raise unknown_name("preset", str(name), map(str, presets), f"sweep file {path}")
    return dict(presets[name] or {})


def check_part(content: Mapping[str, Any], place: str) -> None:
    """Raise a LawsweepError for a key that no sweep has, or a value of another shape."""
    if not isinstance(content, Mapping):
        raise InvalidValueError(f"The {place} must be a mapping, got {content!r}.")
    refuse_defaults(content, place)
    for key in content:
        if key not in KEYS:
            raise unknown_name("key", str(key), (*KEYS, "presets"), place)
    # An interpolation is checked when it has been resolved.
    plain = {k: v for k, v in content.items() if not str(v).startswith("${")}
    check_shapes(plain, f"the {place}", or_name=GROUPS)


def under(
    content: Mapping[str, Any], preset: Mapping[str, Any], experiment: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the sweep file says where its preset says nothing, and what is left of the preset.

    A param that the preset fixes, spans or derives is no longer what the file made of it; where
    one has a list and the other a mapping, which cannot merge, the preset's stands.  What the file
    spans under a condition, or in some grids of a union, takes the preset's values there.
    """
    axes, preset = _inside(content, preset)
    found = dict(content)
    spanned = axes_of(preset).names
    fixed, derived = map(list, (preset.get("params") or {}, preset.get("derive") or {}))
    for name in (*fixed, *derived):
        axes = axes.without(str(name))
    for key, others in (("params", [*spanned, *derived]), ("derive", [*spanned, *fixed])):
        if isinstance(found.get(key), Mapping):
            found[key] = {k: v for k, v in found[key].items() if k not in others}
    derives = content.get("derive") if isinstance(content.get("derive"), Mapping) else {}
    removed = [str(v) for n, v in (derives or {}).items() if n in (*spanned, *fixed)]
    if removed and isinstance(experiment, str):
        fields = [s.name for s in find_experiment(experiment).params]
        axes = without_unused(found, axes, removed, fields, preset)
    if content.get("axes") is not None:
        found["axes"] = axes.written()
    kept = {
        k: v for k, v in found.items() if k in GROUPS or k not in preset or _alike(v, preset[k])
    }
    return kept, dict(preset)


def _inside(content: Mapping[str, Any], preset: Mapping[str, Any]) -> tuple[Axes, dict[str, Any]]:
    """The file's axes with the preset's values of those inside ``when`` and ``union`` in place.

    And what is left of the preset.
    """
    axes, preset = axes_of(content), dict(preset)
    given = {*(content.get("params") or {}), *(content.get("derive") or {})}
    for key in ("params", "axes"):
        own = preset.get(key)
        if not isinstance(own, Mapping) or (key == "axes" and not _alike(content.get(key), own)):
            continue
        for name in [n for n in own if n not in given and axes.has_inside_only(str(n))]:
            axes = axes.with_values(str(name), own[name] if key == "axes" else [own[name]])
            preset[key] = {k: v for k, v in preset[key].items() if k != name}
    return axes, preset


def _alike(a: Any, b: Any) -> bool:
    return isinstance(a, Mapping) == isinstance(b, Mapping)
