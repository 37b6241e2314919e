"""How far seeds move a law, and how noise grows along x, of rows of which some are bounds.

For given ratios lambda of the noise's variance to those of the seeds' offsets and slopes, and a
noise exp(b u) along x, log L has one maximum (``tobit.py``).  With the seeds' effects integrated
out by Laplace's formula, which is exact where no row is a bound, and the law's coefficients too,

    R = max log L + sum_s (log |Lambda| - log |H_s|) / 2 - log |H_delta| / 2

is the restricted likelihood of lambda and b (Patterson & Thompson 1971; Harville 1977).  It is
searched along one of them at a time, each from none, in a few steps of a logarithm: they decide
how far a bound is from its value, and enter the law through that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.censored.tobit import Maximum, Rows, curvatures, maximise, parts

# log lambda, from effects a twentieth of the noise to fifty times it.
LAMBDAS = (np.inf, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0, -8.0)
GROWTHS = (0.0, 0.3, 0.6, 1.0, 1.5, 2.2, 3.0)  # b: by e^2b from first to last
GAIN = 2.0  # of R, from which noise is said to grow along x: about p = .05
ROUGH = 1e-5  # of log L in the search


@dataclass(frozen=True)
class Components:
    """The rows with the components that were found, the most likely law of them, and R there."""

    rows: Rows
    best: Maximum
    restricted: float


def find_components(rows: Rows, u: Array, shared: bool, replicated: bool) -> Components:
    """``u`` (n,) is each row's place along x, from -1 to 1.

    ``shared``: seeds are at several points, so they may move the law.  ``replicated``: there are
    rows enough to see that noise grows.
    """
    terms = np.stack([np.ones_like(u), u], axis=1)
    logs, growth = [np.inf, np.inf], 0.0
    found = _of(rows, terms, logs, growth, None)
    for _ in range(2):
        before = found.restricted
        for k in (0, 1) if shared else ():
            now = tuple(logs)
            where = partial(_moved, rows, terms, now, growth, k)
            logs[k], found = _search(LAMBDAS, logs[k], found, where)
        if replicated:
            growth, found = _grown(rows, terms, logs, growth, found)
        if found.restricted - before < 0.1 or not shared:
            break
    return found


def _moved(
    rows: Rows,
    terms: Array,
    logs: Sequence[float],
    growth: float,
    k: int,
    value: float,
    near: Components,
) -> Components:
    """With another value of component k."""
    some = [value if j == k else log for j, log in enumerate(logs)]
    return _of(rows, terms, some, growth, near)


def _grown(
    rows: Rows, terms: Array, logs: Sequence[float], growth: float, found: Components
) -> tuple[float, Components]:
    """A noise that grows or falls along x, where that is GAIN likelier than one that does not."""

    def of(value: float, near: Components) -> Components:
        return _of(rows, terms, logs, value, near)

    plain = found if growth == 0 else of(0.0, found)
    up = _search(GROWTHS, 0.0, plain, of)
    down = _search([-g for g in GROWTHS], 0.0, plain, of)
    value, best = max(up, down, key=lambda pair: pair[1].restricted)
    return (value, best) if best.restricted > plain.restricted + GAIN else (0.0, plain)


def _of(
    rows: Rows, terms: Array, logs: Sequence[float], growth: float, near: Components | None
) -> Components:
    """The most likely law for these components, and R."""
    chosen = [k for k in (0, 1) if np.isfinite(logs[k])]
    made = replace(
        rows,
        effects=terms[:, chosen],
        precision=np.exp(np.array([logs[k] for k in chosen])),
        scale=np.exp(growth * terms[:, 1]),
    )
    begin = near.best if near is not None else None
    if begin is not None and near is not None:
        alpha = np.zeros((len(rows.firsts), len(chosen)))
        if begin.alpha.shape == alpha.shape:
            alpha = begin.alpha
        begin = replace(begin, alpha=alpha)
    best = maximise(made, begin, ROUGH)
    h = curvatures(made, parts(made, best)[2], best.theta)
    value = best.log_likelihood - float(made.weight[made.bound == 0] @ np.log(
        made.scale[made.bound == 0]))  # fmt: skip
    if chosen:
        value += 0.5 * len(rows.firsts) * float(np.sum(np.log(made.precision)))
        value -= 0.5 * float(np.sum(np.linalg.slogdet(h.random)[1]))
    value -= 0.5 * float(np.linalg.slogdet(h.profiled[:-1, :-1])[1])
    return Components(made, best, value)


def _search(
    grid: Sequence[float],
    now: float,
    found: Components,
    of: Callable[[float, Components], Components],
) -> tuple[float, Components]:
    """The best of ``grid``, walked until R falls twice, and the top of the parabola through it.

    ``found`` is that of the value ``now``, and is kept where nothing is better.
    """
    seen: list[tuple[float, Components]] = []
    falls = 0
    for value in grid:
        made = found if value == now else of(value, seen[-1][1] if seen else found)
        falls = falls + 1 if seen and made.restricted < seen[-1][1].restricted else 0
        seen.append((value, made))
        if falls > 1:
            break
    at = int(np.argmax([c.restricted for _, c in seen]))
    if 0 < at < len(seen) - 1 and np.isfinite(seen[at - 1][0]):
        x, y = np.array([(v, c.restricted) for v, c in seen[at - 1 : at + 2]]).T
        a, b, _ = np.polyfit(x - x[1], y, 2)
        if a < 0:
            value = float(x[1] - b / (2 * a))
            seen.append((value, of(value, seen[at][1])))
    return max([(now, found), *seen], key=lambda pair: pair[1].restricted)
