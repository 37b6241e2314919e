"""``path/to/file.py:function``: a file of the user's, imported where it lies.

It is imported by its own name with its folder on the path, as ``python path/to/file.py`` has it, so
that what lies beside it is found, here and by the workers.  Where its name is taken (two files of
one name), or is none (``train-1.py``), it gets one with a hash, and is shipped as its text.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from lawsweep.core.code.clashes import refuse_clashes
from lawsweep.core.errors import InvalidValueError, UnknownNameError, nearest

ROOTS = ("sweeps", "conf", "pyproject.toml", ".git")  # what marks the root of a project
_BY_TEXT = "__lawsweep_text__"  # in modules that no import finds: their text


def is_file(target: str) -> bool:
    """Whether what stands before the colon is a file, and no module."""
    return target.endswith(".py") or "/" in target


def find_file(target: str, folder: Path) -> Path:
    """The file, as it is written from ``folder``, or from the root of the project around that.

    Raises UnknownNameError.
    """
    places = [folder, *(p for p in folder.parents if p == root_of(folder))]
    for place in places:
        path = (place / Path(target).expanduser()).resolve()
        if path.is_file():
            return path
    beside = (folder / target).parent
    names = sorted(p.name for p in beside.glob("*.py")) if beside.is_dir() else []
    close = nearest(Path(target).name, names)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownNameError(
        f"There is no file {target}; looked from {' and '.join(map(str, places))}.{hint} Write the "
        "path from there, or a whole one."
    )


def root_of(place: Path) -> Path:
    """The nearest folder, from a place upwards, that is the root of a project; else its own."""
    folder = place if place.is_dir() else place.parent
    for each in (folder, *folder.parents):
        if any((each / mark).exists() for mark in ROOTS):
            return each
    return folder


def place_name(function: Callable[..., Any]) -> str:
    """What a function without a decorator is called: after where it is, however it is found.

    The path of its file from the root of the project and its own name, ``studies_train_run``; an
    installed one by its module; one of no file (a notebook's) by its name alone.
    """
    name = re.sub(r"\W+", "_", function.__qualname__.replace("<locals>.", "")).strip("_")
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    if function.__module__ in ("__main__", None) and not file:  # None: made by exec
        return name
    if file is None or {"site-packages", "dist-packages"} & set(Path(file).parts):
        where: tuple[str, ...] = tuple(function.__module__.split("."))
    else:
        path = Path(file).resolve().with_suffix("")
        where = path.relative_to(root_of(path.parent)).parts
    full = re.sub(r"\W", "_", "_".join((*where, name)))
    return full if full[:1].isalpha() else f"f_{full.lstrip('_')}"


def import_file(path: Path) -> ModuleType:
    """Import a file.  Raises what its code raises, and InvalidValueError for what is no Python."""
    if path.suffix != ".py":
        raise InvalidValueError(f"{path} is no Python file. Give one with a name that ends in .py.")
    refuse_clashes(path.parent)
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # stays, for what it imports later, and for the workers
    name = path.stem
    loaded = sys.modules.get(name)
    if _is_file_of(loaded, path):
        assert loaded is not None
        return loaded
    if loaded is None and name.isidentifier():
        spec = PathFinder.find_spec(name, [p for p in sys.path if p])
        if spec is not None and spec.origin and Path(spec.origin).resolve() == path:
            return importlib.import_module(name)
    return import_text(_hashed(path), path.read_bytes(), str(path))


def loaded_file(target: str) -> ModuleType | None:
    """The module of a file that is imported already; nothing is."""
    path = (Path.cwd() / target).resolve()
    found = (sys.modules.get(path.stem), sys.modules.get(_hashed(path)))
    return next((m for m in found if _is_file_of(m, path)), None)


def _hashed(path: Path) -> str:
    stem = re.sub(r"\W", "_", path.stem)
    return f"{stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"


def _is_file_of(module: ModuleType | None, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path


def import_text(name: str, text: bytes, file: str) -> ModuleType:
    """A module of a text, under a name that no import would find; where it is loaded, that one."""
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, _BY_TEXT, None) == text:
        return loaded
    module = ModuleType(name)
    module.__file__ = file
    setattr(module, _BY_TEXT, text)
    sys.modules[name] = module
    try:
        exec(compile(text, file, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def text_of(name: str) -> tuple[str, bytes, str] | None:
    """Arguments of ``import_text`` for a module that was made so; None for any other."""
    module = sys.modules.get(name)
    text = getattr(module, _BY_TEXT, None)
    return None if text is None else (name, text, str(getattr(module, "__file__", "")))
