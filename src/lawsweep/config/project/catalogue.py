"""What a sweep file says of itself: the comment that it begins with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lawsweep.config.files import data_folder, find_sweep_file, read_sweep_file, sweep_names
from lawsweep.core.errors import LawsweepError


@dataclass(frozen=True)
class Entry:
    """A sweep that can be asked for; ``problem`` says why its file cannot be read."""

    name: str
    path: Path
    comes_with_us: bool
    question: str  # the comment at its head
    experiment: str
    presets: tuple[str, ...]
    problem: str = ""


def entries() -> list[Entry]:
    """The sweeps of the working folder, by name, then those that come with lawsweep."""
    return sorted(map(entry, sweep_names()), key=lambda e: (e.comes_with_us, e.name))


def entry(name: str) -> Entry:
    """One sweep, by name or path.  Raises UnknownNameError where there is no such file."""
    path = find_sweep_file(name)
    ours = path.resolve().parent == data_folder("sweeps").resolve()
    try:
        found = read_sweep_file(path)
    except LawsweepError as error:
        return Entry(path.stem, path, ours, "", "", (), str(error))
    presets = found.get("presets")
    names = tuple(map(str, presets)) if isinstance(presets, dict) else ()
    experiment = str(found.get("experiment") or "")
    if (command := found.get("command")) is not None:
        run = command.get("run") if isinstance(command, Mapping) else command
        experiment = f"the command {' '.join(map(str, run)) if isinstance(run, list) else run}"
    return Entry(path.stem, path, ours, _head(path), experiment, names)


def _head(path: Path) -> str:
    """The comment at the head of a file, as one paragraph; an empty line of it ends it."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if not text.startswith("#") or (words and text == "#"):
            break
        words += text.lstrip("# ").split()
    return " ".join(words)


def first_sentence(text: str) -> str:
    """What comes before the first full stop or question mark."""
    return re.split(r"(?<!Fig\.)(?<=[.?!])\s", text, maxsplit=1)[0].rstrip(".")
