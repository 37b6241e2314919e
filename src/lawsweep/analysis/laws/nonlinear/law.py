"""What the laws that are sums of powers share: their keys, the fit, what they predict and say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.fitted import Found
from lawsweep.analysis.laws.judging.bands import half_band
from lawsweep.analysis.laws.law import Law, Points
from lawsweep.analysis.laws.nonlinear import errors
from lawsweep.analysis.laws.nonlinear.fit_sum import fit_sum
from lawsweep.analysis.laws.nonlinear.shape import Shape
from lawsweep.analysis.laws.nonlinear.sums import Sum

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted


class SumOfPowers(Law):
    """[E +] A x^a [+ B z^b], by least squares of relative errors unless ``errors`` says other.

    ``errors: relative`` (the default) fits the means of log y to the law's logarithm, so that each
    point weighs by its relative error and the mean is the geometric one; ``absolute`` the
    arithmetic means of y, alike; ``replicates`` the arithmetic means, weighed by the pooled
    variance of their replicates.

    The model of a seed is log y_s = log f + e_s (y_s = f + e_s if not relative): f is the law of
    the mean, e_s is of any kind over the points, independent between seeds.  So the parameters are
    those of the law of the (geometric) mean, whatever seeds do to it: offsets, slopes, smooth
    effects, shared draws.  Where each seed follows a law of the kind itself, with an exponent of
    its own, the mean of their parameters is another thing, of second order in how they differ; the
    estimate stays that of the law of the means, and the interval holds both (``own_laws``).
    ``scatter`` is the profile interval with t(n - p), exact for independent noise of one size;
    ``seeds`` that of ``seeds.moved_ends`` with t(S - 1); the wider is quoted.
    """

    own: ClassVar[tuple[str, ...]] = ("errors",)
    log_x = log_y = True
    names: ClassVar[tuple[str, ...]]
    offset: ClassVar[bool] = True

    def of_logs(self, spec: FitSpec) -> bool:
        """It is about means of log y unless its errors are absolute."""
        return bool(spec.own.get("errors", errors.RELATIVE) == errors.RELATIVE)

    def offsets_of_seeds(self, spec: FitSpec, points: Points) -> Array | None:
        """In proportion to the mean where replicates scatter so and weigh by it."""
        goes = spec.own.get("errors") == errors.REPLICATES and errors.replicate_model(points)[0]
        return abs(points.y) if goes and np.all(points.y != 0) else np.ones(len(points))

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """``errors``, one of three words."""
        if entry.values.get("errors") is None:
            return {}
        return {"errors": entry.choice("errors", errors.KINDS, None)}

    @abstractmethod
    def over(self, spec: FitSpec) -> tuple[str, ...]:
        """The expression that each term is a power of."""

    def shape(self, spec: FitSpec, points: Points) -> Shape:
        """What is fitted."""
        over = self.over(spec)
        u = np.stack([np.log(points.inputs[text]) for text in over])
        return Shape(u, self.names, self.offset, same_x=len(set(over)) < len(over))

    def solve(self, spec: FitSpec, points: Points) -> Found:
        """Least squares over the points, with profile intervals and those of the seeds' laws."""
        kind = str(spec.own.get("errors", errors.RELATIVE))
        log = self.of_logs(spec)
        if len(points) and any(np.any(points.inputs[t] <= 0) for t in self.over(spec)):
            return Found(reason="a power needs x > 0")
        if not len(points):
            return Found(reason=f"0 distinct points, {len(self.names) + 1} needed for an interval")
        shape = self.shape(spec, points)

        def fitted(weights: Array) -> Array:
            first = fit_sum(shape, points, weights, log, spec.level)
            if not first.parameters:
                return np.full(len(points), np.nan)
            return _values(self, first, shape.u)

        weights, evidence = errors.weigh(points, kind, fitted)
        found = fit_sum(shape, points, weights, log, spec.level)
        return (
            replace(found, evidence={**evidence, **found.evidence}) if found.parameters else found
        )

    def predict(self, found: Fitted, inputs: Mapping[str, Array]) -> Array:
        """The sum."""
        return _values(self, found, self._u(found, inputs))

    def band(
        self, found: Fitted, inputs: Mapping[str, Array], *, new: bool = False
    ) -> tuple[Array, Array] | None:
        """By the linear law at the optimum: the wider of what the scatter and the seeds say."""
        if found.covariance is None:
            return None
        u = self._u(found, inputs)
        model, theta = _natural(self, found, u)
        value, slope = (part[0] for part in model.at(theta[None]))
        if new and found.evidence.get("errors") == errors.REPLICATES:
            return None  # a new point's variance is that of its own replicates
        if not self.of_logs(found.spec):
            half = half_band(found, slope, new=new)
            return None if half is None else (value - half, value + half)
        with np.errstate(all="ignore"):
            half = half_band(found, slope / value[:, None], new=new)
            return None if half is None else (value * np.exp(-half), value * np.exp(half))

    def _u(self, found: Fitted, inputs: Mapping[str, Array]) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack(
                [np.log(np.asarray(inputs[t], dtype=np.float64)) for t in self.over(found.spec)]
            )

    def said(self, found: Fitted) -> Sequence[str]:
        """How its points weigh."""
        told = found.evidence
        if told.get("errors") != errors.REPLICATES:
            return (f"{told.get('errors')} errors",)
        return (f"weights by replicates, sd {told['replicate_sd']}",)


def _natural(law: SumOfPowers, found: Found | Fitted, u: Array) -> tuple[Sum, Array]:
    """The sum over ``u`` and its natural parameters."""
    values = np.array([q.estimate for q in found.parameters[: len(law.names)]])
    first = 1 if law.offset else 0
    signs = tuple(float(np.sign(v)) for v in values[first::2])
    with np.errstate(divide="ignore"):
        values[first::2] = np.log(abs(values[first::2]))
    return Sum(u, signs, law.offset), values


def _values(law: SumOfPowers, found: Found | Fitted, u: Array) -> Array:
    model, theta = _natural(law, found, u)
    with np.errstate(all="ignore"):
        return np.asarray(model.at(theta[None])[0][0])
