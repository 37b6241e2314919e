"""The root of a project: where its sweeps, its settings and its results are."""

from __future__ import annotations

from pathlib import Path

_GROUPS_OF_CONF = ("executor", "store", "experiment")


def project_root(start: Path) -> Path:
    """The project ``start`` lies in: the nearest folder upwards with sweep files or a ``conf/``.

    ``start`` itself where there is none.  A repository's root is as far as is looked.
    """
    for folder in (start, *start.parents):
        if _is_project(folder):
            return folder
        if (folder / ".git").exists():
            break
    return start


def _is_project(folder: Path) -> bool:
    """results/ holds a folder called sweeps too, of folders: files make the difference."""
    try:
        if any(p.suffix in (".yaml", ".yml") for p in (folder / "sweeps").iterdir()):
            return True
    except OSError:
        pass
    conf = folder / "conf"
    return (conf / "config.yaml").is_file() or any((conf / g).is_dir() for g in _GROUPS_OF_CONF)


def from_root(place: str) -> str:
    """A results folder as a verb means it, who works in the root: whole, where one is below that.

    ``results`` of a program that was started in a subfolder is where ``lawsweep status`` looks.
    """
    here = Path.cwd()
    root = project_root(here)
    return place if root == here or "://" in place else str(root / place)
