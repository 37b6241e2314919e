"""Records of launches and jobs: JSON that anybody may have edited."""

from __future__ import annotations

import json
from typing import Any

MOST_RECORD = 2**28  # bytes: the record of an import names each of its runs
_KINDS: dict[str, type] = {
    **dict.fromkeys(
        ("git", "config", "packages", "hardware", "executor", "blas", "experiment_source"), dict
    ),
    **dict.fromkeys(("overrides", "run_ids"), list),
    **dict.fromkeys(
        ("launch_id", "job", "sweep", "command", "started_at", "ended_at", "submitted_at"), str
    ),
}


def parse_record(data: bytes) -> dict[str, Any]:
    """A record as its readers take it for granted.  Raises ValueError for what is none.

    Somebody may have edited it: what should be a mapping or a list and is not is left out.
    """
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("a record is a mapping")
    return {k: v for k, v in found.items() if v is None or isinstance(v, _KINDS.get(k, object))}
