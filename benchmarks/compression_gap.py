"""The two terms of the gap at finite d: theory by simulation, and what the sweep's fits find.

    lawsweep run compression_gap preset=paper axes.n_compressed=2,3,5 results_dir=DIR
    lawsweep run compression_gap preset=paper axes.input_dim=160 axes.ratio=0.1,0.03,0.01 seeds=4 \\
        results_dir=DIR160
    python benchmarks/compression_gap.py DIR [--hold-out DIR160] [--write]

gap N = c1(d) sqrt(N/d) + c2(d) + O(1/sqrt(N d)), of rows on the unit sphere, with
p1 = -f S_top, f = 4 pi D_d a_2/((M - 1) K_M), S_top the sum of the top M - 1 eigenvalues of
E_N = mean of w w^T - I/d, and pm = -|m|^2 [1/4 + b/(2 pi - 4 b)], E|m|^2 = 1/N, b = arcsin of
1/(M - 1).  Under E -> -E the leading, Gaussian part of E_N keeps its law, and its third cumulant,
of order 1/sqrt(N), changes sign: with S_low the sum of the top eigenvalues of -E_N,
c1 = -f sqrt(N d) E (S_top + S_low)/2 up to 1/N, and
c2 = -f N E (S_top - S_low)/2 - [1/4 + b/(2 pi - 4 b)] up to 1/N.

The hold-out: gap_jointly fitted to d <= 80 predicts gap N at d = 160, with the third term of the
edge, d^(-2/3), with 1/d in its place, and without one.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np
from environment import RESULTS, environment

import lawsweep
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.kernels.compression.theory import RELU, frame_constant, quadratic_factor

SIZES = (3, 5)
DRAWS = {10: 1500, 20: 1500, 40: 500, 80: 150}
RATIO = 0.05
ROOT = "sqrt(n_target/input_dim)"
THIRD = {"edge, d^(-2/3)": f"{ROOT}/input_dim**(2/3)", "1/d": f"{ROOT}/input_dim", "none": None}


def theory(d: int, rng: np.random.Generator) -> dict[int, dict[str, float]]:
    """c1(d), c2(d) and their standard errors, by M."""
    n = round(d / RATIO)
    top, low = [], []
    for _ in range(DRAWS[d]):
        w = rng.standard_normal((n, d))
        w /= np.linalg.norm(w, axis=1, keepdims=True)
        values = np.linalg.eigvalsh(w.T @ w / n - np.eye(d) / d)
        top.append([values[::-1][: m - 1].sum() for m in SIZES])
        low.append([-values[: m - 1].sum() for m in SIZES])
    even = (np.array(top) + np.array(low)) / 2 * math.sqrt(n * d)
    odd = (np.array(top) - np.array(low)) / 2 * n
    found = {}
    for k, m in enumerate(SIZES):
        lead = (
            4 * math.pi * RELU.mean_factor(d) * quadratic_factor(d) / ((m - 1) * frame_constant(m))
        )
        b = math.asin(1 / (m - 1))
        mean_term = 0.25 + b / (2 * math.pi - 4 * b)
        root = math.sqrt(DRAWS[d])
        found[m] = {
            "c1": -lead * even[:, k].mean(), "c1_se": lead * even[:, k].std() / root,
            "c2": -lead * odd[:, k].mean() - mean_term, "c2_se": lead * odd[:, k].std() / root,
            "c1_limit": -1 / (math.pi * frame_constant(m)),
            "c2_limit": -1 / (2 * math.pi * frame_constant(m)) - mean_term,
        }  # fmt: skip
    return {m: {k: float(v) for k, v in row.items()} for m, row in found.items()}


def fitted(frame: Any, terms: list[str], by: list[str]) -> list[Any]:
    """The fits of gap N by these terms, of 3 and 5 nodes."""
    entry = {"law": "terms", "terms": terms, "y": "gap*n_target", "by": by}
    (spec,) = parse_fits([{**entry, "where": "n_compressed > 2"}], list(frame.columns))
    return fit(frame, spec)


def coefficients(frame: Any) -> list[dict[str, Any]]:
    """What the fit of each d finds beside theory."""
    rng = np.random.default_rng(20220805)
    expected = {d: theory(d, rng) for d in DRAWS}
    rows = []
    for found in fitted(frame, [ROOT, "1"], ["n_compressed", "input_dim"]):
        m, d = int(found.group["n_compressed"]), int(found.group["input_dim"])
        row: dict[str, Any] = {"M": m, "d": d, **expected[d][m]}
        for name, p in zip(("c1", "c2"), found.parameters, strict=True):
            row[f"{name}_fit"] = [p.estimate, p.low, p.high]
            row[f"{name}_inside"] = p.low <= row[name] <= p.high
        rows.append(row)
        print(f"M={m} d={d}: " + "; ".join(
            f"{n} theory {row[n]:.4f} (±{row[n + '_se']:.4f}, limit {row[n + '_limit']:.3f}) "
            f"fit {p.interval()} {'inside' if row[n + '_inside'] else 'OUTSIDE'}"
            for n, p in zip(("c1", "c2"), found.parameters, strict=True)))  # fmt: skip
    return rows


def hold_out(frame: Any, held: Any) -> list[dict[str, Any]]:
    """Predictions of gap N at the d that was left out, in standard errors of its means."""
    rows = []
    for label, third in THIRD.items():
        for found in fitted(frame, [ROOT, "1", *([third] if third else [])], ["n_compressed"]):
            mine = held[held.n_compressed == found.group["n_compressed"]]
            for ratio, some in mine.groupby("ratio"):
                y = (some.gap * some.n_target).to_numpy(float)
                n, d = float(some.n_target.iloc[0]), float(some.input_dim.iloc[0])
                root = math.sqrt(n / d)
                at = {ROOT: root, "1": 1.0, THIRD["edge, d^(-2/3)"]: root / d ** (2 / 3),
                      THIRD["1/d"]: root / d}  # fmt: skip
                given = sum(p.estimate * at[p.name] for p in found.parameters)
                error = float(y.std(ddof=1) / math.sqrt(len(y)))
                rows.append({
                    "third": label, "M": int(found.group["n_compressed"]), "d": d,
                    "ratio": float(ratio), "predicted": given, "measured": float(y.mean()),
                    "standard_error": error, "off_percent": 100 * float(given / y.mean() - 1),
                })  # fmt: skip
                print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()})
    return rows


def main() -> None:
    """Compare, print, and with --write keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results")
    parser.add_argument("--hold-out")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    sweep = ("compression_gap", "preset=paper")
    frame = lawsweep.open(*sweep, "axes.n_compressed=2,3,5", f"results_dir={args.results}").frame()
    document: dict[str, Any] = {"environment": environment(), "coefficients": coefficients(frame)}
    if args.hold_out:
        changed = ("axes.input_dim=160", "axes.ratio=0.1,0.03,0.01", "seeds=4")
        held = lawsweep.open(*sweep, *changed, f"results_dir={args.hold_out}").frame()
        document["hold_out"] = hold_out(frame, held)
    if args.write:
        path = RESULTS / "compression_gap.json"
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
