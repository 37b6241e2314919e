"""Experiments are found by name: ours, an installed package's, or the user's own.

Those are written ``module:function`` or ``path/to/file.py:function``.

So is whatever else of the user's own a param may name, such as an activation.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from lawsweep.core import plugins
from lawsweep.core.code.clashes import refuse_clashes
from lawsweep.core.code.files import find_file, import_file, is_file, loaded_file, place_name
from lawsweep.core.errors import (
    InvalidValueError,
    LawsweepError,
    UnknownNameError,
    unknown_name,
)
from lawsweep.core.experiment import Experiment
from lawsweep.core.plain.decorator import plain_experiment

GROUP = "lawsweep.experiments"
BUILTIN = {
    name: f"lawsweep.experiments.{name}:{name}"
    for name in ("ntk_min_eig", "compression", "memorization", "ntk_memorization")
}


def experiment_names() -> dict[str, str]:
    """Built-in and installed experiments, name to ``module:function``."""
    return plugins.targets(GROUP, BUILTIN)


def find_experiment(name: str, folder: Path | None = None) -> Experiment:
    """The experiment called ``name``; ``folder`` (default: the working folder) is importable.

    Raises UnknownNameError with the nearest names, InvalidValueError when its module is broken or
    a file of the folder hides a module of Python's or of a package we need.
    """
    if not isinstance(name, str) or not name:
        raise InvalidValueError(f"experiment must be a name, got {name!r}.")
    target = name
    if ":" not in name:
        try:
            target = plugins.target(GROUP, name, BUILTIN)
        except UnknownNameError as error:
            raise UnknownNameError(
                f"{error} Your own is written module:function or path/to/file.py:function."
            ) from None
    module_name, _, attribute = target.rpartition(":")
    module = _imported("experiment", name, module_name, (folder or Path.cwd()).resolve())
    chosen = _experiment_in(module, attribute, name)
    if ":" in name and installed_elsewhere(chosen.name, module_name):
        raise InvalidValueError(
            f"{name!r} is called {chosen.name!r}, as an installed experiment is, and would share "
            "its table. Call it otherwise: @experiment(version=1, name=...)."
        )
    return chosen


def _experiment_in(module: ModuleType, attribute: str, name: str) -> Experiment:
    """An experiment of a module; a function of it that bears no decorator as one."""
    found = getattr(module, attribute, None)
    if isinstance(found, Experiment):
        return found
    if isinstance(found, FunctionType):
        return undecorated(found)
    if hasattr(module, attribute):
        raise InvalidValueError(
            f"{name!r} is no experiment and no function, but {type(found).__name__}; write the "
            "function, or decorate it with @experiment."
        )
    able = [k for k, v in vars(module).items() if isinstance(v, Experiment) or _is_own(v, module)]
    raise unknown_name("experiment", attribute, able, f"module {module.__name__}")


def _is_own(value: Any, module: ModuleType) -> bool:
    return isinstance(value, FunctionType) and value.__module__ == module.__name__


@lru_cache(maxsize=256)
def undecorated(function: Callable[..., Any], name: str | None = None) -> Experiment:
    """A plain function as an experiment, called after where it is (``files.place_name``).

    Raises InvalidValueError for one that could not become a table.
    """
    try:
        return plain_experiment(function, name or place_name(function))
    except TypeError as error:
        raise InvalidValueError(f"{error}") from None


def find_own(what: str, name: str, folder: Path | None = None) -> Any:
    """What ``name``, written ``module:attribute``, stands for; looked for as an experiment is.

    Raises UnknownNameError and InvalidValueError, in which it is called a ``what``.
    """
    module_name, _, attribute = name.rpartition(":")
    if not module_name or not attribute:
        raise InvalidValueError(f"{what} {name!r} must be written module:function.")
    module = _imported(what, name, module_name, (folder or Path.cwd()).resolve())
    if not hasattr(module, attribute):
        named = vars(module).items()
        public = [k for k, v in named if not (k.startswith("_") or isinstance(v, ModuleType))]
        raise unknown_name(what, attribute, public, f"module {module_name}")
    return getattr(module, attribute)


def _imported(what: str, name: str, module_name: str, folder: Path) -> ModuleType:
    """The module of ``name``; of the user's own the folder is searched, and stays on the path."""
    place, own = str(folder), ":" in name  # an installed one is not looked for in the folder
    if own or place in (str(Path(p).resolve()) for p in sys.path):
        refuse_clashes(Path(place))
    if own and place not in sys.path:
        sys.path.insert(0, place)  # stays: Ray's workers take over this path
    try:
        if own and is_file(module_name):
            path = find_file(module_name, folder)
            place = str(path.parent)
            return import_file(path)
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        its_own = error.name == module_name or module_name.startswith(f"{error.name}.")
        asked = "of" if its_own else f"that is imported{_line(error, place)} for"
        raise UnknownNameError(
            f"Cannot find the module {error.name!r} {asked} {what} {name!r}; "
            f"looked in {place} and the installed packages. Correct the name, or go to its folder."
        ) from None
    except (KeyboardInterrupt, LawsweepError):
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".: ")
        raise InvalidValueError(
            f"Importing {module_name!r} of {what} {name!r} failed{_line(error, place)}: "
            f"{reason}. Mend the file."
        ) from error


def _line(error: BaseException, place: str) -> str:
    """Where in the user's own files it was raised; a SyntaxError says it itself."""
    frames = [] if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        own = Path(frame.filename).is_relative_to(place)
        if own and "site-packages" not in frame.filename:
            return f" at line {frame.lineno} of {Path(frame.filename).relative_to(place)}"
    return ""


def installed_elsewhere(name: str, module: str) -> bool:
    """Whether an installed experiment of that name lives in another module."""
    target = experiment_names().get(name)
    return target is not None and target.partition(":")[0] != module


def experiment_at_hand(name: str) -> Experiment | None:
    """The installed experiment called ``name``; None where there is none, or it is broken."""
    with suppress(LawsweepError):
        return find_experiment(name) if name in experiment_names() else None
    return None


def loaded_experiment(name: str) -> Experiment | None:
    """The experiment at ``module:function`` where that is imported already; nothing is."""
    module, _, attribute = name.rpartition(":")
    loaded = loaded_file(module) if is_file(module) else sys.modules.get(module)
    found = getattr(loaded, attribute, None) if module else None
    if isinstance(found, FunctionType):
        return undecorated(found)
    return found if isinstance(found, Experiment) else None
