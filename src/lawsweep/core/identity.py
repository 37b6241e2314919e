"""Run identity: what a run is called, for ever.

``run_id`` is the 128-bit BLAKE2b hash, as 32 hexadecimal digits, of the canonical JSON of

    {"experiment": name, "params": {...}, "scheme": 1, "seed": seed, "version": version}

with sorted keys, no spaces, floats in their shortest round-trip form, and under ``params`` only
those that differ from their default by ``==``.  Nothing else enters: not the machine, executor,
order, sweep or date.  So a new field with a default keeps old rows valid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lawsweep.core.experiment import Experiment
from lawsweep.core.schema import FieldSpec

SCHEME = 1
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces, ASCII only; floats as their shortest round trip."""
    return _ENCODER.encode(value)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def differs_from_default(spec: FieldSpec, value: Any) -> bool:
    """Whether a (cast) value enters the identity: it has no default, or is not ``==`` to it.

    One that follows from the others never does.
    """
    return not spec.info.follows and (not spec.has_default or value != spec.default)


def run_id(experiment: Experiment, params: Mapping[str, Any], seed: int) -> str:
    """The id of one run; ``params`` are cast values (any that are missing are defaults)."""
    named = {
        s.name: params[s.name]
        for s in experiment.params
        if s.name in params and differs_from_default(s, params[s.name])
    }
    return _digest(
        canonical_json(
            {
                "experiment": experiment.name,
                "params": named,
                "scheme": SCHEME,
                "seed": int(seed),
                "version": experiment.version,
            }
        )
    )


def run_ids(
    experiment: Experiment, columns: Mapping[str, np.ndarray], n: int, seeds: Sequence[int]
) -> list[str]:
    """Ids of ``n`` points times the seeds, point-major; ``columns`` hold cast values.

    Equal to ``run_id`` for each run, but the JSON is assembled from fragments that are made once
    a distinct value: a few microseconds a run.
    """
    specs = {s.name: s for s in experiment.params}
    fragments = [_fragments(specs[name], columns[name]) for name in sorted(columns)]
    head = f'{{"experiment":{json.dumps(experiment.name)},"params":{{'
    tails = [
        f'}},"scheme":{SCHEME},"seed":{int(seed)},"version":{experiment.version}}}'.encode()
        for seed in seeds
    ]
    bodies = map("".join, zip(*fragments, strict=True)) if fragments else iter([""] * n)
    ids = []
    for body in bodies:
        state = hashlib.blake2b((head + body[1:]).encode("ascii"), digest_size=16)
        for tail in tails:
            one = state.copy()
            one.update(tail)
            ids.append(one.hexdigest())
    return ids


def _fragments(spec: FieldSpec, column: np.ndarray) -> list[str]:
    """``,"name":value`` for each point, or nothing where the value is the default."""
    head = f",{json.dumps(spec.name)}:"

    plain = column.dtype.kind == "i" or (column.dtype.kind == "f" and np.isfinite(column).all())

    def made(values: list[Any]) -> list[str]:
        # A plain number is its own JSON; asking the encoder for each would double the time.
        spelled = map(repr if plain else canonical_json, values)
        return [
            head + text if differs_from_default(spec, v) else ""
            for v, text in zip(values, spelled, strict=True)
        ]

    if column.dtype == object:
        values = column.tolist()
        distinct = list(dict.fromkeys(values))
        found = dict(zip(distinct, made(distinct), strict=True))
        return [found[v] for v in values]
    distinct_values, inverse = np.unique(column, return_inverse=True)
    parts = np.array(made(distinct_values.tolist()), dtype=object)
    return list(parts[inverse].tolist())
