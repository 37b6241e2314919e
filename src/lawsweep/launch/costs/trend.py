"""How long runs take, by their params: a fit of log seconds, and of what it leaves of the mean.

Two steps.  First log seconds by ridge regression, each coefficient with its own expected size, the
noise taken for Student's t with 4 degrees of freedom (weights, Lange, Little, Taylor 1989), so that
a run that was held up bends nothing.  How much a curve may depart from a power law (``BENDS``), and
the noise, are chosen by their evidence.  A sum of seconds wants their mean, though, and of skewed
times the mean is not where most of them are: the second step moves the coefficients until the mean
of measured over predicted is 1, as a whole and, so far as the scatter lets one know, along every
column (a gamma regression from there, its prior the same).  All runs count in it, the slow ones
too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

BENDS = (0.1, 0.3, 1.0, 2.0)  # scales of the coefficients that a power law lacks
GUESSED_SD = 0.25  # of log seconds between like runs, below a few of them
GUESSED_N = 3.0  # so many runs is that guess worth
FLOOR_SD = 0.03
T_DOF = 4.0
ROUNDS = 4
# A run so much slower than its like may be an accident (a busy disk, a first call) or a way that
# runs go.  Of k such runs k / (k + 1) of the excess counts: one alone says little, ten are a rule.
OUTLIER = 5.0
LINDY = 0.5  # of log seconds: the mean excess, and its sd, of times with P(T > t) ~ t^-2
MOVES = 0.5  # of a coefficient's expected size that the second step may move it
FILLED = 2  # times that what is not known yet is put in
STEP = 1.0  # of log seconds, in a Newton step


@dataclass(frozen=True)
class Trend:
    """``coefficients`` of log mean seconds, their covariance, and the scatter of single runs.

    ``cv``: standard deviation of a run's seconds over their mean.  ``dof``: how many measured runs
    speak for the scatter.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    cv: float
    dof: float

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Expected seconds, over the stated ones if there are any, (n,)."""
        return np.asarray(np.exp(np.clip(rows @ self.coefficients, -60.0, 60.0)))

    def error(self, row: np.ndarray) -> float:
        """Standard error of the logarithm of the mean, at a row or a weighted mean of rows."""
        return math.sqrt(max(0.0, float(row @ self.covariance @ row)))

    def beyond(self, rows: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected log seconds of runs that have taken ``logs`` and go on, and their sd, (n,)."""
        noise = math.log1p(self.cv**2)
        found = []
        for row, log in zip(rows, logs.tolist(), strict=True):
            sd = math.sqrt(noise + self.error(row) ** 2)
            z = (log - float(row @ self.coefficients) + 0.5 * noise) / sd
            # The mean of a normal beyond z (Mills' ratio); far out it is z + 1 / z.
            above = 0.5 * math.erfc(z / math.sqrt(2.0)) if z < 8.0 else 0.0
            mean = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) / above if above else z + 1 / z
            more, doubt = sd * (mean - z), sd * math.sqrt(max(0.0, 1 - mean * (mean - z)))
            # One that surprises is of a kind not seen yet: as long again, as far as anyone knows.
            lindy = LINDY if z > 1.0 else 0.0
            found.append((log + max(more, lindy), max(doubt, lindy)))
        filled, doubt = np.array(found).T
        return filled, doubt


def fit_trend(
    rows: np.ndarray, logs: np.ndarray, sd: np.ndarray, bends: np.ndarray, n_open: int = 0
) -> Trend:
    """Fit ``logs`` of seconds (n,), from 1 on, by ``rows`` (n, n_columns).

    The last ``n_open`` of them are of runs that go on: what they will take is that at least, and is
    put in as it is expected to be (Buckley and James 1979), by a fit of the others at first.
    """
    n = len(logs) - n_open
    found = _fit(rows[:n], logs[:n], sd, bends)
    for _ in range(FILLED if n_open else 0):
        filled, doubt = found.beyond(rows[n:], logs[n:])
        found = _fit(rows, np.concatenate([logs[:n], filled]), sd, bends)
        # What was put in may be wrong, for all alike: so much would that move the coefficients.
        over = np.exp(np.clip(filled, None, logs.max() + 3.0)) / found.mean(rows[n:])
        moved = found.covariance @ (rows[n:].T @ (over * doubt)) / found.cv**2
        found = replace(found, covariance=found.covariance + np.outer(moved, moved))
    return found


def _fit(rows: np.ndarray, logs: np.ndarray, sd: np.ndarray, bends: np.ndarray) -> Trend:
    first, scale = _fit_logs(rows, logs, sd, bends)
    return _fit_means(rows, logs, first, np.where(bends, scale * sd, sd), sd)


