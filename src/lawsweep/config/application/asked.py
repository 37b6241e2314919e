"""What a multirun asks for: each distinct job as a run, with its seed and the leaves of its config.

Nothing is executed here, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lawsweep.config.application.columns import Path
from lawsweep.config.application.composing import Base, Composer, task_config
from lawsweep.config.application.identity import digest_of, leaves, plain_config, without
from lawsweep.config.application.running import Spec
from lawsweep.core.errors import unknown_name
from lawsweep.core.schema import INT64_MAX
from lawsweep.core.secrets import hide, is_secret_name

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from lawsweep.config.application.options import SweeperOptions

Key = tuple[str, int]  # digest and seed


@dataclass
class Asked:
    """The runs of a multirun: what each begins from, and the leaves of each digest."""

    specs: dict[Key, Spec] = field(default_factory=dict)
    leaves: dict[str, Mapping[Path, Any]] = field(default_factory=dict)
    seeds: dict[str, list[int]] = field(default_factory=dict)
    bases: list[Base] = field(default_factory=list)
    values: dict[str, Override] = field(default_factory=dict)
    n_jobs: int = 0

    def by_seeds(self) -> list[tuple[tuple[int, ...], list[str]]]:
        """Digests that have the same seeds, together: each such group is a grid of its own."""
        found: dict[frozenset[int], tuple[tuple[int, ...], list[str]]] = {}
        for digest, seeds in self.seeds.items():
            found.setdefault(frozenset(seeds), (tuple(seeds), []))[1].append(digest)
        return list(found.values())


def asked_for(
    jobs: Sequence[tuple[str, ...]],
    composer: Composer,
    application: str,
    options: SweeperOptions,
) -> Asked:
    """Compose and name every job.

    Raises Hydra's errors for one that cannot be composed, UnknownNameError where a seed is named
    that no job's config has.
    """
    found, places, hidden = Asked(n_jobs=len(jobs)), dict[int, int](), dict[str, str]()
    has_seed = options.seed in (None, "seed")  # the default: an application may go without
    for num, job in enumerate(jobs):
        base = composer.base(job)
        values = composer.values(job) if not base.is_whole else []
        place = places.setdefault(id(base), len(found.bases))
        if place == len(found.bases):
            found.bases.append(base)
        config = plain_config(task_config(base, values))
        config = without(_without_secrets(config, hidden), options.ignore)
        has_seed = has_seed or without(config, [str(options.seed)]) != config
        seed = _seed_of(config, options.seed)
        if seed is not None and options.seed is not None:
            config = without(config, [options.seed])
        digest = digest_of(application, config)
        key = (digest, seed or 0)
        if key in found.specs:
            continue
        found.specs[key] = Spec(num, place, job)
        found.values |= {str(o.input_line): o for o in values}
        found.seeds.setdefault(digest, []).append(seed or 0)
        if digest not in found.leaves:
            found.leaves[digest] = dict(leaves(config))
    if jobs and not has_seed:
        keys = {".".join(path) for of_one in found.leaves.values() for path in of_one}
        raise unknown_name("key", options.seed, keys, "hydra.sweeper.seed")
    return found


def _seed_of(config: Mapping[str, Any], key: str | None) -> int | None:
    """The run's seed, where the config has one that can be: a whole number from 0."""
    value: Any = config
    for part in (key or "").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value <= INT64_MAX else None


def _without_secrets(config: dict[str, Any], hidden: dict[str, str]) -> dict[str, Any]:
    """Without what is called as secrets are (``api_key``), which decides nothing of a result.

    And with credentials in other texts (a URL's) hidden; ``hidden`` keeps what texts became.
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if is_secret_name(key):
            continue
        if isinstance(value, str):
            found[key] = hidden[value] if value in hidden else hidden.setdefault(value, hide(value))
        else:
            found[key] = _without_secrets(value, hidden) if isinstance(value, dict) else value
    return found
