"""From the arguments of ``python app.py -m ...`` to jobs: the overrides of each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.points import MAX_POINTS

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

Job = tuple[str, ...]


def jobs_of(
    arguments: Sequence[str], params: Mapping[str, Any], config_loader: Any, limit: int = MAX_POINTS
) -> list[Job]:
    """The overrides of each job, in the order in which Hydra's own sweeper has them.

    ``params`` are ``hydra.sweeper.params``, which the arguments come after: of a key that is given
    twice the last counts.  Raises InvalidValueError for an interval, which has no list of values,
    and for more than ``limit`` jobs; Hydra's own errors for what is none of its grammar.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = [f"{key}={value}" for key, value in params.items()]
    parser = OverridesParser.create(config_loader=config_loader)
    columns: dict[str, list[str]] = {}
    for override in parser.parse_overrides([*given, *arguments]):
        columns[override.get_key_element()] = _values(override)
    n = math.prod(len(values) for values in columns.values())
    if n > limit:
        raise InvalidValueError(
            f"The overrides give {n:,} jobs, more than the limit of {limit:,}. Narrow one, or set "
            f"hydra.sweeper.max_points={n} if you mean it."
        )
    return list(itertools.product(*columns.values()))


def _values(override: Override) -> list[str]:
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise InvalidValueError(
            f"{override.input_line!r} is an interval, which has no list of values: write "
            f"{key}=range(1,10), {key}=0.1,0.01 or {key}=choice(a,b)."
        )
    values = [f"{key}={value}" for value in override.sweep_string_iterator()]
    if not values:
        raise InvalidValueError(
            f"{override.input_line!r} gives no value. Give it one, or correct its pattern."
        )
    return values
