"""What the page of a sweep says beside its fits and figures: failures, cost, what to run next."""

from __future__ import annotations

import math
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import LawsweepError
from lawsweep.core.outcome import FAILURES
from lawsweep.study.opening import Opened
from lawsweep.study.progress import Status

if TYPE_CHECKING:
    import pyarrow as pa

    from lawsweep.analysis.laws.results import FitResult
    from lawsweep.analysis.report.facts import Cost, Failures

FAILURES_SHOWN = 20
LEVELS_NAMED = 12  # values of a param that a command spells out
REASON = 200  # characters of an error's first line


def failures(table: pa.Table) -> list[Failures]:
    """Rows that failed, by how and why, the most frequent first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lawsweep.analysis.report.facts import Failures

    if "error" not in table.column_names:  # no run has a row yet
        return []
    lost = table.filter(pc.is_in(table["status"], value_set=pa.array(sorted(FAILURES))))
    found: dict[tuple[str, str], tuple[int, str]] = {}
    columns = (lost[name].to_pylist() for name in ("status", "error", "run_id"))
    for status, error, run_id in zip(*columns, strict=True):
        lines = str(error or "").strip().splitlines() or ["without a word"]
        key = (str(status), lines[0][:REASON])
        n, first = found.get(key, (0, str(run_id)))
        found[key] = n + 1, first
    ordered = sorted(found.items(), key=lambda e: (-e[1][0], e[0]))
    made = [Failures(s, why, n, first) for (s, why), (n, first) in ordered]
    if len(made) <= FAILURES_SHOWN:
        return made
    rest = made[FAILURES_SHOWN:]
    n = sum(f.n_rows for f in rest)
    other = Failures("", f"{len(rest)} other reasons", n, rest[0].run_id)
    return [*made[:FAILURES_SHOWN], other]


def costs(table: pa.Table) -> list[Cost]:
    """Seconds of the runs that have a row, by device."""
    import pyarrow.compute as pc

    from lawsweep.analysis.report.facts import Cost

    if not {"device", "wall_s"} <= set(table.column_names):
        return []
    timed = table.select(["device", "wall_s"]).filter(pc.is_valid(table["wall_s"]))
    grouped = timed.group_by("device").aggregate(
        [("wall_s", "count"), ("wall_s", "sum"), ("wall_s", "mean"), ("wall_s", "max")]
    )
    return [
        Cost(
            device=str(row["device"] or "unknown"),
            n_rows=row["wall_s_count"],
            total_s=row["wall_s_sum"],
            mean_s=row["wall_s_mean"],
            longest_s=row["wall_s_max"],
        )
        for row in sorted(grouped.to_pylist(), key=lambda r: str(r["device"]))
    ]


def rest_s(opened: Opened, found: Status) -> float | None:
    """Seconds that the missing runs are expected to take, one after the other; None: not known.

    As rows of the same kind have it, scaled by each run's cost where the experiment tells it.
    """
    if not found.missing or not found.statuses.get("ok"):
        return None
    from lawsweep.study.planning import preview

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what there is to warn of, reading the rows did
            expected = float(preview(opened).seconds.sum())
    except LawsweepError:  # its cost function, say: the page stands without
        return None
    return expected if math.isfinite(expected) else None


def following(
    opened: Opened, typed: str, found: Status, fits: Sequence[FitResult]
) -> Iterator[tuple[str, str]]:
    """What to run next: (why, command)."""
    failed = sum(found.statuses.get(s, 0) for s in FAILURES)
    if found.missing:
        yield f"{found.missing:,} planned runs have no row.", f"lawsweep run {typed}"
    if failed:
        yield (
            f"{failed:,} runs failed; look at why first (above), then try them again.",
            f"lawsweep rerun {typed} --failed",
        )
    if found.missing or failed or opened.cells:
        return
    seeds = len(opened.plan.seeds)
    bent = [f for f in fits if "not supported" in (f.verdict or "")]
    of_seeds = [f for f in fits if f.n_seeds is not None and f not in bent and f.parameters]
    if bent and (axis := _axis(opened, bent[0])) is not None:
        wider = _wider(opened, axis)
        yield (
            "More seeds do not mend a law that the points do not follow. A wider range of "
            f"{axis} shows what the bend becomes, if such runs can be paid for (plan tells).",
            f"lawsweep plan {typed} {shlex.quote(f'params.{axis}={wider}')}" if wider else "",
        )
    if of_seeds:
        yield (
            f"The interval of {of_seeds[0].spec.name} comes from {of_seeds[0].n_seeds} seeds: four "
            f"times as many (now {seeds}) are expected to make it "
            f"{_narrower(of_seeds[0]):.2g} times narrower.",
            f"lawsweep run {_without_seeds(typed)} {_more_seeds(opened.plan.seeds)}",
        )
    elif seeds == 1 and fits:
        yield (
            "One seed does not tell how much its results vary from seed to seed.",
            f"lawsweep run {_without_seeds(typed)} {_more_seeds(opened.plan.seeds, 8)}",
        )


def _narrower(found: FitResult) -> float:
    """How much narrower t(S - 1) s/sqrt(S) is of 4 S seeds: by 2 for many, by 11 for two."""
    from scipy.stats import t

    n, tail = found.n_seeds or 2, (1 + found.spec.level) / 2
    return float(2 * t.ppf(tail, max(n - 1, 1)) / t.ppf(tail, 4 * n - 1))


def _more_seeds(seeds: Sequence[int], times: int = 4) -> str:
    """An override of so many times the seeds, those that are there among them."""
    n = times * len(seeds)
    if sorted(seeds) == list(range(len(seeds))):
        return f"seeds={n}"
    there, new = set(seeds), (k for k in range(n + len(seeds)))
    added = [k for k in new if k not in there][: n - len(seeds)]
    return shlex.quote(f"seeds=[{','.join(map(str, [*seeds, *added]))}]")


def launches(
    opened: Opened, table: pa.Table, known: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Records of the sweep's launches, and of those of others that its rows are from."""
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.sweep_folder import find_launches

    found = {str(r.get("launch_id")): dict(r) for r in known}
    if "launch_id" in table.column_names:
        ids = pc.unique(table["launch_id"]).to_pylist()
        others = {i for i in ids if i} - set(found)
        found |= find_launches(opened.sweep.results, others)
    return [found[i] for i in sorted(found, reverse=True)]


