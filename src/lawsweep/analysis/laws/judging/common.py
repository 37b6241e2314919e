"""What two fits have in common: the points of both, and the laws of the seeds of both."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from lawsweep.analysis.frames import Array, distinct
from lawsweep.analysis.laws.fitted import Fitted, count
from lawsweep.analysis.laws.laws import find_law
from lawsweep.analysis.laws.points import Points


def over_the_same(a: Fitted, b: Fitted) -> tuple[Fitted, Fitted, str]:
    """Both fitted to the points that both have, where these are not the same; and what to say."""
    if a.points is None or b.points is None:
        return a, b, ""
    x, y = _coordinates(a.points), _coordinates(b.points)
    if x.shape[1] != y.shape[1] or not x.shape[1]:
        return a, b, ""
    labels = np.stack(
        [distinct(np.concatenate(c))[1] for c in zip(x.T, y.T, strict=True)], axis=1
    ).tolist()
    at = [tuple(p) for p in labels]
    in_a, in_b = at[: len(x)], at[len(x) :]
    shared = {*in_a} & {*in_b}
    if len(shared) == len(in_a) == len(in_b):
        return a, b, ""
    anew = [
        _fitted_at(f, np.array([p in shared for p in of], dtype=bool))
        for f, of in ((a, in_a), (b, in_b))
    ]
    if len(shared) and anew[0] is not None and anew[1] is not None:
        return anew[0], anew[1], f"over the {count(len(shared), 'point')} of both"
    return a, b, "over different x"


def _coordinates(points: Points) -> Array:
    """The inputs as columns, (n_points, k)."""
    return np.stack([np.asarray(v, float) for v in points.inputs.values()], axis=1)


def _fitted_at(found: Fitted, kept: Array) -> Fitted | None:
    """The same law of some of its points; None where these determine none."""
    assert found.points is not None
    points = found.points.at(kept)
    made = find_law(found.spec.law).solve(found.spec, points) if len(points) else None
    if made is None or made.reason is not None:
        return None
    facts = {f.name: getattr(made, f.name) for f in fields(made) if f.name != "warnings"}
    return replace(found, n_points=len(points), points=points, **facts)


def seed_pairs(
    a: Fitted, b: Fitted
) -> tuple[dict[int, tuple[dict[str, float], dict[str, float]]], str]:
    """Parameters of the laws of each seed that is at every point of both; or none, and why."""
    if a.points is None or b.points is None:
        return {}, "of thresholds"
    if a.points.bound is not None or b.points.bound is not None:
        return {}, "some rows are bounds"
    everywhere = [_everywhere(f.points) for f in (a, b)]
    both = sorted(everywhere[0] & everywhere[1])
    if len(both) < 2:
        seeds = seeds_of(a.points) & seeds_of(b.points)
        what = "in common" if len(seeds) < 2 else "at every point of both"
        return {}, f"{count(len(both), 'seed')} {what}, 2 needed for pairs"
    found = {s: (seed_law(a, s), seed_law(b, s)) for s in both}
    return {s: (x, y) for s, (x, y) in found.items() if x and y}, ""


def seed_law(found: Fitted, seed: int) -> dict[str, float]:
    """The parameters of the law of one seed alone, from that seed's rows; none if there is none."""
    points = found.points
    if points is None or points.seeds is None:
        return {}
    mine = points.seeds == seed
    kept, at = np.unique(points.point_of[mine], return_inverse=True)
    at = at.reshape(-1)
    rows = points.replicates[mine]
    own = Points(
        inputs={text: values[kept] for text, values in points.inputs.items()},
        y=np.bincount(at, weights=rows) / np.bincount(at) if len(rows) else np.zeros(0),
        replicates=rows,
        point_of=at,
        seeds=points.seeds[mine],
    )
    return {p.name: p.estimate for p in find_law(found.spec.law).solve(found.spec, own).parameters}


def seeds_of(points: Points | None) -> set[int]:
    """The seeds of some points."""
    if points is None or points.seeds is None or points.seeds.dtype.kind not in "iu":
        return set()
    return set(points.seeds.tolist())


def _everywhere(points: Points | None) -> set[int]:
    """The seeds that are at every point."""
    if points is None or points.seeds is None:
        return set()
    pairs = set(zip(points.seeds.tolist(), points.point_of.tolist(), strict=True))
    n_points = dict.fromkeys(seeds_of(points), 0)
    for seed, _ in pairs:
        n_points[seed] = n_points.get(seed, 0) + 1
    return {s for s in seeds_of(points) if n_points[s] == len(points)}
