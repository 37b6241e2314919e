"""Texts in a CSV that a spreadsheet would take for a formula, and back.

A cell that begins with ``=``, ``+``, ``-`` or ``@`` (after spaces, or as a full-width character),
with a tab or a line break, is computed when the file is opened in a spreadsheet, and may start a
program there.  An apostrophe before it makes it text.  One that such a text has itself is doubled,
so that reading takes away exactly what writing has put there.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*(\s*[=+\-@＝＋－＠]|[\t\r\n])")


def guarded(text: str) -> str:
    """The text as it stands in a CSV; only of texts: a number keeps its sign."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str | None) -> str | None:
    """What ``guarded`` made a cell of; any other text is as it is."""
    if text is not None and text.startswith("'") and _FORMULA.match(text):
        return text[1:]
    return text
