"""One line that says how much of a plan has results."""

from __future__ import annotations

from collections.abc import Mapping

from lawsweep.core.errors import InvalidValueError

# Good news first, what nobody has tried last.
_ORDER = ("ok", "stopped", "failed", "infeasible", "oom", "timeout")


def completeness(statuses: Mapping[str, int], planned: int) -> str:
    """``"870 planned: 866 ok, 2 infeasible, 1 oom, 1 missing"``.

    ``statuses`` counts rows by status.  Planned runs that no status accounts for are missing.
    Raises InvalidValueError when there are more rows than planned runs.
    """
    counts = {status: int(n) for status, n in statuses.items() if n}
    seen = sum(counts.values())
    if seen > planned or any(n < 0 for n in counts.values()):
        raise InvalidValueError(
            f"Expected counts that add up to at most {planned} planned runs, got {counts}; "
            "count each planned run once."
        )
    missing = counts.pop("missing", 0) + planned - seen
    known = [s for s in _ORDER if s in counts or s == "ok"]
    others = sorted(set(counts) - set(_ORDER))
    parts = [f"{counts.get(status, 0)} {status}" for status in (*known, *others)]
    if missing:
        parts.append(f"{missing} missing")
    return f"{planned} planned: {', '.join(parts)}"
