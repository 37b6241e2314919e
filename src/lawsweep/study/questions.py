"""A folder of ``results/sweeps`` belongs to one question: whose it is, and who shares its name.

The plain name belongs to the sweep's file as it stands, also when that is edited; the name and a
signature to the file under other overrides.  Two files of one name are told apart by where they
are and, since a file may move, by the runs they plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.secrets import hide_overrides
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep, hash_place

if TYPE_CHECKING:
    from lawsweep.store.sweeps.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Variant:
    """A folder of the same sweep under other overrides."""

    folder: str
    overrides: tuple[str, ...]
    n_planned: int


def open_own_folder(sweep: Sweep, plan: Plan) -> SweepFolder:
    """The sweep's folder.  Raises InvalidValueError where it belongs to another sweep."""
    from lawsweep.store.sweeps.sweep_folder import QUESTION, SweepFolder

    folder = SweepFolder(sweep.folder)
    said = folder.question()
    if said is not None and not _is_same(said, sweep, plan, folder):
        what = f"{said.get('sweep')} ({said.get('file') or 'built in Python'})"
        ours = sweep.file[0] if sweep.file else "built in Python"
        raise InvalidValueError(
            f"{sweep.folder} belongs to another sweep, {what}, of the experiment "
            f"{said.get('experiment')}; this one is {ours}, and its plan and figures would take "
            "the place of those there. Give it another name, or set results_dir to another "
            f"folder. If it is that sweep, moved and changed, remove {QUESTION} there."
        )
    return folder


def claim(folder: SweepFolder, sweep: Sweep, plan: Plan, *, anew: bool = False) -> None:
    """Write whose folder it is, if nobody has; with ``anew`` also if that has changed."""
    question = describe_question(sweep, plan)
    said = folder.question()
    if said is None or (anew and said != question):
        folder.write_question(question)


def describe_question(sweep: Sweep, plan: Plan) -> dict[str, Any]:
    """What a folder says of whose it is."""
    return {
        "sweep": sweep.name,
        "variant": sweep.variant,
        "overrides": hide_overrides(sweep.asking) if sweep.variant else [],
        "experiment": plan.experiment.name,
        "file": sweep.file[0] if sweep.file else None,
        "file_hash": sweep.file[1] if sweep.file else None,
        "n_planned": len(plan),
    }


def _is_same(said: Mapping[str, Any], sweep: Sweep, plan: Plan, folder: SweepFolder) -> bool:
    if (said.get("sweep"), said.get("variant")) != (sweep.name, sweep.variant):
        return False
    if said.get("file_hash") == (sweep.file[1] if sweep.file else None):
        return sweep.file is not None or said.get("experiment") == plan.experiment.name
    # Elsewhere, then: the same one, moved, if it asks for the same runs, or for some more or fewer.
    then, now = set(folder.frozen_run_ids()), set(plan.run_ids)
    if said.get("experiment") != plan.experiment.name:
        return False
    return then == now or (not _is_there(said) and (then <= now or now <= then))


def _is_there(said: Mapping[str, Any]) -> bool:
    """Whether the file that a folder belongs to is where it was: then another was not moved."""
    file = said.get("file")
    if not isinstance(file, str):
        return False
    path = Path(file)
    return path.is_file() and hash_place(str(path.resolve())) == said.get("file_hash")


def variants(sweep: Sweep) -> list[Variant]:
    """The other folders of the sweep: under other overrides, or (of none) as the file stands."""
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.sweeps.sweep_folder import SweepFolder

    sweeps, found = open_folder(sweep.results) / "sweeps", []
    for name in sweeps.folders():
        if name == sweep.folder_name or not f"{name}-".startswith(f"{sweep.name}-"):
            continue
        said = SweepFolder(sweeps / name).question() or {}
        n = said.get("n_planned")
        if said.get("sweep") == sweep.name and isinstance(n, int):
            given = said.get("overrides")
            texts = tuple(map(str, given)) if isinstance(given, list) else ()
            found.append(Variant(name, texts, n))
    return found
