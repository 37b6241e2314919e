"""Adaptive sampling: seconds to a target against other designs, and coverage where it stops."""

from __future__ import annotations

import functools
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import until_rule
from environment import environment, save, show
from scipy.special import stdtrit

from lawsweep import Cost, Field, experiment, load_sweep
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import make_plan
from lawsweep.sampling.adaptive.until import predicted_seconds
from lawsweep.sampling.samplers import choose, read_until

EXPONENT, N_SEEDS = 1.25, 200
CHUNK = 250  # replicates at once
CHECKED = 25  # replicates that the sampler decides too
# log lambda_min of 40 seeds at every point of ntk_width that its fits use, as rows of the table
# have them: made by `lawsweep run ntk_width seeds=40`.
SEEDS = Path(__file__).parent / "results" / "ntk_width_seeds.json"
# ntk_width at n_samples = 1000: its widths, and what 1e9 operations of a run take (at 40 a second).
WIDTHS = (234, 393, 504, 595, 674, 744, 809, 868, 924, 977)
STATED = (0.0919, 0.1317, 0.1655, 0.1969, 0.2268, 0.2554, 0.2838, 0.3109, 0.3380, 0.3648)
V = np.log(np.array(WIDTHS, dtype=float) ** 2)
C = V - V.mean()


@dataclass(frozen=True, kw_only=True)
class Params:
    d: Annotated[int, Field("width", ge=1)]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float


@experiment(version=1, cost=lambda p: Cost(flops=4e10 * np.interp(p.d, WIDTHS, STATED)))
def stand_in(params: Params, seed: int) -> Metrics:
    """Never run here: rows come from the noise below."""
    return Metrics(y=0.0)


@dataclass(frozen=True)
class Noise:
    """What seeds add to log y, drawn as (N_SEEDS, n_widths), and the target it is met with."""

    name: str
    draw: Callable[[np.random.Generator], np.ndarray]
    within: float = 0.02
    independent: bool = True  # of each point alone


def normal(rng: np.random.Generator, sd: Any, n: int = 1) -> np.ndarray:
    return sd * rng.standard_normal((N_SEEDS, n))


def slopes(sd: float, within: float) -> Noise:
    return Noise(
        f"seeds' slopes, sd {sd:g}",
        lambda g: normal(g, 0.02, len(V)) + normal(g, sd) * C,
        within,
        independent=False,
    )


