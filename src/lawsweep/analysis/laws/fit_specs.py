"""One entry of a sweep's ``fits``, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """One law to fit, once per group of ``by``; x, y, terms and where are expressions.

    ``power``: y = C x^a; ``exponential``: y = C exp(a x); ``linear``: y = b + a x;
    ``terms``: y = Σ c_k terms_k, without an intercept unless a term is ``1``.
    ``local``: give the slope between each two neighbouring points too.  ``own``: what keys say
    that the law alone has.
    """

    name: str
    law: str
    y: str
    x: str | None = None
    by: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    where: str | None = None
    level: float = 0.95
    local: bool = False
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def x_bracketed(self) -> str:
        """x as a factor: in brackets unless it is a name or a number."""
        x = self.x or ""
        return x if x.replace("_", "").isalnum() else f"({x})"


KEYS = ("name", "law", "y", "x", "by", "terms", "where", "level", "local")
