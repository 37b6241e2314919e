"""The rows behind a mark: how many, of how many seeds, and the first run ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array, Columns

IDS_SHOWN = 3
ID_DIGITS = 12


class Behind:
    """Looks up rows of ``columns``, those of a frame of runs or of thresholds (which have none)."""

    def __init__(self, columns: Columns):
        self._columns = columns
        self.knows = "run_id" in columns

    def id_of(self, row: int) -> str:
        """The run id of a row, shortened; empty where rows have none."""
        return self._ids(np.array([row]))[0] if self.knows else ""

    def order(self, rows: Array) -> Array:
        """``rows`` in the order of their run ids, as good as at random: indices into them."""
        return self._columns.order("run_id", rows) if self.knows else np.arange(len(rows))

    def marks(self, rows: Array | None, of: Array | None, n: int) -> dict[str, list[Any]]:
        """``n``, ``seeds`` (None: not known) and ``runs`` of each of ``n`` marks.

        ``of`` is the mark of each row; None: every row is behind all of them.
        """
        if rows is None:
            return {"n": [0] * n, "seeds": [None] * n, "runs": [[]] * n}
        if of is None:
            return {
                "n": [len(rows)] * n,
                "seeds": [self._n_seeds(rows, np.zeros(len(rows), dtype=int), 1)[0]] * n,
                "runs": [self._ids(rows[:IDS_SHOWN])] * n,
            }
        count = np.bincount(of, minlength=n)
        order = np.argsort(of, kind="stable")
        starts = np.cumsum(count) - count
        shown = np.minimum(count, IDS_SHOWN)
        first = (
            np.concatenate(
                [order[s : s + k] for s, k in zip(starts.tolist(), shown.tolist(), strict=True)]
            )
            if n
            else np.zeros(0, dtype=int)
        )
        ids = self._ids(rows[first])
        ends = np.cumsum(shown)
        return {
            "n": count.tolist(),
            "seeds": self._n_seeds(rows, of, n),
            "runs": [
                ids[end - k : end] for end, k in zip(ends.tolist(), shown.tolist(), strict=True)
            ],
        }

    def _ids(self, rows: Array) -> list[str]:
        if not self.knows:
            return []
        return [str(i)[:ID_DIGITS] for i in self._columns.at("run_id", rows)]

    def _n_seeds(self, rows: Array, of: Array, n: int) -> list[int | None]:
        if "seed" not in self._columns:
            return [None] * n
        seeds = np.unique(self._columns["seed"][rows], return_inverse=True)[1].reshape(-1)
        pairs = np.unique(of * (int(seeds.max(initial=0)) + 1) + seeds)
        found: list[int | None] = np.bincount(
            pairs // (int(seeds.max(initial=0)) + 1), minlength=n
        ).tolist()
        return found