def _axis(opened: Opened, found: FitResult) -> str | None:
    """A param that the law's x is made of and that varies over the plan."""
    from lawsweep.core.expressions.expression import Expression

    names = {n for _, text in found.law.inputs(found.spec) for n in Expression(text).names}
    derived = set(opened.sweep.derive)
    return next((n for n in opened.plan.params if n in names and n not in derived), None)


def _wider(opened: Opened, axis: str) -> str | None:
    """The values of a param and two beyond, by its last step's ratio; None where there is none."""
    values = sorted(set(opened.plan.params[axis].tolist()))
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numbers or not 2 <= len(values) <= LEVELS_NAMED or values[-2] <= 0:
        return None
    ratio = max(values[-1] / values[-2], 1.1)
    beyond = [values[-1] * ratio, values[-1] * ratio**2]
    if all(isinstance(v, int) for v in values):
        beyond = [math.ceil(v) for v in beyond]
    return ",".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in (*values, *beyond))


def _without_seeds(typed: str) -> str:
    return shlex.join(w for w in shlex.split(typed) if not w.startswith("seeds="))


FORMATS = ("table", "latex", "csv")


def fit_tables(fits: Sequence[FitResult]) -> dict[str, str]:
    """The parameters of all fits as text, LaTeX and CSV, to be copied from the page."""
    from lawsweep.analysis.laws.table import fit_table

    if not any(found.parameters for found in fits):
        return {}
    return {"text" if form == "table" else form: fit_table(fits, form) for form in FORMATS}
