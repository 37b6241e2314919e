"""Rows of older versions of an experiment that mean the same as planned runs do today."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.experiment import Experiment
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.identity import run_ids
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep


def older_rows(plan: Plan, known: Mapping[str, Any], todo: Sequence[int]) -> dict[int, list[int]]:
    """Runs to do that the table has under an older version: version to places in the plan."""
    found: dict[int, list[int]] = {}
    version = plan.experiment.version
    if not todo or version == 1 or len(known) <= len(plan) - len(todo):
        return found
    left = set(todo)
    for older in range(version - 1, 0, -1):
        ids = ids_as_of(plan, older)
        here = [i for i in todo if i in left and ids[i] in known]
        left.difference_update(here)
        if here:
            found[older] = here
    return found


def ids_as_of(plan: Plan, version: int) -> list[str]:
    """Run ids that the plan's runs had under an older version."""
    columns = columns_as_of(plan.experiment, version, plan.params)
    return run_ids(as_of(plan.experiment, version), columns, plan.n_points, plan.seeds)


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


def told_of_older(sweep: Sweep, plan: Plan, older: Mapping[int, Sequence[int]]) -> list[str]:
    """A note for each older version that has rows of the runs to do."""
    experiment = plan.experiment
    notes = []
    for version, places in older.items():
        text = (
            f"{len(places):,} of these runs have a row of version {version} of {experiment.name} "
            f"(today {experiment.version})"
        )
        if version in experiment.carries:
            text += (
                f": lawsweep import {sweep.typed} --from-version {version} carries over those that "
                "mean the same, and saves computing them again"
            )
        notes.append(text)
    return notes


def condition_of(experiment: Experiment, version: int) -> Expression:
    """What rows of an older version must fulfil to mean the same today.

    Raises InvalidValueError where the experiment does not say.
    """
    if not 0 < version < experiment.version:
        raise InvalidValueError(
            f"--from-version names an older version of {experiment.name}, which is at "
            f"{experiment.version}; got {version}."
        )
    if version not in experiment.carries:
        raise InvalidValueError(
            f"{experiment.name} does not say which rows of version {version} mean the same in "
            f"version {experiment.version}, so none can be carried over: run them again. (An "
            "experiment says so with @experiment(carries={1: '<condition>'}).)"
        )
    return Expression(experiment.carries[version].condition)
