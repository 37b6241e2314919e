"""Executors by name, from the ``executor`` entry of a config: ours, and other packages'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lawsweep.core import plugins
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.options import read_options
from lawsweep.core.protocols import Executor

GROUP = "lawsweep.executors"
BUILTIN = {
    "serial": "lawsweep.executors.serial:SerialExecutor",
    "processes": "lawsweep.executors.processes.executor:ProcessesExecutor",
    "ray_local": "lawsweep.executors.ray.tasks:RayLocalExecutor",
    "ray_cluster": "lawsweep.executors.ray.tasks:RayClusterExecutor",
}
DEFAULT = "ray_local"


def executor_names() -> list[str]:
    """All that ``executor=`` may name."""
    return plugins.names(GROUP, BUILTIN)


def make_executor(config: Mapping[str, Any] | str) -> Executor:
    """The executor a config asks for, not started.

    Raises UnknownNameError for a name or an option that there is not, InvalidValueError for a value
    that does not fit or a package that is broken.
    """
    found, kind, given = _found(config)
    return found(read_options(found.Options, given, f"executor {kind}"))


def options_of(config: Mapping[str, Any] | str) -> type:
    """The dataclass of the options that an executor has.  Raises as ``make_executor`` does."""
    return _found(config)[0].Options


def _found(config: Mapping[str, Any] | str) -> tuple[type[Executor], str, dict[str, Any]]:
    """The class a config asks for, its name, and the options as given."""
    if not isinstance(config, str | Mapping):
        raise InvalidValueError(f"executor must be a name or a mapping, got {config!r}.")
    given: dict[str, Any] = {"kind": config} if isinstance(config, str) else dict(config)
    kind = str(given.pop("kind", DEFAULT))
    return plugins.load_class(GROUP, kind, BUILTIN, Executor), kind, given
