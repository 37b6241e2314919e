"""Sinks by name, from ``sinks: [...]`` of a config or a call: ours, and other packages'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lawsweep.core import plugins
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.options import read_options
from lawsweep.core.protocols import Sink
from lawsweep.launch.sinks.delivery import HOOKS

GROUP = "lawsweep.sinks"
BUILTIN = {
    "jsonl": "lawsweep.launch.sinks.jsonl:EventLog",
    "mlflow": "lawsweep.launch.sinks.mlflow:MlflowSink",
}


def sink_names() -> list[str]:
    """All that ``sinks=[...]`` may name."""
    return plugins.names(GROUP, BUILTIN)


def make_sinks(entries: Iterable[Any]) -> list[Any]:
    """The sinks of some entries: a name, a mapping with ``kind``, or what hears of a launch itself.

    Raises UnknownNameError for a name or an option that there is not, InvalidValueError for what
    is no sink, a value that does not fit, or a package that is broken.  Nothing is opened yet.
    """
    if isinstance(entries, str | Mapping) or not isinstance(entries, Iterable):
        raise InvalidValueError(f"sinks must be a list of sinks, got {entries!r}.")
    return [_make(entry) for entry in entries]


def _make(entry: Any) -> Any:
    if not isinstance(entry, str | Mapping):
        if isinstance(entry, type) or not (
            callable(entry) or any(hasattr(entry, h) for h in HOOKS)
        ):
            raise InvalidValueError(
                f"A sink is a name ({', '.join(sink_names())}), a mapping with kind, a callable, "
                f"or an object with any of {', '.join(HOOKS)}; got {entry!r}."
            )
        return entry
    given: dict[str, Any] = {"kind": entry} if isinstance(entry, str) else dict(entry)
    if "kind" not in given:
        raise InvalidValueError(
            f"A sink needs a kind, one of {', '.join(sink_names())}; got {dict(entry)!r}."  # type: ignore[arg-type]
        )
    kind = str(given.pop("kind"))
    found = plugins.load(GROUP, kind, BUILTIN)
    if not isinstance(found, type) or not issubclass(found, Sink):
        raise InvalidValueError(
            f"The sink {kind!r} must be a subclass of lawsweep.core.protocols.Sink, got {found!r}. "
            "Mend its package."
        )
    return found(read_options(found.Options, given, f"sink {kind}"))
