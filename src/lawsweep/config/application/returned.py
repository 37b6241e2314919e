"""What an application returned, as metrics: it was written for nobody who reads it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lawsweep.core.definition import RESERVED
from lawsweep.core.expressions.functions import CONSTANTS

VALUE = "value"  # what a bare number is called


def metrics_of(returned: Any, params: Collection[str], folder: str) -> dict[str, Any]:
    """Metrics by name: a number is ``value``, a mapping its entries, and anything else none.

    A mapping inside is flattened (``val.loss`` is ``val_loss``); what no table holds, an object
    say, is left out; a name that a param or a column of every row has is ``returned_...``.
    ``output_dir`` is the job's folder.
    """
    found: dict[str, Any] = {}
    for path, value in _entries(returned):
        name = re.sub(r"\W", "_", "_".join(path)) or "_"
        if name in params or name in RESERVED or name in CONSTANTS or not name[0].isalpha():
            name = f"returned_{name}"
        found[name] = value
    return {**found, "output_dir": folder}


def _entries(returned: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(returned, "_is_interpolation"):  # a config
        from omegaconf import OmegaConf

        returned = OmegaConf.to_container(returned, resolve=True)
    if isinstance(returned, Mapping):
        for key, value in returned.items():
            if isinstance(value, Mapping) or hasattr(value, "_is_interpolation"):
                yield from (((str(key), *path), inner) for path, inner in _entries(value))
            elif _is_metric(value):
                yield (str(key),), value
    elif isinstance(returned, bool | int | float) or (
        hasattr(returned, "item") and getattr(returned, "ndim", 1) == 0
    ):
        yield (VALUE,), returned


def _is_metric(value: Any) -> bool:
    if value is None or isinstance(value, bool | int | float | str):
        return True
    if hasattr(value, "dtype"):  # of numpy or torch
        return not re.search("object|complex|void|str", str(value.dtype))
    if isinstance(value, list | tuple) and value:
        kinds = {type(v) for v in value}
        return kinds <= {int, float} or kinds == {str} or kinds == {bool}
    return False