def _fit_logs(
    rows: np.ndarray, logs: np.ndarray, sd: np.ndarray, bends: np.ndarray
) -> tuple[np.ndarray, float]:
    """Coefficients, and the scale of those that bend."""
    n, middle = len(logs), float(np.median(logs))
    y, scaled = logs - middle, rows * sd
    weights, variance, scale = np.ones(n), GUESSED_SD**2, 1.0
    start = np.zeros(rows.shape[1])
    best = start
    for _ in range(ROUNDS):
        gram, image = scaled.T @ (weights[:, None] * scaled), scaled.T @ (weights * y)
        square, evidence = float(weights @ (y * y)), -math.inf
        for tried in BENDS:
            by = np.where(bends, tried, 1.0)
            found, told, variance_of = _ridge(gram, image, square, by, variance, weights.sum())
            if told > evidence:
                evidence, best, scale, chosen = told, found * by, tried, variance_of
        variance = max(chosen, FLOOR_SD**2)
        left = y - scaled @ best
        weights = (T_DOF + 1.0) / (T_DOF + left * left / variance)
    coefficients = best * sd
    coefficients[0] += middle
    return coefficients, scale


def _ridge(
    gram: np.ndarray, image: np.ndarray, square: float, by: np.ndarray, variance: float, n: float
) -> tuple[np.ndarray, float, float]:
    """Coefficients in units of their sd times ``by``, their log evidence, and the noise's variance.

    A = by gram by / variance + 1; the evidence is -(n log variance + log |A| + rest) / 2, the
    variance's own prior that of ``GUESSED_N`` runs with ``GUESSED_SD``.
    """
    matrix = gram * np.outer(by, by)
    target = image * by
    for _ in range(3):
        a = matrix / variance + np.eye(len(by))
        inverse = np.linalg.inv(a)
        found = inverse @ target / variance
        rss = max(0.0, square - 2.0 * float(found @ target) + float(found @ matrix @ found))
        dof = min(len(by) - float(np.trace(inverse)), n - 1e-3)
        new = (rss + GUESSED_N * GUESSED_SD**2) / (max(n - dof, 0.0) + GUESSED_N)
        variance = max(new, FLOOR_SD**2)
    log_det = float(np.linalg.slogdet(a)[1])
    fit = rss / variance + float(found @ found)
    guess = GUESSED_N * (math.log(variance) + GUESSED_SD**2 / variance)
    return found, -0.5 * (n * math.log(variance) + log_det + fit + guess), variance


def _fit_means(
    rows: np.ndarray, logs: np.ndarray, first: np.ndarray, sd: np.ndarray, full_sd: np.ndarray
) -> Trend:
    """Move the coefficients until the mean of measured over predicted is 1.

    The covariance is that of coefficients of ``full_sd``: few runs that show no bend do not prove
    that none comes where nothing was measured.
    """
    n, moved = len(logs), np.zeros_like(first)
    precision = 1.0 / (MOVES * sd) ** 2
    scaled, phi = rows, 1.0
    for _ in range(8):
        ratios = _ratios(logs - rows @ (first + moved))
        phi = _scatter(ratios)
        gram = scaled.T @ scaled / phi
        gradient = scaled.T @ (ratios - 1.0) / phi - precision * moved
        step = np.linalg.solve(gram + np.diag(precision), gradient)
        step *= min(1.0, STEP / max(1e-12, float(np.abs(rows @ step).max())))
        moved = moved + step
        if float(np.abs(rows @ step).max()) < 1e-4:
            break
    ratios = _ratios(logs - rows @ (first + moved))
    moved[0] += math.log(float(ratios.mean()))
    phi = _scatter(ratios / ratios.mean())
    covariance = np.linalg.inv(rows.T @ rows / phi + np.diag(1.0 / np.maximum(sd, full_sd) ** 2))
    return Trend(first + moved, covariance, math.sqrt(phi), n - 1.0 + 2.0)


def _ratios(left: np.ndarray) -> np.ndarray:
    """Measured over predicted, with the excess of few slow runs shrunk (see OUTLIER)."""
    ratios = np.exp(np.clip(left, -30.0, 30.0))
    most = OUTLIER * float(np.median(ratios))
    slow = ratios > most
    k = int(slow.sum())
    return np.asarray(np.where(slow, most + (ratios - most) * k / (k + 1.0), ratios))


def _scatter(ratios: np.ndarray) -> float:
    """Variance of measured over predicted, with a guess beside it as long as there are few."""
    total = float(((ratios - ratios.mean()) ** 2).sum()) + GUESSED_N * GUESSED_SD**2
    return max(FLOOR_SD**2, total / (max(len(ratios) - 1.0, 0.0) + GUESSED_N))
