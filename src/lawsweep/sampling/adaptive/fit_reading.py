"""A fit of the sweep as a question to runs: its groups, their values of x, and its interval."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.columns import columns_of
from lawsweep.analysis.entries import Entry
from lawsweep.analysis.frames import Columns, distinct, means
from lawsweep.analysis.laws.laws import find_law, read_fit
from lawsweep.analysis.laws.points import Points, within_seeds
from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.core.expressions.expression import Expression
from lawsweep.grid.plan import Plan
from lawsweep.sampling.adaptive.reading import Reader, metrics_in, over_points
from lawsweep.sampling.adaptive.units import Answers

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Parameter


def texts_of(spec: FitSpec) -> list[str]:
    """All expressions that a fit reads, those of its own keys included as far as they are some."""
    texts = [text for _, text in find_law(spec.law).expressions(spec)]
    for value in (spec.where, *spec.own.values()):
        try:
            texts += [Expression(value).text] if isinstance(value, str) else []
        except LawsweepError:
            continue
    return texts


class FitReader:
    """The fit of an entry over a plan, and the metrics of rows as they come in."""

    def __init__(self, plan: Plan, entry: Mapping[str, Any]):
        self.plan = plan
        self.spec = read_fit(Entry("until.fit", entry), columns_of(plan))
        if self.spec.bounds:
            raise InvalidValueError(
                f"until.fit takes no {next(iter(self.spec.bounds))}: more seeds of a point of "
                "bounds need not narrow its fit. Remove it, or keep the points of values by where."
            )
        self.law = find_law(self.spec.law)
        self.y = Reader(plan, self.spec.y, "until.fit.y")
        texts = texts_of(self.spec)
        self.metrics = metrics_in(plan, texts)
        used = {n for t in texts for n in Expression(t).names}
        columns: dict[str, Any] = {**plan.over_points(), **plan.extra}
        self._columns = {
            n: np.broadcast_to(c, (plan.n_points,)) for n, c in columns.items() if n in used
        }
        self._rows: dict[int, tuple[str, Mapping[str, Any]]] = {}

    def answer(self, run: int, status: str, metrics: Mapping[str, Any]) -> float | None:
        """y of a row, as the law takes it; None where it cannot use the row.  The row is kept."""
        self._rows[run] = (status, {n: metrics.get(n) for n in self.metrics})
        y = self.y.value(run, status, metrics)
        if y is None or self.spec.bounds:  # a bound may be at 0
            return y
        if self.law.log_y and y <= 0:
            return None
        return float(np.log(y)) if self.law.log_y else y

    def fit(self, runs: Sequence[int], parameter: str) -> tuple[Parameter | None, str]:
        """The parameter of the fit of these runs (of one group); None, and why there is none."""
        import pandas as pd

        from lawsweep.analysis.laws.fits import fit_columns

        n_seeds = len(self.plan.seeds)
        at = np.array(runs, dtype=np.int64)
        rows = [self._rows[run] for run in runs]
        frame: dict[str, Any] = {n: c[at // n_seeds] for n, c in self._columns.items()}
        frame["seed"] = np.array(self.plan.seeds, dtype=np.int64)[at % n_seeds]
        frame["status"] = np.array([status for status, _ in rows], dtype=object)
        for name in self.metrics:
            frame[name] = [told[name] for _, told in rows]
        spec = replace(self.spec, by=(), where=None, local=False)
        try:
            (found,) = fit_columns(Columns(pd.DataFrame(frame)), spec)
        except InvalidValueError as error:
            return None, str(error)
        if not found.parameters:
            return None, found.reason or "the fit has no parameters"
        return found[parameter], ""

    def groups(self) -> list[tuple[Mapping[str, Any], np.ndarray]]:
        """The points of each group of ``by`` that are within ``where``."""
        plan, spec = self.plan, self.spec
        inside = np.ones(plan.n_points, dtype=bool)
        if spec.where is not None:
            inside = over_points(plan, spec.where, "until.fit.where").astype(bool)
        keys: dict[tuple[Any, ...], list[int]] = {}
        columns = [over_points(plan, name, "until.fit.by") for name in spec.by]
        for point in np.flatnonzero(inside).tolist():
            keys.setdefault(tuple(_plain(c[point]) for c in columns), []).append(point)
        return [
            (dict(zip(spec.by, key, strict=True)), np.array(points))
            for key, points in sorted(keys.items(), key=lambda item: item[1][0])
        ]

    def parameter(self, name: str | None, estimate_names: Iterable[str]) -> str:
        """The parameter that is asked for; the last of the law's where none is."""
        names = tuple(estimate_names)
        if name is None:
            return names[-1]
        if name not in names:
            from lawsweep.core.errors import unknown_name

            raise unknown_name("parameter", name, names, f"until (law {self.spec.law})")
        return name

    def names(self, points: np.ndarray) -> tuple[str, ...]:
        """Names of the law's parameters: where the law has no list, of a fit of made-up numbers."""
        listed = getattr(self.law, "names", None)
        if self.law.straight and isinstance(listed, tuple):
            return listed
        import pandas as pd

        from lawsweep.analysis.laws.fits import fit_columns

        frame: dict[str, Any] = {n: c[points] for n, c in self._columns.items()}
        frame |= {m.name: np.linspace(1.0, 2.0, len(points)) for m in self.plan.experiment.metrics
                  if m.name in self.metrics and m.name != "converged"}  # fmt: skip
        spec = replace(self.spec, by=(), where=None, local=False)
        (found,) = fit_columns(Columns(pd.DataFrame(frame)), spec)
        if not found.parameters:
            raise InvalidValueError(
                f"until.fit is a {spec.law} law, which these values of x do not determine: "
                f"{found.reason}. Give the axis more values."
            )
        return tuple(p.name for p in found.parameters)


