"""Rows of ``toys.toy`` as the committer makes them."""

from __future__ import annotations

from datetime import UTC, datetime


def row(run_id, status="ok", y=1.0, attempt=1, second=0, **more):
    """One row of ``toy``."""
    return {
        "run_id": run_id, "experiment": "toy", "version": 1, "n": 3, "scale": 1.0, "mode": "ok",
        "seed": 0, "status": status, "y": y if status == "ok" else None,
        "draws": 3 if status == "ok" else None, "wall_s": 0.5, "attempt": attempt,
        "device": "cpu", "host": "h", "n_threads": 1, "launch_id": "L",
        "started_at": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), **more,
    }  # fmt: skip
