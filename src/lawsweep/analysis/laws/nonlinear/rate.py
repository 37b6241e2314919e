"""Counts of events whose rate is a power of x: binomial of ``trials``, else Poisson."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.fitted import Found, Parameter, count, outer
from lawsweep.analysis.laws.law import Law
from lawsweep.analysis.laws.nonlinear.seeds import FEW
from lawsweep.analysis.laws.points import Points
from lawsweep.analysis.laws.seed_spread import ONE_SEED

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted

MOST = 80.0  # of |a| times the range of log x, beyond which the rate is a step


@dataclass(frozen=True)
class Counts:
    """Events of points (n,), and the trials that they are of; without trials how many rows."""

    u: Array  # log x less its mean
    events: Array
    trials: Array
    binomial: bool

    def likelihood(self, theta: Array) -> float:
        """log L at (log rate at the mean of log x, a); -inf where a rate is 1 or more."""
        with np.errstate(over="ignore"):
            eta = theta[0] + theta[1] * self.u
            rate = np.exp(eta)
        if not np.all(np.isfinite(rate)) or (self.binomial and np.any(rate >= 1)):
            return -np.inf
        rest = (self.trials - self.events) * np.log1p(-rate) if self.binomial else (
            -self.trials * rate)  # fmt: skip
        return float(np.sum(self.events * eta + rest))

    def slopes(self, theta: Array) -> tuple[Array, Array]:
        """d log L / d eta of each point, and its expected curvature: both (n,)."""
        rate = np.exp(theta[0] + theta[1] * self.u)
        left = 1 - rate if self.binomial else np.ones_like(rate)
        return (self.events - self.trials * rate) / left, self.trials * rate / left

    def most_likely(self, start: Array, fixed: int | None = None) -> Array:
        """Fisher's scoring, steps halved until log L rises; log L is concave in both numbers."""
        theta = np.array(start, dtype=np.float64)
        design = np.stack([np.ones_like(self.u), self.u], axis=1)
        free = [k for k in (0, 1) if k != fixed]
        at = self.likelihood(theta)
        for _ in range(100):
            score, weight = self.slopes(theta)
            some = design[:, free]
            information = some.T @ (weight[:, None] * some)
            step = np.linalg.lstsq(information, some.T @ score, rcond=None)[0]
            gain = float(step @ (some.T @ score))
            if not gain > 1e-12 * (1 + abs(at)):
                break
            for halved in 0.5 ** np.arange(30):
                tried = theta.copy()
                tried[free] += halved * step
                value = self.likelihood(tried)
                if value > at:
                    theta, at = tried, value
                    break
            else:
                break
        return theta


class Rate(Law):
    """Events ~ binomial(trials, C x^a), or Poisson(C x^a) a row; a count of zero is a count.

    Seeds: the rate that is asked about is the mean over seeds; how seeds differ is free.
    """

    own = ("trials",)
    log_x = True

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """``trials``: an expression."""
        if entry.values.get("trials") is None:
            return {}
        return {"trials": entry.expression("trials", columns)}

    def inputs(self, spec: FitSpec) -> Iterator[tuple[str, str]]:
        """x, and the trials: points of one x and unlike trials are two."""
        yield from super().inputs(spec)
        if "trials" in spec.own:
            yield "trials", str(spec.own["trials"])

    def offsets_of_seeds(self, spec: FitSpec, points: Points) -> Array | None:
        """None are taken out: what is left of counts would be counts no longer."""
        return None

    def unusable(self, inputs: Sequence[Array], y: Array) -> Iterator[tuple[Array, str]]:
        """A count is not negative."""
        yield np.asarray(y < 0), "with y < 0"
        yield np.asarray(inputs[0] <= 0), "with x ≤ 0"

    def solve(self, spec: FitSpec, points: Points) -> Found:
        """Maximum likelihood, its profile widened by the points' and the seeds' own scatter."""
        assert spec.x is not None
        if len(points) < 3:
            return Found(reason=f"{count(len(points), 'distinct point')}, 3 needed for an interval")
        log_x = np.log(points.inputs[spec.x])
        middle, binomial = float(log_x.mean()), "trials" in spec.own
        each = points.inputs[str(spec.own["trials"])] if binomial else np.ones(len(points))
        counts = Counts(log_x - middle, points.y * points.n, each * points.n, binomial)
        reason = _impossible(points, each if binomial else None, counts)
        if reason is not None:
            return Found(reason=reason)
        share = min(counts.events.sum() / counts.trials.sum(), 0.5 if binomial else np.inf)
        best = counts.most_likely(np.array([np.log(share), 0.0]))
        if abs(best[1]) * np.ptp(log_x) > MOST:
            return Found(reason="events at one end of x alone: the exponent has no bound")
        return _with_intervals(spec, points, counts, best, middle)

    def formula(self, found: Fitted) -> str:
        """``rate of errors = 3.0 [2.0, 4.0] * n^-0.5 [-0.6, -0.4]``."""
        c, a = (found[name].interval() for name in ("C", "exponent"))
        return f"rate of {found.spec.y} = {c} * {found.spec.x_bracketed}^{a}"

    def predict(self, found: Fitted, inputs: Mapping[str, Array]) -> Array:
        """The expected count, of the trials where they are among the inputs; else the rate."""
        x = np.asarray(inputs[found.spec.x or ""], dtype=np.float64)
        trials = inputs.get(str(found.spec.own.get("trials")), np.ones_like(x))
        with np.errstate(over="ignore", divide="ignore"):
            rate = found["C"].estimate * x ** found["exponent"].estimate
        return np.asarray(trials * (np.minimum(rate, 1.0) if "trials" in found.spec.own else rate))

    def said(self, found: Fitted) -> Sequence[str]:
        """Counts, and how far they scatter beyond chance."""
        told = found.evidence
        return (
            f"{told['kind']}, {told['events']:g} events, none at {told['points_of_zero']} points",
            f"scatter {told['dispersion']:.3g} of what chance gives",
        )


