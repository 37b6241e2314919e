"""``lawsweep compare``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.options import load
from lawsweep.cli.shell.completion import (
    overrides_like,
    sweeps_like,
    sweeps_or_overrides_like,
)
from lawsweep.cli.text import at, typed
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.secrets import hide_overrides

if TYPE_CHECKING:
    from lawsweep.study.reading.differing import GroupComparison
    from lawsweep.tools.comparing import Comparison, MetricDifference


@dataclass
class Compared(Answer):
    """Two sweeps side by side, what they are called, and the words they were asked for with."""

    found: Comparison
    names: tuple[str, str]
    words: tuple[tuple[str, ...], tuple[str, ...]]

    def lines(self) -> Iterator[str]:
        """Metrics that differ, what only one sweep has, fits side by side."""
        found = self.found
        a, b = self.names
        if a == b:
            a, b = "A", "B"
            for label, words in zip((a, b), self.words, strict=True):
                yield f"{label}: {typed(words[0], words[1:])}"
        yield f"joined on {', '.join(found.keys)}: {found.n_both:,} runs in both"
        for name, (x, y) in found.apart.items():
            yield f"  apart: {name} is {x} in {a}, {y} in {b}"
        for name, side in found.own.items():
            yield f"  only {a if side == 'a' else b} has the param {name}"
        for label, only in ((a, found.only_a), (b, found.only_b)):
            if only:
                yield f"  {len(only):,} runs are in {label} alone; the first: {at(only[0])}"
        if found.not_ok:
            first = at(found.not_ok[0])
            yield f"  {len(found.not_ok):,} runs are not ok in both; the first: {first}"
        for m in found.metrics:
            yield f"{m.name}: {_difference(m)}"
        for pair in found.fits:
            yield f"fit {a}: {pair.a.summary()}"
            yield f"fit {b}: {pair.b.summary()}"
            for difference in pair.differences:
                yield f"  difference: {difference.text()}"
        for difference in found.thresholds:
            yield f"difference: {difference.text()}"
        yield from map(Note, found.notes)

    def to_dict(self) -> dict[str, Any]:
        """Every field of the comparison."""
        names = [f.name for f in dataclasses.fields(self.found)]
        plain = {name: getattr(self.found, name) for name in names if name != "fits"}
        plain["metrics"] = [dataclasses.asdict(m) for m in self.found.metrics]
        plain["fits"] = [
            {
                "name": p.name,
                "group": p.group,
                "a": p.a.to_dict(),
                "b": p.b.to_dict(),
                "differences": [d.to_dict() for d in p.differences],
            }
            for p in self.found.fits
        ]
        plain["thresholds"] = [d.to_dict() for d in self.found.thresholds]
        plain["asked"] = [list(hide_overrides(words)) for words in self.words]
        return plain


@dataclass
class Groups(Answer):
    """How the groups of each fit of one sweep differ."""

    found: GroupComparison

    def lines(self) -> Iterator[str]:
        """The name of each fit, its groups, and a line a difference."""
        fits, differences = self.found.fits, self.found.differences
        for name in dict.fromkeys(f.spec.name for f in fits):
            yield f"fit {name}:"
            yield from (f"  {f.summary()}" for f in fits if f.spec.name == name)
            ours = [d for d in differences if d.name == name]
            yield from (f"  difference: {d.text()}" for d in ours)
            if not ours:
                yield "  no difference: fewer than two groups with a law"

    def to_dict(self) -> dict[str, Any]:
        """``fits`` and ``differences``."""
        return {
            "fits": [f.to_dict() for f in self.found.fits],
            "differences": [d.to_dict() for d in self.found.differences],
        }


def _difference(m: MetricDifference) -> str:
    if m.n == m.n_same:
        return f"the same in all {m.n:,} runs" if m.n else "no run is ok in both"
    parts = [f"the same in {m.n_same:,} of {m.n:,} runs"]
    if m.n_close:
        parts.append(f"to 1e-09 relative in {m.n_close:,} more")
    if m.max_absolute:
        parts.append(f"largest difference {m.max_absolute:.3g} at {at(m.max_absolute_at or {})}")
        parts.append(f"relative {m.max_relative:.3g} at {at(m.max_relative_at or {})}")
        parts.append(f"mean of B - A {m.mean_difference:.3g}")
    if m.n_unlike:
        parts.append(f"{m.n_unlike:,} differ otherwise, the first at {at(m.unlike_at or {})}")
    if m.chaotic and m.n_same + m.n_close < m.n:
        parts.append("it amplifies rounding, so other machines or fused groups differ run by run")
    return "; ".join(parts)


@verb(60, short_help="Two sweeps run by run, and their exponents side by side.", only_prints=True)
@click.argument("sweep", shell_complete=sweeps_like)
@click.argument(
    "others", metavar="[OVERRIDES] [SWEEP_B] [OVERRIDES]...", nargs=-1,
    shell_complete=sweeps_or_overrides_like,
)  # fmt: skip
@click.option(
    "--against", multiple=True, metavar="OVERRIDE", help="An override of B alone.",
    shell_complete=overrides_like,
)  # fmt: skip
@click.option("--ignore", multiple=True, metavar="PARAM", help="Do not join on this param.")
def compare(
    sweep: str, others: tuple[str, ...], against: tuple[str, ...], ignore: tuple[str, ...]
) -> Compared | Groups:
    """Two sweeps run by run: metrics that differ, points of one alone, exponents side by side.

    Of SWEEP alone: the differences between the groups of each of its fits, with intervals.

    Compares SWEEP with SWEEP_B (overrides at the end are of both), or with itself under --against
    (params.activation=tanh, say, preset=paper, or results_dir=elsewhere).  Two variants are named
    as they are asked for: compare SWEEP preset=a SWEEP preset=b.  Runs are paired by the params
    both have and the seed; a param that is one value in A and another in B is what is compared.  A
    difference of exponents is paired by the seeds that both have.  Exit code 0 whatever is found.
    """
    from lawsweep.study.reading.differing import compare_groups
    from lawsweep.study.study import Study
    from lawsweep.tools.comparing import compare as compare_sweeps

    of_a, named, of_b = _sides(others, against)
    a = load(sweep, of_a)
    if named is None and not against:
        if ignore:
            raise InvalidValueError("--ignore is about the runs of two sweeps; name the second.")
        return Groups(compare_groups(Study(a)))
    other = sweep if named is None else named
    b = load(other, of_b)
    words = ((sweep, *of_a), (other, *of_b))
    return Compared(compare_sweeps(a, b, ignore), (a.name, b.name), words)


def _sides(
    others: tuple[str, ...], against: tuple[str, ...]
) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
    """The overrides of A, the second sweep if one is named, and the overrides of B.

    Before the second sweep they are A's own, and B has those after it; else they are of both, but
    for what ``against`` says otherwise.
    """
    at = next((i for i, word in enumerate(others) if "=" not in word and word[:1] != "~"), None)
    if at:
        return others[:at], others[at], (*others[at + 1 :], *against)
    shared = others if at is None else others[1:]
    own = {_key(text) for text in against}
    kept = tuple(text for text in shared if _key(text) not in own)
    return shared, None if at is None else others[0], (*kept, *against)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
