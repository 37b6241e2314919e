"""Whether one law of this kind is supported by its points, in a sentence and in tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fitted import Fitted
    from lawsweep.analysis.laws.law import Law


@dataclass(frozen=True)
class Judged:
    """The sentence, None where nothing can say, and plain values behind it."""

    verdict: str | None = None
    checks: Mapping[str, Any] = field(default_factory=dict)


def judge(found: Fitted, law: Law) -> Judged:
    """Judge a fit by its bend."""
    bend = found.curvature
    if found.reason is not None or bend is None:
        return Judged()
    name = f"one {found.spec.law} law"
    if found.curved:
        slopes = f"local slope {bend.slope_first:.3g} → {bend.slope_last:.3g}"
        return Judged(f"{name} is not supported: it bends, {slopes} (p = {bend.p_value:.1g})")
    return Judged(f"{name} is supported: no bend is seen (p = {bend.p_value:.1g})")
