"""Labels with mathematics, each laid out once: most of what drawing a figure takes.

Matplotlib remembers fifty labels, but for each canvas anew; a figure has as many, and is drawn for
a file and for its layout in three formats.  A sweep's figures share most of theirs: powers of ten.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib.mathtext import MathTextParser

_PARSER: Any = MathTextParser  # private names of it are used below
_PARSED = getattr(_PARSER, "_parse_cached", None)  # per parser, and each canvas has its own
_PARSE = getattr(_PARSED, "__wrapped__", None)
_OUTPUTS = {"vector": "path", "raster": "agg"}


@contextmanager
def shared_labels() -> Iterator[None]:
    """What is drawn within lays out a label once for all files; where a name moved, as ever."""
    if _PARSE is None:
        yield
        return
    _PARSER._parse_cached = _parse
    try:
        yield
    finally:
        _PARSER._parse_cached = _PARSED


def _parse(parser: Any, *label: Any) -> Any:
    output = _OUTPUTS.get(getattr(parser, "_output_type", ""))
    return _parsed(output, *label) if output else _PARSE(parser, *label)  # type: ignore[misc]


@functools.lru_cache(maxsize=2048)
def _parsed(output: str, *label: Any) -> Any:
    return _PARSE(_PARSER(output), *label)  # type: ignore[misc]
