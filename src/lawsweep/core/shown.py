"""How things show themselves in a notebook: a title and a small table of facts."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any


class Shown:
    """Shows ``_shown()``, a title and facts, where a notebook asks for it."""

    def _shown(self) -> tuple[str, Mapping[str, Any]]:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        title, facts = self._shown()
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
            for name, value in facts.items()
            if value not in (None, "", ())
        )
        return f"<b>{html.escape(title)}</b><table>{rows}</table>"
