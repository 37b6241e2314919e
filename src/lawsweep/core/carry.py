"""What a new version of an experiment says of the rows of an older one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lawsweep.core.experiment import Experiment


@dataclass(frozen=True)
class Carry:
    """Rows of an older version that fulfil ``condition`` mean the same today.

    ``condition`` is over params, metrics and circumstances.  ``defaults`` are defaults of that
    version that are others today: a row that had one is a row of today's default.
    """

    condition: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


def as_of(experiment: Experiment, version: int) -> Experiment:
    """The experiment as run ids of an older version know it: with its version and defaults."""
    carry = experiment.carries.get(version)
    then = {} if carry is None else carry.defaults
    params = tuple(
        dataclasses.replace(s, default=s.cast(then[s.name]) if s.name in then else s.default)
        for s in experiment.params
    )
    return dataclasses.replace(experiment, version=version, params=params)


def columns_as_of(
    experiment: Experiment, version: int, columns: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Columns of params as that version had them: today's default stands for the one of then."""
    then = {s.name: s for s in as_of(experiment, version).params}
    mapped = dict(columns)
    for spec in experiment.params:
        if spec.has_default and spec.name in mapped and then[spec.name].default != spec.default:
            values = mapped[spec.name].tolist()
            made = np.empty(len(values), dtype=object)
            made[:] = [then[spec.name].default if v == spec.default else v for v in values]
            mapped[spec.name] = made
    return mapped
