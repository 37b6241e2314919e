"""Errors a user can cause, each with one clear sentence and its own exit code.

Every message says what was expected, what was got and what to do; an unknown name lists the
nearest valid ones.  The command line prints the message alone, never a stack.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from lawsweep.core.names import folded


class LawsweepError(Exception):
    """Base of every error with a message meant for a person.  ``exit_code`` is the command's."""

    exit_code = 1


class UnknownNameError(LawsweepError):
    """A sweep, experiment, param, key, preset or run id that does not exist."""

    exit_code = 10


class InvalidValueError(LawsweepError):
    """A value of the wrong type, out of range, or a combination that a constraint forbids."""

    exit_code = 11


class FigureError(InvalidValueError):
    """Figures that cannot be drawn; ``drawn`` are the files of those that could."""

    def __init__(self, message: str, drawn: Iterable[Any] = ()):
        super().__init__(message)
        self.drawn = list(drawn)


class EmptyPlanError(LawsweepError):
    """An empty axis, no seeds, or a ``where`` that leaves nothing."""

    exit_code = 12


class StoreError(LawsweepError):
    """The results folder cannot be written or read (permissions, full disk, not a folder)."""

    exit_code = 13


class ExecutorError(LawsweepError):
    """The executor cannot start or was lost (Ray absent, not connectable, head gone)."""

    exit_code = 14


class IncompatibleTableError(LawsweepError):
    """The table on disk was written by another format, or its columns have other types."""

    exit_code = 15


def refuse_deadline(executor: str, timeout_s: float) -> InvalidValueError:
    """The one sentence for a deadline in an executor that cannot end what runs."""
    return InvalidValueError(
        f"on_failure.timeout_s={timeout_s:g} needs workers that can be ended, and "
        f"executor={executor} runs everything in this process. Use executor=processes, "
        "ray_local or ray_cluster, or on_failure.timeout_s=null."
    )


class Infeasible(Exception):  # noqa: N818  (it is an answer of an experiment, not an error)
    """Raised by an experiment to say that this point has no answer; the row says why."""


def nearest(name: str, valid: Iterable[str], n: int = 3) -> list[str]:
    """Valid names close to ``name``, best first; other spellings and initials of it before all."""
    names, asked = list(valid), folded(str(name))
    same = [v for v in names if folded(v) == asked]
    same += [v for v in names if len(asked) > 1 and _initials(v) == asked and v not in same]
    return [*same, *difflib.get_close_matches(str(name), set(names) - set(same), n=n, cutoff=0.5)]


def _initials(name: str) -> str:
    """``rf`` of ``random_features``."""
    return folded("".join(word[:1] for word in re.split(r"[_\W]+", name)))


def unknown_name(
    kind: str, name: object, valid: Iterable[object], where: str = ""
) -> UnknownNameError:
    """The one sentence for an unknown name: what it was, the nearest, and all valid ones."""
    names = sorted(map(str, valid))
    close = nearest(str(name), names)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    shown = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    place = f" in {where}" if where else ""
    return UnknownNameError(
        f"Unknown {kind} {str(name)!r}{place}.{hint} Valid: {shown or '(none)'}."
    )


def advice(kind: str, value: Any) -> str:
    """What to write in place of a value of the wrong kind; empty where nothing is near."""
    if kind == "int" and isinstance(value, int) and value.bit_length() > 63:
        return " Whole numbers have at most 64 bits; a float param takes larger ones."
    if kind == "str" and isinstance(value, bool | float | None):
        return " Quote it to have it as text."
    if isinstance(value, str):
        digits = value.strip().replace("_", "")
        if kind in ("int", "float") and (listed := numbers_in(value)):
            return f" Several values are an axis: a list, {listed}, under axes."
        if kind == "float" and digits.lower().lstrip("+-") in ("inf", "infinity"):
            return f" YAML's infinity is {'-' if digits.startswith('-') else ''}.inf, with a dot."
        if kind in ("int", "float") and re.fullmatch(r"[+-]?[0-9]+", digits):
            return f" Write {int(digits)}, in plain decimal digits and without quotes."
        if kind == "bool" and value.lower() in ("yes", "no", "on", "off", "true", "false"):
            return " Write true or false, without quotes."
    return ""


def numbers_in(text: str) -> str:
    """Numbers with commas between them, as a list is written: ``[1, 2]``; empty for other text."""
    parts = [part.strip() for part in text.split(",")]
    try:
        _ = [float(part) for part in parts]
    except ValueError:
        return ""
    return f"[{', '.join(parts)}]" if len(parts) > 1 else ""