def _impossible(points: Points, trials: Array | None, counts: Counts) -> str | None:
    """Why these are no counts that determine a rate."""
    if np.any(points.replicates != np.round(points.replicates)):
        return "y must be counts, whole numbers; got others"
    if trials is not None and np.any(points.replicates > trials[points.point_of]):
        return "y is more than trials at some rows"
    if not np.any(counts.events > 0):
        return "no event at any point: only bounds of the rate are known"
    if counts.binomial and np.all(counts.events == counts.trials):
        return "every trial is an event: the rate is 1 at every point"
    return None


def _with_intervals(
    spec: FitSpec, points: Points, counts: Counts, best: Array, middle: float
) -> Found:
    """With Pearson's phi = chi² / (n - 2), at least 1, for counts that scatter beyond chance.

    Ends are where 2 (log L - its most) = - phi q², q Student's t(n - 2) if phi is estimated above
    1 and the normal's if not (McCullagh & Nelder 1989, section 4.5); of seeds by their own scores,
    with t(S - 1), along the same profile.
    """
    from scipy.special import ndtri, stdtrit

    score, weight = counts.slopes(best)
    design = np.stack([np.ones_like(counts.u), counts.u], axis=1)
    inverse = np.linalg.pinv(design.T @ (weight[:, None] * design))
    n = len(points)
    chi2 = float(np.sum(np.where(weight > 0, score**2 / np.where(weight > 0, weight, 1), 0.0)))
    phi, level = chi2 / (n - 2), (1 + spec.level) / 2
    quantile = float(stdtrit(n - 2, level)) * np.sqrt(phi) if phi > 1 else float(ndtri(level))
    told = _seed_covariance(points, counts, best, inverse)
    seeds = None if isinstance(told, str) else told
    # log C is log of the rate at log x = 0.
    shift = np.array([[1.0, -middle], [0.0, 1.0]])
    parameters, moved = [], Counts(counts.u + middle, counts.events, counts.trials, counts.binomial)
    theta = shift @ best
    inverse = shift @ inverse @ shift.T
    half = None
    if seeds is not None:
        seeds = (shift @ seeds[0] @ shift.T, seeds[1], seeds[2])
        half = float(stdtrit(seeds[2], level)) * np.sqrt(np.diag(seeds[0]))
    for k, name in enumerate(("C", "exponent")):
        error = float(np.sqrt(inverse[k, k]))
        taus = [quantile] + ([] if half is None else [float(half[k]) / error])
        ends = [(_end(moved, theta, inverse, k, -t), _end(moved, theta, inverse, k, t))
                for t in taus]  # fmt: skip
        value = float(theta[k])
        if name == "C":
            ends = [(float(np.exp(a)), float(np.exp(b))) for a, b in ends]
            value = float(np.exp(value))
        low, high = outer(ends)
        parameters.append(Parameter(name, value, low, high, ends[0], ends[1] if half is not None
                                    else None))  # fmt: skip
    wider = any(q.seeds is not None and (q.low, q.high) != q.scatter for q in parameters)
    return Found(
        parameters=tuple(parameters),
        n_seeds=seeds[1] if seeds is not None and wider else None,
        n_parameters=2,
        covariance=inverse * max(phi, 1.0),
        seed_covariance=None if seeds is None else seeds[0],
        seed_laws=None if seeds is None else 1 + max(round(seeds[2]), 1),
        warnings=(told,) if isinstance(told, str) else (),
        evidence={
            "kind": "binomial" if counts.binomial else "Poisson",
            "events": float(counts.events.sum()),
            "points_of_zero": int(np.sum(counts.events == 0)),
            "dispersion": phi,
            "log_likelihood": counts.likelihood(best),
        },
    )


