"""The verbs as functions of a sweep: each opens it, and is the Study's method of that name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep
from lawsweep.study.study import Study, open_study

P = ParamSpec("P")
T = TypeVar("T")


def _of_sweep(
    method: Callable[Concatenate[Study, P], T],
) -> Callable[Concatenate[Sweep | Study | str, P], T]:
    """A method of Study as a function of what can be opened as one."""

    first, *others = inspect.signature(method).parameters.values()
    n_needed = sum(p.default is p.empty for p in others)

    @functools.wraps(method)
    def verb(sweep: Sweep | Study | str, *args: P.args, **options: P.kwargs) -> T:
        for text in args[n_needed:]:
            if isinstance(text, str) and "=" in text:
                raise InvalidValueError(
                    f"Overrides go to lawsweep.open, got {text!r}. Give what "
                    f"lawsweep.open(name, {text!r}) returns in place of the sweep's name."
                )
        return method(open_study(sweep), *args, **options)

    shown = first.replace(name="sweep", annotation="Sweep | Study | str")
    verb.__signature__ = inspect.Signature([shown, *others])  # type: ignore[attr-defined]
    return verb  # type: ignore[return-value]  # ``sweep`` may be given by its name, too


@_of_sweep
def plan(study: Study) -> Plan:
    """All runs of a sweep, checked; nothing is written."""
    return study.plan


open = open_study
export = _of_sweep(Study.export)
figure = _of_sweep(Study.figure)
fit = _of_sweep(Study.fit)
load = _of_sweep(Study.frame)
load_arrays = _of_sweep(Study.arrays)
plot = _of_sweep(Study.plot)
report_page = _of_sweep(Study.report)
run = _of_sweep(Study.run)
status = _of_sweep(Study.status)
thresholds = _of_sweep(Study.thresholds)
