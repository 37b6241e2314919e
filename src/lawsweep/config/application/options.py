"""What ``hydra.sweeper`` of an application may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lawsweep.grid.points import MAX_POINTS


@dataclass(frozen=True, kw_only=True)
class SweeperOptions:
    """Options of ``hydra/sweeper=lawsweep``.

    ``name`` is the study's (by default the application's); ``version`` is raised when the code
    changes what rows mean, and is part of every run; ``executor``, ``on_failure``, ``store``,
    ``sinks``, ``fits`` and ``figures`` are those of a sweep file.  ``seed`` is the key of the
    config that is a run's seed (null: none is).  ``ignore`` are keys that say how and not what, and
    are no part of a run's identity.  ``retry`` also runs again what has failed before;
    ``accept`` declares the code of rows the same as today's, ``recompute`` runs rows of other code
    again.
    """

    name: str | None = None
    version: int = 1
    params: Mapping[str, Any] | None = None
    executor: Any = "serial"
    results_dir: str | None = None
    seed: str | None = "seed"
    ignore: Sequence[str] = ()
    retry: bool = False
    accept: bool = False
    recompute: bool = False
    max_points: int = MAX_POINTS
    on_failure: Mapping[str, Any] = field(default_factory=dict)
    store: Mapping[str, Any] = field(default_factory=dict)
    sinks: Sequence[Any] = ()
    fits: Sequence[Mapping[str, Any]] = ()
    figures: Sequence[Mapping[str, Any]] = ()
