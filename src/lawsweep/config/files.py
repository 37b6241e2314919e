"""Where sweep files and groups lie, and how a sweep file is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import lawsweep
from lawsweep.core.errors import InvalidValueError, StoreError, UnknownNameError, unknown_name

_SUFFIXES = (".yaml", ".yml")


def data_folder(name: str) -> Path:
    """``conf`` or ``sweeps`` as shipped: inside the wheel, or at the root of a checkout."""
    package = Path(lawsweep.__file__).resolve().parent
    shipped = package / "_data" / name
    return shipped if shipped.is_dir() else package.parents[1] / name


def own_and_shipped(name: str) -> list[Path]:
    """The folders ``conf`` or ``sweeps`` that there are: the working folder's first."""
    own, shipped = Path.cwd() / name, data_folder(name)
    return [p for p in dict.fromkeys((own.resolve(), shipped.resolve())) if p.is_dir()]


def sweep_names() -> list[str]:
    """Names of the sweeps that can be asked for."""
    folders = own_and_shipped("sweeps")
    return sorted({p.stem for f in folders for p in f.iterdir() if p.suffix in _SUFFIXES})


def find_sweep_file(name: str) -> Path:
    """The file of a sweep given by name or by path.  Raises UnknownNameError."""
    if name.endswith(".py"):
        raise UnknownNameError(_which_function(name))
    if name.endswith(_SUFFIXES) or "/" in name:
        path = Path(name)
        if _is_file(path):
            return path
        raise UnknownNameError(f"{_why_no_file(path)} Check the path.")
    folders = own_and_shipped("sweeps")
    for folder in folders:
        for suffix in _SUFFIXES:
            if _is_file(folder / f"{name}{suffix}"):
                return folder / f"{name}{suffix}"
    places = " or ".join(map(str, folders))
    error = unknown_name("sweep", name, sweep_names())
    raise UnknownNameError(f"{error} Looked in {places}; a path to a YAML file works too.")


def _which_function(name: str) -> str:
    """A sentence for a file of Python without a function: which ones it has, and how to say it."""
    import ast

    from lawsweep.core.code.files import find_file

    path = find_file(name, Path.cwd())
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return f"{name} is no sweep, and cannot be read as Python: {error}."
    found = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name[:1] != "_"]
    if not found:
        return (
            f"{name} is no sweep, and has no function. A sweep is a YAML file, or {name}:function."
        )
    some = ", ".join(f"{name}:{f}" for f in found[:20]) + (", ..." if len(found) > 20 else "")
    return f"{name} is a file of functions: say which one is to be run, after a colon: {some}."


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than any file's, or a folder that may not be looked into
        return False


def _why_no_file(path: Path) -> str:
    """A sentence on what lies there instead of a file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        dangling = path.is_symlink()
        return (
            f"{path} is a link to {os.readlink(path)}, which does not exist."  # noqa: PTH115
            if dangling
            else f"There is no sweep file {path}."
        )
    except ValueError:  # a zero byte, which no command line can give
        return f"{str(path)!r} cannot be the name of a file."
    except OSError as error:  # links in a circle, a name that is too long, no permission
        return f"The sweep file {path} cannot be opened: {error.strerror}."
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
    return f"{path} is {kind}, and a sweep is a YAML file."


def read_sweep_file(path: Path) -> dict[str, Any]:
    """A YAML file as plain containers, its interpolations as they are written."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from lawsweep.store.exchange.yaml_text import read_yaml

    try:
        read = read_yaml(path.read_text(encoding="utf-8"))
        found = OmegaConf.to_container(OmegaConf.create({} if read is None else read))
    except InvalidValueError as error:
        raise InvalidValueError(f"{path} {error}") from None
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidValueError(
            f"{path}{line} is not YAML: {error.problem}. Correct it there."
        ) from None
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{path} is not YAML: {str(error).splitlines()[0]}. Correct it there."
        ) from None
    except OSError as error:
        raise StoreError(
            f"Cannot read {path}: {error.strerror}. Correct the path, or who may read it."
        ) from None
    if not isinstance(found, dict):
        raise InvalidValueError(f"{path} must be a mapping with the key experiment, got {found!r}.")
    return found  # type: ignore[return-value]
