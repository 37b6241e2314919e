"""Errors a user can cause, each with one clear sentence and its own exit code.

Every message says what was expected, what was got and what to do; an unknown name lists the
nearest valid ones.  The command line prints the message alone, never a stack.
"""

from __future__ import annotations

import difflib
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
        f"executor={executor} runs everything in this process. Use executor=ray_local or "
        "ray_cluster, or on_failure.timeout_s=null."
    )


class Infeasible(Exception):  # noqa: N818  (it is an answer of an experiment, not an error)
    """Raised by an experiment to say that this point has no answer; the row says why."""


def nearest(name: str, valid: Iterable[str], n: int = 3) -> list[str]:
    """Valid names close to ``name``, best first; other spellings of it before all."""
    names = list(valid)
    same = [v for v in names if folded(v) == folded(str(name))]
    return [*same, *difflib.get_close_matches(str(name), set(names) - set(same), n=n, cutoff=0.5)]


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
