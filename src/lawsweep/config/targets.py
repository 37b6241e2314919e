"""``file.py:function`` or ``module:function`` in the place of a sweep's name."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from lawsweep.core.code.files import is_file
from lawsweep.core.registry import find_experiment
from lawsweep.grid.sweep import KEYS, hash_place


def is_target(name: str) -> bool:
    """Whether a name is that of a function, and no sweep's."""
    place, mark, function = name.rpartition(":")
    return bool(mark and place) and function.isidentifier() and not Path(name).exists()


def target_identity(name: str) -> tuple[str, tuple[str, str]]:
    """What a sweep of the function is called, and its place as a sweep's file would have one."""
    experiment = find_experiment(name)
    return experiment.name, (name, hash_place(f"function {experiment.name}"))


def beside(experiment: object, sweep_file: Path) -> object:
    """``experiment: file.py:function`` as it is written from the sweep's file, from here.

    A path counts from the working folder; where that has no such file, from the folder of the
    sweep's file.
    """
    if not isinstance(experiment, str) or ":" not in experiment:
        return experiment
    place, _, function = experiment.rpartition(":")
    if not is_file(place) or Path(place).is_file():
        return experiment
    there = sweep_file.resolve().parent / place
    return f"{os.path.relpath(there)}:{function}" if there.is_file() else experiment


def of_params(text: str, params: Collection[str]) -> str:
    """``lr=0.1,1`` as ``params.lr=0.1,1``, where no sweep file has keys of its own."""
    match = _HEAD.match(text) if isinstance(text, str) else None
    if match is None or match[2] not in params or match[2] in KEYS:
        return text
    return f"{match[1]}params.{text[len(match[1]) :]}"


_HEAD = re.compile(r"(\+{0,2}|~)([A-Za-z_]\w*)(?=[.=]|\Z)")
