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
    that the law alone has.  Bounds, expressions: a row with y ≤ ``floor`` is known to be at most
    that, one where ``censored`` holds at most its y, one where ``censored_above`` holds at least.
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
    floor: str | None = None
    censored: str | None = None
    censored_above: str | None = None

    @property
    def bounds(self) -> dict[str, str]:
        """Its keys that say which rows are bounds, with their expressions."""
        given = {key: getattr(self, key) for key in BOUNDS}
        return {key: text for key, text in given.items() if text is not None}

    @property
    def x_bracketed(self) -> str:
        """x as a factor: in brackets unless it is a name or a number."""
        x = self.x or ""
        return x if x.replace("_", "").isalnum() else f"({x})"


BOUNDS = ("floor", "censored", "censored_above")
KEYS = ("name", "law", "y", "x", "by", "terms", "where", "level", "local", *BOUNDS)