def _end(counts: Counts, theta: Array, inverse: Array, k: int, tau: float) -> float:
    """Where the profile of parameter k falls by tau²/2, to the side of tau's sign."""
    from scipy.optimize import brentq

    most, error = counts.likelihood(theta), float(np.sqrt(inverse[k, k]))
    if tau == 0:
        return float(theta[k])

    def profiled(value: float) -> Array:
        start: Array = theta + (value - theta[k]) * inverse[:, k] / inverse[k, k]
        start[k] = value
        while not np.isfinite(counts.likelihood(start)):  # a rate above 1: lower the other until
            other = 1 - k  # it is one, with log C below -a log x
            start[other] -= 1.0 if other == 0 else 0.1 * (np.sign(counts.u.mean()) or 1.0)
            if abs(start[other]) > 1e4:
                return start
        return counts.most_likely(start, fixed=k)

    def fall(value: float) -> float:
        least = most - 1e6 - tau**2  # finite where there is no likelihood at all
        return 2 * (most - max(counts.likelihood(profiled(value)), least)) - tau**2

    return _root(fall, float(theta[k]), error * tau, brentq)


def _root(fall: Callable[[float], float], centre: float, step: float, brentq: Any) -> float:
    """The root beyond ``centre`` in the direction of ``step``; inf where there is none near."""
    inner, outer = centre, centre + step
    for _ in range(12):
        if fall(outer) > 0:
            return float(brentq(fall, inner, outer, xtol=1e-6 * abs(step)))
        inner, outer = outer, centre + 1.7 * (outer - centre)
    return float(np.sign(step) * np.inf)


def _seed_covariance(
    points: Points, counts: Counts, best: Array, inverse: Array
) -> tuple[Array, int, float] | str | None:
    """Of seeds' scores, the seeds and degrees of freedom; None where none share points.

    Each seed's score, one step of scoring, is what it moves the law by, and their sum is 0: with S
    seeds S / (S - 1) times the sum of squares (Liang & Zeger 1986), which needs no seed to be at
    every point.  Where some lack points S is the effective number of seeds in t(S - 1), by the
    shares v of the information that each has, (sum of v)² / sum of v² (Carter, Schnepel &
    Steigerwald 2017).  A text is why it cannot be known.
    """
    table = points.by_seed
    if table is None or points.seeds is None or not table.shared:
        return None
    n_seeds = len(table.mean)
    if n_seeds < 2:
        return ONE_SEED
    rate = np.exp(best[0] + best[1] * counts.u)
    each = counts.trials / points.n
    left = 1 - rate if counts.binomial else np.ones_like(rate)
    of = np.unique(points.seeds.astype(np.int64), return_inverse=True)[1].reshape(-1)
    at = points.point_of
    scores, rows = np.zeros((2, n_seeds, len(points)))
    np.add.at(scores, (of, at), ((points.replicates - (each * rate)[at]) / left[at]))
    np.add.at(rows, (of, at), 1.0)
    leans = np.stack([np.ones_like(counts.u), counts.u], axis=1) @ inverse.T
    share = (rows * (each * rate / left)) @ leans**2
    effective = float(np.min(share.sum(axis=0) ** 2 / (share**2).sum(axis=0)))
    if effective < 1.5:
        return FEW
    laws = scores @ leans
    apart = laws - laws.mean(axis=0)
    covariance = np.asarray(apart.T @ apart) * (n_seeds / (n_seeds - 1))
    return covariance, n_seeds, effective - 1
