"""Run a random sample of a sweep's rows again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.sweep import Sweep
from lawsweep.study.study import Study, open_study
from lawsweep.tools.replay import Replay, replay_row


@dataclass(frozen=True)
class Audit:
    """Replays of a sample of a sweep's rows, in the order they were drawn."""

    replays: tuple[Replay, ...]

    @property
    def n_exact(self) -> int:
        """How many reproduced bit for bit."""
        return sum(r.reproduced and r.exact for r in self.replays)

    @property
    def n_close(self) -> int:
        """How many reproduced to the tolerance, where bit for bit was not to be expected."""
        return sum(r.reproduced and not r.exact for r in self.replays)

    @property
    def n_chaotic(self) -> int:
        """Of those, how many in what is comparable only: rounding had been amplified."""
        return sum(r.reproduced and bool(r.amplified) for r in self.replays)

    @property
    def n_differ(self) -> int:
        """How many did not reproduce."""
        return sum(not r.reproduced for r in self.replays)


def sample_rows(
    sweep: Sweep | Study | str, n: int, seed: int = 0
) -> tuple[list[dict[str, Any]], int]:
    """``n`` random ok rows of a sweep (all, if there are no more), and how many it has.

    Drawn without replacement from the run ids in order, so that a ``seed`` gives the same rows
    wherever the table is.  Each row has its launch's record under ``launch``, as from ``show``.
    """
    import numpy as np

    from lawsweep.store.sweeps.sweep_folder import find_launch

    if n < 1:
        raise InvalidValueError(f"The sample must be of at least 1 row, got {n}.")
    if seed < 0:
        raise InvalidValueError(f"The seed of the sample must be at least 0, got {seed}.")
    study = open_study(sweep)
    name = study.sweep.name
    ok = sorted(r for r, d in study.done.items() if d.status == "ok")
    if not ok:
        raise InvalidValueError(
            f"Sweep {name} has no ok row to replay. Run it first: lawsweep run {study.sweep.typed}"
        )
    chosen = np.random.default_rng(seed).choice(len(ok), size=min(n, len(ok)), replace=False)
    rows: list[dict[str, Any]] = study.table.read([ok[i] for i in chosen.tolist()]).to_pylist()
    find = functools.cache(functools.partial(find_launch, study.sweep.results))
    return [{**row, "launch": find(row["launch_id"])} for row in rows], len(ok)


def audit(
    sweep: Sweep | Study | str,
    rows: Sequence[Mapping[str, Any]],
    *,
    tolerance: float | None = None,
    device: str | None = None,
    watcher: Callable[[Replay], None] | None = None,
) -> Audit:
    """Run rows of a sweep (from ``sample_rows``) again, and compare each as ``replay`` does."""
    study = open_study(sweep)
    place, experiment = study.sweep.results_dir, study.plan.experiment
    replays = []
    for row in rows:
        done = replay_row(row, place, tolerance=tolerance, device=device, experiment=experiment)
        replays.append(done)
        if watcher is not None:
            watcher(done)
    return Audit(tuple(replays))
