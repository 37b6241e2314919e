"""Thresholds of rows that no search chose: of a grid, say, as a heat map draws them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lawsweep.analysis.frames import Array, Columns, distinct
from lawsweep.analysis.laws.threshold.model import Lattice, Posterior
from lawsweep.analysis.laws.threshold.pooling import pooled_priors
from lawsweep.analysis.laws.threshold.seeds import log_likelihoods
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression


def answers_of(columns: Columns, text: str, rows: Array, what: str) -> Array:
    """The event ``text`` at ``rows`` as a search reads it: 1, 0, or NaN for no answer, shape (n,).

    No answer is a row without a value that the event names, or one that did not converge, unless
    the event asks for that (``loss == None``).  A comparison with NaN is false.  Raises
    InvalidValueError for an expression that is neither true nor false.
    """
    expression = Expression(text)
    known = np.ones(len(rows), dtype=bool)
    for name in set(expression.names) - expression.asks_null:
        known &= ~columns.is_missing(name)[rows]
    if "converged" not in expression.names:
        known &= ~columns.not_converged(rows)
    used = {n: columns.exact_at(n, rows[known]) for n in expression.names}
    value = expression.evaluate(used, int(known.sum()), finite=False, null_as_nan=True)
    if len(value) and value.dtype != np.bool_:
        raise InvalidValueError(
            f"{what} must be true or false, and {text!r} gives {value.flat[0]!r}; write a "
            "comparison."
        )
    happens = np.full(len(rows), np.nan)
    happens[known] = value
    return happens


def edge_of_rows(
    x: Array, y: Array, happens: Array, confidence: float = 0.9, seeds: Array | None = None
) -> Array:
    """Where an event stops happening along y at each x: (x, threshold, low, high), shape (k, 4).

    ``happens`` (n,) is 1, 0 or NaN (no answer).  The model is that of a search (``model.py``),
    given all rows, and what other x say of widths and lapses is the prior of each (``pooling``).
    An x with fewer than two y, or a threshold that is beyond them, gives none.  ``seeds`` (n,) say
    which rows may share draws (``seeds.py``); without them all rows are taken for independent, and
    where they are not an interval is too narrow.  See ``rises`` for an event that begins instead.
    """
    lines = list(_lines_of(x, y, happens))
    posteriors = []
    for line in lines:
        given = None
        if seeds is not None:
            given = log_likelihoods(line.lattice, seeds[line.rows], line.place, happens[line.rows])
        posteriors.append(Posterior(line.lattice, given=given))
        posteriors[-1].add(line.counts if given is None else {})
    if len(lines) > 1:
        lattices = [line.lattice for line in lines]
        priors = pooled_priors(lattices, [p.log_evidences for p in posteriors])
        for posterior, pooled in zip(posteriors, priors, strict=True):
            posterior.assume(*pooled)
    found = []
    for line, posterior in zip(lines, posteriors, strict=True):
        posterior.forget()
        u, value = line.lattice.u, line.lattice.value
        below = posterior.mass_below(u[0])
        if below < confidence and posterior.mass_below(u[-1]) > 1 - confidence:
            ends = (*posterior.quantiles([0.5]), *posterior.cautious_interval(confidence))
            found.append([line.level, *(value(float(end)) for end in ends)])
    return np.array(found).reshape(-1, 4)


def rises(x: Array, y: Array, happens: Array) -> bool:
    """Whether the answers speak for an event that begins along y: 20 to 1, by Bayes' factor."""
    score = 0.0
    for line in _lines_of(x, y, happens):
        falling, rising = Posterior(line.lattice), Posterior(line.lattice)
        falling.add(line.counts)
        rising.add({k: (n_false, n_true) for k, (n_true, n_false) in line.counts.items()})
        score += rising.log_evidence - falling.log_evidence
        falling.forget()
        rising.forget()
    return bool(score > np.log(20))


class _Line(NamedTuple):
    """One x: the lattice of its y, (yes, no) at each, and the rows with the place of each."""

    level: float
    lattice: Lattice
    counts: dict[int, tuple[int, int]]
    rows: Array
    place: Array


def _lines_of(x: Array, y: Array, happens: Array) -> Iterator[_Line]:
    """Each x with two y or more."""
    levels, at = distinct(x)
    for k, level in enumerate(levels):
        here = np.flatnonzero((at == k) & np.isfinite(happens))
        values, place = distinct(y[here])
        if len(values) < 2:
            continue
        yes = np.bincount(place, weights=happens[here]).round().astype(int)
        total = np.bincount(place)
        counts = {i: (int(yes[i]), int(total[i] - yes[i])) for i in range(len(values))}
        yield _Line(float(level), Lattice(values.tolist()), counts, here, place)
