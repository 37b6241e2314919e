"""Metrics learnt from rows: the first one says which there are, and of what type.

An experiment that ``learns`` declares no metrics, or not all.  What its table's parts have is known
from the start; what else comes is learnt from each row as it arrives, before it is written.  A row
that lacks a metric has none there; one that brings another adds a column, and whole numbers become
floats where floats come.  A value of another type has no place: its row is ``failed``, with one
sentence that says the value, and keeps what else it has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.core.experiment import Experiment
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.names import alike
from lawsweep.core.outcome import Outcome
from lawsweep.core.schema import MISSING, Field, FieldSpec, Kind

_KINDS: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}
_WORDS: dict[str, str] = {
    "bool": "true or false", "int": "a whole number", "float": "a number", "str": "text",
    "array": "an array",
}  # fmt: skip


class Learner:
    """Takes outcomes of an experiment that learns, and knows the metrics they have so far."""

    def __init__(self, experiment: Experiment):
        fields = (*experiment.metrics, *experiment.arrays)
        self._known = {s.name: s for s in fields if s.name not in experiment.supposed}
        self.experiment = with_metrics(experiment, self._known.values())

    def take(self, outcome: Outcome) -> Outcome:
        """The outcome, with its values in the columns' types; ``experiment`` has what is new."""
        if outcome.status != "ok":
            return outcome
        given = {**(outcome.metrics or {}), **(outcome.arrays or {})}
        before, odd = dict(self._known), []
        if given.keys() - self._known.keys() and (pair := alike((*self._known, *given))):
            return _refused(outcome, *pair)
        for name, value in given.items():
            spec = _spec(name, value)
            merged = merge(self._known.get(name), spec)
            if merged is None:
                odd.append((self._known[name], spec, value))
            else:
                self._known[name] = merged
        if self._known != before:
            self.experiment = with_metrics(self.experiment, self._known.values())
        gone = {spec.name for _, spec, _ in odd}
        metrics = {n: self._cast(n, v) for n, v in (outcome.metrics or {}).items() if n not in gone}
        arrays = {n: a for n, a in (outcome.arrays or {}).items() if n not in gone}
        outcome = outcome._replace(metrics=metrics, arrays=arrays or None)
        return _told(outcome, odd) if odd else outcome

    def _cast(self, name: str, value: Any) -> Any:
        """A whole number as a float, in a column of floats."""
        spec = self._known.get(name)
        if value is None or spec is None or spec.kind != "float":
            return value
        return tuple(map(float, value)) if spec.is_tuple else float(value)


def _refused(outcome: Outcome, known: str, name: str) -> Outcome:
    """The outcome as a failure: two runs spell a metric in two ways, which are one to SQL."""
    return outcome._replace(
        status="failed",
        metrics=None,
        arrays=None,
        error=f"{InvalidValueError.__name__}: {name!r} is one name with {known!r}, as the rows "
        "before call it, to SQL. Call it the same in every run, or otherwise.",
    )


def _told(outcome: Outcome, odd: Iterable[tuple[FieldSpec, FieldSpec, Any]]) -> Outcome:
    """The outcome as a failure that says which values have another type than their column."""
    said = "; ".join(
        f"{known.name} is {_type(known)} in the rows before, and {_type(new)} here"
        f"{'' if new.kind == 'array' else f' ({repr(value)[:80]})'}"
        for known, new, value in odd
    )
    return outcome._replace(
        status="failed",
        error=f"{InvalidValueError.__name__}: {said}. Return the same type from every run (None "
        "where there is no value), or give the other value a name of its own.",
    )


def _type(spec: FieldSpec) -> str:
    words = _WORDS[spec.kind]
    return f"a list of {spec.kind}" if spec.is_tuple else words


def _spec(name: str, value: Any) -> FieldSpec:
    """The column of a value; of None one whose type is still to come."""
    if value is None:
        return metric(name, "null")
    if hasattr(value, "shape"):
        return metric(name, "array")
    if isinstance(value, tuple):
        return metric(name, _KINDS[type(value[0])] if value else "null", is_tuple=True)
    return metric(name, _KINDS[type(value)])


def metric(name: str, kind: Kind, *, is_tuple: bool = False) -> FieldSpec:
    """The field of a metric that nobody declared: it may be missing."""
    return FieldSpec(name, kind, True, is_tuple, None, MISSING, Field())


def merge(known: FieldSpec | None, new: FieldSpec) -> FieldSpec | None:
    """One column for both: the wider of whole numbers and floats.  None where there is none.

    A column of nothing yet (``null``) is whatever comes.
    """
    if known is None or (known.kind == "null" and known.is_tuple <= new.is_tuple):
        return new
    if new.kind == "null" and new.is_tuple <= known.is_tuple:
        return known
    if known.is_tuple != new.is_tuple:
        return None
    if known.kind == new.kind or (known.kind, new.kind) == ("float", "int"):
        return known
    if (known.kind, new.kind) == ("int", "float"):
        return dataclasses.replace(known, kind="float")
    return None


def with_metrics(experiment: Experiment, specs: Iterable[FieldSpec]) -> Experiment:
    """The experiment with these metrics and arrays and no others, none of them supposed."""
    found = tuple(specs)
    return dataclasses.replace(
        experiment,
        supposed=frozenset(),
        metrics=tuple(s for s in found if s.kind != "array"),
        arrays=tuple(s for s in found if s.kind == "array"),
    )


def supposing(experiment: Experiment, entries: Iterable[Any], others: Iterable[str]) -> Experiment:
    """The experiment before its first row, with what a sweep asks for taken for its metrics.

    ``entries`` are the sweep's fits, figures, search and ``until``: each name in an expression of
    theirs that is none of ``others`` (columns that there are anyway) is taken for a number, and
    what a figure names as its array for one.  So they can be checked before anything has run; what
    is misspelt shows with the first row.
    """
    if not experiment.learns or experiment.metrics or experiment.arrays:
        return experiment
    known = {*others, *(s.name for s in experiment.params)}
    asked = [entry for entry in entries if entry is not None]
    arrays = [e["array"] for e in asked if isinstance(e, Mapping) and "array" in e]
    found = {n: metric(n, "array") for n in arrays if isinstance(n, str) and n not in known}
    for name in (n for entry in asked for n in _names(entry) if n not in known):
        found.setdefault(name, metric(name, "float"))
    made = with_metrics(experiment, found.values())
    return dataclasses.replace(made, supposed=frozenset(found))


def _names(entry: Any) -> list[str]:
    if isinstance(entry, Mapping):
        return [n for k, v in entry.items() if k not in _PROSE for n in _names(v)]
    if isinstance(entry, list | tuple):
        return [n for v in entry for n in _names(v)]
    if not isinstance(entry, str):
        return []
    try:
        return list(Expression(entry).names)
    except LawsweepError:
        return []


# Keys of a fit or figure whose text is no expression.
_PROSE = frozenset(
    {"law", "kind", "name", "title", "array", "label", "xlabel", "ylabel", "fit", "sampler"}
)
