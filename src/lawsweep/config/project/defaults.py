"""A project: the folder where its sweeps and its conf lie, and what all its sweeps start from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lawsweep.config.files import data_folder, read_sweep_file
from lawsweep.config.interpolations import resolve_text
from lawsweep.config.overrides import parse_override
from lawsweep.config.presets import GROUPS, check_part
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.grid.sweep import KEYS

# What can be the same of all sweeps; params and grids belong to an experiment or to a sweep.
DEFAULTS = ("executor", "max_points", "on_failure", "results_dir", "seeds", "sinks", "store")


def project_defaults() -> tuple[dict[str, Any], tuple[str, ...]]:
    """What ``conf/config.yaml`` of the working folder says of all sweeps, and notes on it.

    A file with none of our keys is another program's, such as a Hydra application's, and is let
    be; one with a key that is not ours is not read either, and a note says so.  Raises
    InvalidValueError for what is not YAML, has the wrong shape or cannot be said of all sweeps.
    """
    path = Path.cwd() / "conf" / "config.yaml"
    if not path.is_file() or path.resolve() == (data_folder("conf") / "config.yaml").resolve():
        return {}, ()
    found = dict(read_sweep_file(path))
    chosen = found.pop("defaults", None)
    near = [k for k in found if k != "seed"]  # of many an application, which means no seeds
    meant = [k for k in near if k in KEYS or get_close_matches(str(k), KEYS, n=1, cutoff=0.8)]
    if not meant and not _is_ours(chosen):
        return {}, ()
    strange = sorted(str(k) for k in found if k not in KEYS)
    if strange:
        return {}, (
            f"{path} is not read as the defaults of this project: {strange[0]!r} is no key of "
            f"one. Those are {', '.join(DEFAULTS)}.",
        )
    found = _chosen(chosen, path) | found
    found = {k: v for k, v in found.items() if k in DEFAULTS or v not in (None, {}, [])}
    other = sorted(k for k in found if k not in DEFAULTS)
    if other:
        raise InvalidValueError(
            f"{path} says {other[0]} of all sweeps; a project has defaults of "
            f"{', '.join(DEFAULTS)} alone. Write {other[0]} into a sweep, or into "
            "conf/experiment/NAME.yaml for all sweeps of an experiment."
        )
    check_part(found, f"project file {path}")
    return found, ()


def _is_ours(chosen: Any) -> bool:
    entries = chosen if isinstance(chosen, list) else []
    return any(isinstance(e, Mapping) and set(e) & set(GROUPS) for e in entries)


def _chosen(chosen: Any, path: Path) -> dict[str, Any]:
    """The groups that a ``defaults:`` list chooses, as Hydra's files have one."""
    found: dict[str, Any] = {}
    for entry in chosen or []:
        if entry == "_self_":
            continue
        if not isinstance(entry, Mapping) or not set(entry) <= set(GROUPS):
            raise InvalidValueError(
                f"defaults in {path} choose a member of {' or '.join(GROUPS)}, as in "
                f"`- executor: serial`; got {entry!r}."
            )
        found |= {str(k): v for k, v in entry.items()}
    return found


def results_folder(overrides: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The results folder of a verb whose only override is ``results_dir=...``, and notes.

    Raises a LawsweepError for another override.
    """
    project, notes = project_defaults()
    found = str(project.get("results_dir") or os.environ.get("LAWSWEEP_RESULTS_DIR") or "results")
    for text in overrides:
        override = parse_override(text)
        if override.path != ("results_dir",):
            raise unknown_name("key", ".".join(override.path), ["results_dir"], f"{text!r}")
        found = str(override.value or "results")
    return (str(resolve_text(found, {})) if "${" in found else found), notes
