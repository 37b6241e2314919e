"""What a word names, where a verb takes a sweep, an experiment or a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lawsweep.cli.options import load, results_dir
from lawsweep.core.errors import UnknownNameError

if TYPE_CHECKING:
    from lawsweep.core.experiment import Experiment
    from lawsweep.grid.sweep import Sweep


def first_name(words: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """``[NAME] [OVERRIDES]...``: the name, if the first word is one."""
    named = bool(words) and ("=" not in words[0] or Path(words[0]).exists())
    return (words[0], tuple(words[1:])) if named else (None, tuple(words))


def is_experiment(name: str) -> bool:
    """Whether a name is an experiment's and no sweep's: sweeps go first."""
    from lawsweep.config.files import sweep_names
    from lawsweep.core.registry import experiment_names

    if name.endswith((".yaml", ".yml")) or name in sweep_names():
        return False
    return ":" in name or name in experiment_names()


def is_table(name: str, overrides: Sequence[str]) -> bool:
    """Whether a name that is no sweep's is that of a table in the results folder."""
    from lawsweep.config.files import sweep_names
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.table.tables import table_names

    if (
        name in sweep_names()
        or "/" in name
        or not all(o.startswith("results_dir=") for o in overrides)
    ):
        return False
    return name in table_names(open_folder(results_dir(overrides)))


def sweep_or_experiment(
    name: str, overrides: Sequence[str]
) -> tuple[Sweep | Experiment, str | None]:
    """A sweep of that name, else an experiment and its results folder."""
    from lawsweep.config.files import sweep_names
    from lawsweep.core.registry import experiment_names, find_experiment

    if is_experiment(name):
        return find_experiment(name), results_dir(overrides)
    try:
        return load(name, overrides), None
    except UnknownNameError as error:
        if name in sweep_names() or "/" in name:
            raise
        raise UnknownNameError(
            f"{error} Experiments: {', '.join(sorted(experiment_names()))}, or module:function."
        ) from None
