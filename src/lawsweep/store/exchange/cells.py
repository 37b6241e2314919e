"""Cells of a text file (CSV, TSV) as values: what a text means is told by the field it is for.

``010`` is the text "010" for a ``str``, ten for an ``int`` or a ``float``, and nothing is guessed
from how a column looks.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lawsweep.core.schema import FieldSpec

# How a missing value is spelled, beside an empty cell.  Not nan: a NaN is a value, and stays one.
NULLS = ("NA", "N/A", "null", "NULL", "None", "#N/A")
_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)\Z", re.IGNORECASE)
_DIGITS = 400  # of a number as a person or a program writes one


def read_cell(spec: FieldSpec, text: str | None) -> Any:
    """The value that a cell of the field's column stands for; None for an empty one.

    A text that the field cannot have is given back as it is, for ``cast`` to refuse by name.
    Lists are JSON, as ``export`` writes them.
    """
    if text is None or (spec.kind == "str" and not spec.is_tuple):
        return text
    bare = text.strip()
    if not bare or bare in NULLS:
        return None
    if spec.is_tuple:
        try:
            return json.loads(bare)
        except (ValueError, RecursionError):
            return text
    if spec.kind == "bool":
        return {"true": True, "false": False}.get(bare.lower(), text)
    value = _number(bare, text)
    # "-0" is the float -0.0, which no integer is.
    return float(bare) if spec.kind == "float" and isinstance(value, int) else value


def read_plain(text: str | None) -> Any:
    """A cell of a column that is for no field: a number where it reads as one, else the text."""
    return None if text is None else _number(text.strip(), text)


def _number(bare: str, text: str) -> Any:
    if len(bare) > _DIGITS:
        return text
    if _WHOLE.match(bare):
        return int(bare)
    return float(bare) if _NUMBER.match(bare) or _NOT_FINITE.match(bare) else text
