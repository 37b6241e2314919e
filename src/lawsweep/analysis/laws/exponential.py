"""y = C exp(a x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep.analysis.laws.straight import Straight

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fitted import Fitted


class Exponential(Straight):
    """y = C exp(a x): log y = log C + a x."""

    names = ("C", "rate")
    log_y = True

    def formula(self, found: Fitted) -> str:
        """``y ~ exp(a*x), a = -0.5 [-0.6, -0.4]``."""
        x = found.spec.x_bracketed
        return f"{found.spec.y} ~ exp(a*{x}), a = {found['rate'].interval()}"