@dataclass
class Curve:
    """The values of x of a group, ascending: the points at each, and what a run takes there.

    ``v`` is x as a straight law has it (its logarithm), None for a law without one x; ``row`` the
    place of the parameter in (1, v), None where the law is not straight.
    """

    reader: FitReader
    name: str  # of the parameter
    n_parameters: int
    row: int | None
    v: np.ndarray | None
    x: np.ndarray  # (n_values,); of a law without one x: their numbers
    members: list[list[int]]
    labels: list[str]
    seconds: np.ndarray  # (n_values,), of one seed there

    def __len__(self) -> int:
        return len(self.members)

    @property
    def spec(self) -> FitSpec:
        """The fit."""
        return self.reader.spec

    def label(self, i: int) -> str:
        """The value of x, as text."""
        return self.labels[i]

    def runs(self, i: int, seeds: range) -> list[int]:
        """Runs of some seeds at value ``i``."""
        n = len(self.reader.plan.seeds)
        return [point * n + k for k in seeds for point in self.members[i]]

    def table(self, answers: Answers, chosen: Sequence[int], n_seeds: int) -> np.ndarray:
        """Answers by seed and value, (n_seeds, n_chosen); NaN where there is none."""
        n = len(self.reader.plan.seeds)
        found = [
            np.array([[answers.get(p * n + k) for p in self.members[i]] for k in range(n_seeds)],
                     dtype=np.float64).mean(axis=1)
            for i in chosen
        ]  # fmt: skip
        return np.stack(found, axis=1)

    def parameter(self, answers: Answers, asked: Sequence[int]) -> tuple[Parameter | None, str]:
        """What the fit of all that was asked for gives."""
        if self.row is None or self.v is None:
            return self.reader.fit(sorted(asked), self.name)
        # A straight law is a function of the answers alone: no frame has to be made of the rows.
        n, value_of = len(self.reader.plan.seeds), self._value_of
        runs = np.array([r for r in sorted(asked) if answers[r] is not None], dtype=np.int64)
        y = np.array([answers[r] for r in runs.tolist()], dtype=np.float64)
        values = [value_of[point] for point in (runs // n).tolist()]
        there, point_of = np.unique(values, return_inverse=True)
        seeds = np.array(self.reader.plan.seeds, dtype=np.int64)[runs % n]
        x = {str(self.spec.x): self.x[there]}
        points = Points(x, means(y, point_of), y, point_of, seeds)
        sizes = self.reader.law.offsets_of_seeds(self.spec, points)
        if sizes is not None:  # as the fit of the rows does where seeds lack points
            points = within_seeds(points, sizes)[0]
        found = self.reader.law.parameters(self.spec, points)
        for parameter in found.parameters:
            if parameter.name == self.name:
                return parameter, ""
        return None, found.reason or "the fit has no parameters"

    @functools.cached_property
    def _value_of(self) -> dict[int, int]:
        return {point: i for i, points in enumerate(self.members) for point in points}


def curve_of(
    reader: FitReader, points: np.ndarray, seconds: np.ndarray, parameter: str | None
) -> Curve:
    """The curve of a group.  Raises a LawsweepError where it has too few values of x."""
    plan, spec, law = reader.plan, reader.spec, reader.law
    inputs = {
        text: over_points(plan, text, f"until.fit.{key}")[points].astype(np.float64)
        for key, text in law.inputs(spec)
    }
    usable = np.all([np.isfinite(c) & ((c > 0) | (not law.log_x)) for c in inputs.values()], axis=0)
    points = points[usable]
    labels = np.array([distinct(c[usable])[1] for c in inputs.values()]).reshape(len(inputs), -1).T
    order, first, of = np.unique(labels, axis=0, return_index=True, return_inverse=True)
    members = [points[of.reshape(-1) == i].tolist() for i in range(len(order))]
    if len(members) < 3:
        raise InvalidValueError(
            f"until needs 3 values of x of each fit, got {len(members)}. Give the axis more values."
        )
    names = reader.names(points)
    name = reader.parameter(parameter, names)
    plain = law.straight and not spec.bounds  # means of values, and nothing else
    v, x = None, np.arange(len(members), dtype=np.float64)
    if spec.x is not None and len(inputs) == 1:
        x = inputs[spec.x][usable][first]
        # Of a law that is not straight only to spread the values that are run.
        v = np.log(x) if law.log_x or (not law.straight and np.all(x > 0)) else x
    texts = [", ".join(f"{text} = {c[usable][k]:.6g}" for text, c in inputs.items()) for k in first]
    return Curve(
        reader,
        name,
        len(names),
        names.index(name) if plain and len(names) == 2 and v is not None else None,
        v,
        x,
        members,
        texts,
        np.array([float(seconds[some].sum()) for some in members]),
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
