"""Experiments are found by name: ours, an installed package's, or ``module:function``."""

from __future__ import annotations

import importlib
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from lawsweep.core import plugins
from lawsweep.core.code.clashes import refuse_clashes
from lawsweep.core.errors import (
    InvalidValueError,
    LawsweepError,
    UnknownNameError,
    unknown_name,
)
from lawsweep.core.experiment import Experiment

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
            raise UnknownNameError(f"{error} Your own is written module:function.") from None
    module_name, _, attribute = target.partition(":")
    place = str((folder or Path.cwd()).resolve())
    own = ":" in name  # an installed one is not looked for in the folder
    if own or place in (str(Path(p).resolve()) for p in sys.path):
        refuse_clashes(Path(place))
    if own and place not in sys.path:
        sys.path.insert(0, place)  # stays: Ray's workers take over this path
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        its_own = error.name == module_name or module_name.startswith(f"{error.name}.")
        asked = "of" if its_own else f"that is imported{_line(error, place)} for"
        raise UnknownNameError(
            f"Cannot find the module {error.name!r} {asked} experiment {name!r}; "
            f"looked in {place} and the installed packages."
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".: ")
        raise InvalidValueError(
            f"Importing {module_name!r} of experiment {name!r} failed{_line(error, place)}: "
            f"{reason}. Mend the file."
        ) from error
    found = {k: v for k, v in vars(module).items() if isinstance(v, Experiment)}
    if attribute not in found:
        if hasattr(module, attribute):
            raise InvalidValueError(
                f"{name!r} is no experiment; decorate it with @experiment(version=1)."
            )
        raise unknown_name("experiment", attribute, found, f"module {module_name}")
    chosen = found[attribute]
    if ":" in name and installed_elsewhere(chosen.name, module_name):
        raise InvalidValueError(
            f"{name!r} is called {chosen.name!r}, as an installed experiment is, and would share "
            "its table. Call it otherwise: @experiment(version=1, name=...)."
        )
    return chosen


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
    module, _, attribute = name.partition(":")
    found = getattr(sys.modules.get(module), attribute, None) if attribute else None
    return found if isinstance(found, Experiment) else None
