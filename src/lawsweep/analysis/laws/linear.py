"""y = b + a x."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep.analysis.laws.straight import Straight

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fitted import Fitted


class Linear(Straight):
    """y = b + a x."""

    names = ("intercept", "slope")

    def formula(self, found: Fitted) -> str:
        """``y = 1.0 [0.9, 1.1] + 2.0 [1.9, 2.1] * x``."""
        ends = (found["intercept"].interval(), found["slope"].interval())
        return f"{found.spec.y} = {ends[0]} + {ends[1]} * {found.spec.x_bracketed}"
