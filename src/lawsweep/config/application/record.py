"""What a study of an application asks, kept in its folder, so that every verb knows it by name.

``results/sweeps/<name>/application.json`` has the points and seeds of all multiruns of that name so
far.  A row's params and metrics are described by the table itself.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lawsweep.config.application.columns import DIGEST
from lawsweep.core.errors import InvalidValueError, StoreError, unknown_name
from lawsweep.grid.sweep import Sweep, results_place

if TYPE_CHECKING:
    from lawsweep.config.overrides import Override
    from lawsweep.store.places.folder import Folder

FILE = "application.json"
MOST_BYTES = 2**31


def keep(sweep: Sweep, points: Mapping[str, Mapping[str, Any]], command: str) -> None:
    """Add the points and seeds of a multirun to what its study has asked so far."""
    from lawsweep.store.places.find import open_folder

    folder = open_folder(sweep.folder)
    said = _read(folder) or {}
    before = said.get("points") if said.get("experiment") == _name(sweep) else None
    merged = {str(p[DIGEST]): p for p in before or () if isinstance(p, dict) and DIGEST in p}
    merged |= {digest: dict(point) for digest, point in points.items()}
    seeds = {*(said.get("seeds", ()) if before else ()), *sweep.seeds}
    record = {
        "experiment": _name(sweep),
        "command": command,
        "seeds": sorted(seeds),
        "fits": list(sweep.fits),
        "figures": list(sweep.figures),
        "points": list(merged.values()),
    }
    folder.write(FILE, json.dumps(record, separators=(",", ":"), default=str).encode())


def _name(sweep: Sweep) -> str:
    return sweep.find_experiment().name


def _read(folder: Folder) -> dict[str, Any] | None:
    """The record in a folder; None where there is none that can be read."""
    try:
        found = json.loads(folder.read(FILE, most=MOST_BYTES))
    except (FileNotFoundError, StoreError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("points"), list) else None


def results_of(overrides: Sequence[Override]) -> str:
    """The results folder that overrides, or the environment, name."""
    said = [o.value for o in overrides if o.path == ("results_dir",)]
    return str((said and said[-1]) or os.environ.get("LAWSWEEP_RESULTS_DIR") or "results")


def is_kept(name: str, overrides: Sequence[Override]) -> bool:
    """Whether a study of an application is called so, in the results folder that is meant."""
    if "/" in name or not name:
        return False
    from lawsweep.store.places.find import open_folder

    try:
        return FILE in (open_folder(results_place(results_of(overrides))) / "sweeps" / name).names()
    except (StoreError, OSError):
        return False


def kept_config(name: str, overrides: Sequence[Override]) -> dict[str, Any]:
    """What a study of an application asks, as the config of a sweep.

    Its experiment is the one that its table describes.  Raises InvalidValueError where there is no
    row, and so no table, yet.
    """
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.table.stored import stored_experiment

    results = results_of(overrides)
    root = open_folder(results_place(results))
    said = _read(root / "sweeps" / name)
    if said is None:
        raise InvalidValueError(f"{root / 'sweeps' / name}/{FILE} cannot be read. Remove it.")
    found = stored_experiment(root / "tables", str(said["experiment"]))
    command = str(said.get("command") or "python app.py -m hydra/sweeper=lawsweep")
    ready = dataclasses.replace(found, function=_Elsewhere(name, command), learns=True)
    known = {s.name for s in ready.params}
    points = [{k: v for k, v in p.items() if k in known} for p in said["points"]]
    return {
        "experiment": ready,
        "axes": {"points": points},
        "seeds": said["seeds"],
        "fits": said.get("fits", []),
        "figures": said.get("figures", []),
        "results_dir": results,
    }


def chosen_points(
    points: Sequence[Mapping[str, Any]],
    overrides: Sequence[Override],
    names: Collection[str],
) -> list[Mapping[str, Any]]:
    """The points that overrides of params leave: of a study that has run they choose.

    Raises a LawsweepError for a param that there is not, and where no point is left.
    """
    found = list(points)
    for override in overrides:
        if override.path[0] != "params":
            continue
        name = ".".join(override.path[1:])
        if name not in names:
            raise unknown_name("param", name, names, f"override {override.text!r}")
        values = override.value if override.is_sweep else [override.value]
        if not isinstance(values, list) or override.is_delete:
            raise InvalidValueError(
                f"{override.text!r}: the points of an application's study are those that it was "
                f"asked for; choose among them by values, as in params.{name}=1,2."
            )
        left = [p for p in found if p.get(name) in values]
        if not left:
            known = ", ".join(map(str, dict.fromkeys(p.get(name) for p in found)))
            raise InvalidValueError(
                f"{override.text!r} leaves no job of this study; {name} is one of {known[:200]}."
            )
        found = left
    return found


class _Elsewhere:
    """In place of the function of an application, which is not at hand when its rows are read."""

    __module__ = "application"

    def __init__(self, name: str, command: str):
        self.__qualname__ = self.__name__ = name
        self.started_by = command
        self.cannot_run = (
            f"The runs of {name} are a Hydra application's, which starts them itself. Type what "
            f"was typed (with hydra.sweeper.retry=true for what has failed): {command}"
        )

    def __call__(self, params: Any, seed: int) -> Any:
        raise InvalidValueError(self.cannot_run)