def kept_seeds(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Widths of a group of ntk_width, and log lambda_min about its line, (40, n_widths)."""
    told = json.loads(SEEDS.read_text())["groups"][str(n_samples)]
    y, v = np.array(told["log_lambda_min"]), 2 * np.log(np.array(told["input_dim"], dtype=float))
    return v, y - y.mean(axis=0)


def of_ntk(n_samples: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Real seeds drawn with replacement, whole; so much wider as 40 are less than all."""
    y = kept_seeds(n_samples)[1]
    wider = math.sqrt(len(y) / (len(y) - 1))
    return lambda g: wider * y[g.integers(len(y), size=N_SEEDS)]


def noises() -> Iterator[Noise]:
    m = len(V)
    grows = np.geomspace(0.04, 0.16, m)
    yield Noise("as ntk_width, n_samples 1000", of_ntk(1000))
    yield Noise("independent", lambda g: normal(g, 0.08, m))
    yield Noise("independent, falling with x", lambda g: normal(g, grows[::-1], m))
    yield Noise("independent, growing with x", lambda g: normal(g, grows, m))
    yield Noise("independent, exponential",
                lambda g: 0.08 * (g.standard_exponential((N_SEEDS, m)) - 1))  # fmt: skip
    yield Noise("seeds' offsets, sd 0.3", lambda g: normal(g, 0.08, m) + normal(g, 0.3),
                independent=False)  # fmt: skip
    yield from (slopes(sd, w) for sd, w in ((0.02, 0.02), (0.05, 0.02), (0.1, 0.04), (0.2, 0.06)))


def driven(sampler: Any, value_of: Callable[[int], dict[str, float]]) -> Any:
    """The sampler, told all that it asks for."""
    while runs := sampler.wanted():
        for run in runs:
            sampler.tell(Outcome(run, "ok", value_of(run)))
    return sampler


def adaptive(plan: Any, y: np.ndarray, within: float, **until: Any) -> tuple[float, ...]:
    """Predicted seconds, and estimate, ends and seeds at which it stopped."""
    fit = {"law": "power", "x": "d**2", "y": "y"}
    sampler: Any = read_until({"fit": fit, "within": within, **until}).open(plan)

    def value(run: int) -> dict[str, float]:
        point, seed = divmod(run, N_SEEDS)
        return {"y": math.exp(EXPONENT * C[point] + y[seed, point])}

    (unit,) = driven(sampler, value).units
    return (sampler._spent_s, *unit.interval, unit.n_seeds)


def designs(m: int) -> Iterable[list[int]]:
    """Sets of five or more of m values with both ends."""
    for k in range(3, m - 1):
        for some in itertools.combinations(range(1, m - 1), k):
            yield [0, *some, m - 1]


def known(v: np.ndarray, y: np.ndarray, seconds: np.ndarray, within: float) -> dict[str, float]:
    """Seconds of designs of whole seeds, were the noise known.

    ``best``: the cheapest set whose seeds' interval is narrow enough, and ``all`` values; ``wider``
    and ``wider_all``: where the interval of the scatter must be, too; ``bound``: any number of
    seeds at any two values, weighed by their known independent noise, by the normal quantile
    (c-optimal: Elfving 1952), which neither pairs seeds nor lets a bend show.
    """
    covariance = np.cov(y.T)
    sizes = np.arange(2, N_SEEDS + 1)
    t = stdtrit(sizes - 1.0, 0.975)
    costs: dict[bool, list[float]] = {False: [], True: []}
    for at in designs(len(v)):
        design = np.stack([np.ones(len(at)), v[at]], axis=1)
        inverse = np.linalg.pinv(design)
        a, rest = inverse[1], np.eye(len(at)) - design @ inverse
        inside, dof = covariance[np.ix_(at, at)], len(at) - 2
        of_seeds = t * math.sqrt(a @ inside @ a)
        scatter = math.sqrt(np.trace(rest @ inside @ rest) / dof * (a @ a)) * stdtrit(dof, 0.975)
        for wider in (False, True):
            half = np.maximum(of_seeds, scatter if wider else 0.0) / np.sqrt(sizes)
            good = np.flatnonzero(half <= within)
            n = sizes[good[0]] if len(good) else math.inf
            costs[wider].append(float(n * seconds[at].sum()))
    sd = np.sqrt(np.diag(covariance) * seconds)
    pairs = itertools.combinations(range(len(v)), 2)
    two = min(((sd[i] + sd[j]) / (v[j] - v[i])) ** 2 for i, j in pairs)
    return {
        "best": min(costs[False]), "all": costs[False][-1],
        "wider": min(costs[True]), "wider_all": costs[True][-1],
        "bound": float(two) * (1.959964 / within) ** 2,
    }  # fmt: skip


def decided(
    noise: Noise, k: int, n: int, seconds: np.ndarray, run: Callable[..., tuple[float, ...]],
    **until: Any,
) -> until_rule.Stops:  # fmt: skip
    """Where n replicates stop: by the rule over all at once, those that it leaves by the sampler.

    A few are run by both, which must agree.
    """
    parts = []
    for start in range(0, n, CHUNK):
        each = range(start, min(n, start + CHUNK))
        y = np.stack([noise.draw(np.random.default_rng([k, r])) for r in each])
        part = until_rule.stops(
            V, y, seconds, noise.within,
            keep=until.get("keep", 5), wider=until.get("interval") == "wider",
        )  # fmt: skip
        for r in range(len(y)):
            if part.left[r]:
                spent, estimate, low, high, n_seeds = run(y[r], noise.within, **until)
                part.put(r, spent, estimate - EXPONENT, (high - low) / 2, n_seeds)
            elif start + r < CHECKED:
                spent, estimate, low, high, n_seeds = run(y[r], noise.within, **until)
                part.check(r, spent, estimate - EXPONENT, (high - low) / 2, n_seeds)
        parts.append(part)
    return until_rule.joined(parts)


def of_noise(plan: Any, seconds: np.ndarray, noise: Noise, k: int, n: int) -> dict[str, Any]:
    """A row: one law over ten widths."""
    sample = np.concatenate([noise.draw(np.random.default_rng([k, 2**31, r])) for r in range(50)])
    ideal = known(V, sample, seconds, noise.within)
    run = functools.partial(adaptive, plan)
    found = decided(noise, k, n, seconds, run)
    few = n // 5
    equal = decided(noise, k, few, seconds, run, keep=len(V))
    wider = decided(noise, k, few, seconds, run, keep=len(V), interval="wider")
    mean = float(found.seconds.mean())
    return {
        "noise": noise.name,
        "within": noise.within,
        "seconds": mean,
        "error": float(found.seconds.std() / math.sqrt(n)),
        "seeds": float(found.n_seeds.mean()),
        "by_sampler": float(found.left.mean()),
        "over_equal": mean / float(equal.seconds.mean()),
        "over_equal_wider": mean / float(wider.seconds.mean()),
        "over_best": mean / ideal["best"],
        "best_over_equal": ideal["best"] / ideal["all"],
        "wider_best_over_equal": ideal["wider"] / ideal["wider_all"],
        "bound_over_best": ideal["bound"] / ideal["best"] if noise.independent else None,
        **covered(found.error, found.half, noise.within),
    }


def covered(error: np.ndarray, half: np.ndarray, within: float) -> dict[str, float]:
    """How often estimate ± within and estimate ± half width hold the truth, and ± one error."""
    shares = {"covers_within": abs(error) <= within, "covers_interval": abs(error) <= half}
    made = {name: float(np.mean(share)) for name, share in shares.items()}
    return {**made, "coverage_error": math.sqrt(0.05 * 0.95 / len(error))}


def of_sweep(n: int) -> dict[str, Any]:
    """The preset ``exponent`` of ntk_width as a whole: three laws, real seeds."""
    sweep = load_sweep("ntk_width", "preset=exponent")
    plan, chosen = sweep.plan(), choose(sweep)
    params = plan.over_points()
    within, all_s = chosen.options.within, predicted_seconds(plan, chosen.options.gflops)
    place = {
        (int(params["n_samples"][p]), int(params["input_dim"][p])): p for p in range(plan.n_points)
    }
    v, y, at = [], [], []
    for n_samples in (1000, 1500, 2000):
        vi, yi = kept_seeds(n_samples)
        v.append(vi), y.append(math.sqrt(len(yi) / (len(yi) - 1)) * yi)
        at.append([place[n_samples, int(d)] for d in np.rint(np.exp(vi / 2))])
    seconds = [all_s[points] for points in at]
    groups = list(zip(v, y, at, seconds, strict=True))
    # The three groups share their seeds, so they are drawn together.
    drawn = np.stack([np.random.default_rng([99, r]).integers(len(y[0]), size=N_SEEDS)
                      for r in range(n)])  # fmt: skip
    found = [chunked(vi, yi, drawn, s, within) for vi, yi, _, s in groups]
    for r in range(n):
        left = any(f.left[r] for f in found)
        if left or r < CHECKED:
            rows = {
                p: EXPONENT * (vi - vi.mean())[i] + yi[drawn[r], i]
                for vi, yi, points, _ in groups
                for i, p in enumerate(points)
            }
            units = driven(chosen.open(plan), functools.partial(lambda_min, plan, rows)).units
            for f, unit in zip(found, units, strict=True):
                cost = sum(d.predicted_s for d in unit.decisions)
                told = (cost, unit.interval[0] - EXPONENT, unit.interval.half, unit.n_seeds)
                (f.put if f.left[r] else f.check)(r, *told)
    few = drawn[: n // 5]
    equal = [chunked(vi, yi, few, s, within, keep=len(vi)) for vi, yi, _, s in groups]
    same = np.max([e.n_seeds for e in equal], axis=0) * float(sum(s.sum() for s in seconds))
    apart = np.sum([e.seconds for e in equal], axis=0)
    ideal = [known(vi, yi, s, within) for vi, yi, _, s in groups]
    best = sum(i["best"] for i in ideal)
    spent = np.sum([f.seconds for f in found], axis=0)
    mean = float(spent.mean())
    return {
        "seconds": mean,
        "error": float(spent.std() / math.sqrt(n)),
        "over_equal": mean / float(same.mean()),  # as many seeds for all three laws
        "over_equal_each": mean / float(apart.mean()),  # as many as each law needs
        "over_best": mean / best,
        "best_over_equal_each": best / sum(i["all"] for i in ideal),
        **covered(np.ravel([f.error for f in found]), np.ravel([f.half for f in found]), within),
        "coverage_error": math.sqrt(0.05 * 0.95 / n),  # the three share their draws
    }


def chunked(
    v: np.ndarray, y: np.ndarray, drawn: np.ndarray, seconds: np.ndarray, within: float, **keep: int
) -> until_rule.Stops:
    """The rule over replicates whose seeds are rows ``drawn`` (n, N_SEEDS) of ``y``."""
    return until_rule.joined([
        until_rule.stops(v, y[drawn[start : start + CHUNK]], seconds, within, **keep)
        for start in range(0, len(drawn), CHUNK)
    ])  # fmt: skip


def lambda_min(plan: Any, rows: dict[int, np.ndarray], run: int) -> dict[str, Any]:
    point, seed = divmod(run, len(plan.seeds))
    return {"lambda_min": math.exp(rows[point][seed]), "converged": True}


VALUES: dict[str, tuple[Callable[..., np.ndarray], Callable[[float], float]]] = {
    # law of the values, and its quantiles; all of mean 0 and variance 1, but for the last
    "normal": (lambda g, s: g.standard_normal(s), lambda q: float(_normal(q))),
    "gamma, shape 4": (lambda g, s: (g.gamma(4, size=s) - 4) / 2, lambda q: (_gamma(4, q) - 4) / 2),
    "exponential": (lambda g, s: g.standard_exponential(s) - 1, lambda q: -math.log1p(-q) - 1),
    "log-normal, sd 0.5": (lambda g, s: (np.exp(g.standard_normal(s) / 2) - math.exp(1 / 8))
                           / math.sqrt(math.exp(0.5) - math.exp(0.25)),
                           lambda q: (math.exp(_normal(q) / 2) - math.exp(1 / 8))
                           / math.sqrt(math.exp(0.5) - math.exp(0.25))),
}  # fmt: skip


def _normal(q: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(q))


def _gamma(shape: float, q: float) -> float:
    from scipy.special import gammaincinv

    return float(gammaincinv(shape, q))


def of_value(law: str, until: dict[str, Any], truth: float, seed: int, n: int) -> dict[str, Any]:
    """A row: n points at once, each until its value is known."""
    cap = 800
    plan = make_plan(stand_in, axes={"d": list(range(1, n + 1))}, seeds=cap)
    y = VALUES[law][0](np.random.default_rng([7, seed]), (n, cap))
    sampler = read_until(until).open(plan)
    driven(sampler, lambda run: {"y": float(y[divmod(run, cap)])})
    at = np.array([unit.interval for unit in sampler.units])
    asked = np.array([len(unit.asked) for unit in sampler.units])
    return {
        "law": law,
        "known": f"{until['q']:g}-quantile" if "q" in until else next(iter(until)),
        "within": until["within"],
        "seeds": float(asked.mean()),
        "resolved": float(np.mean([unit.state == "resolved" for unit in sampler.units])),
        "covers_within": float(np.mean(abs(at[:, 0] - truth) <= until["within"])),
        "covers_interval": float(np.mean((at[:, 1] <= truth) & (truth <= at[:, 2]))),
        "coverage_error": math.sqrt(0.05 * 0.95 / n),
    }


def values(n: int) -> Iterator[dict[str, Any]]:
    for k, (law, (_, quantile)) in enumerate(VALUES.items()):
        for j, of in enumerate((12, 20, 30, 60)):  # seeds, were the variance known
            within = round(1.96 / math.sqrt(of), 3)
            yield of_value(law, {"mean": "y", "within": within}, 0.0, 10 * k + j, n)
        half = {"median": "y", "within": 0.5}
        yield of_value(law, half, quantile(0.5), 10 * k + 5, n)
        tail = {"quantile": "y", "q": 0.9, "within": 0.7}
        yield of_value(law, tail, quantile(0.9), 10 * k + 6, n)


def main(n: int) -> None:
    where, start = environment(), time.perf_counter()
    plan = make_plan(stand_in, axes={"d": list(WIDTHS)}, seeds=N_SEEDS)
    seconds = predicted_seconds(plan, 40.0)
    found: dict[str, Any] = {"n_replicates": n, "ntk_width": {}, "rows": [], "values": []}

    def keep(part: str, row: dict[str, Any]) -> None:
        name = row.get("noise") or f"{row.get('law', part)} {row.get('known', '')}"
        print(f"{time.perf_counter() - start:.0f} s: {name}", flush=True)
        found[part] = row if part == "ntk_width" else [*found[part], row]
        save("adaptive", where, found)

    for k, noise in enumerate(noises()):
        keep("rows", of_noise(plan, seconds, noise, k, n))
    keep("ntk_width", of_sweep(n))
    for row in values(n):
        keep("values", row)
    show(f"An exponent, {n} replicates", found["rows"])
    show("ntk_width, preset exponent", [found["ntk_width"]])
    show("A value of a point", found["values"])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
