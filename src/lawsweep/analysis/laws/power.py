"""y = C x^a."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep.analysis.laws.straight import Straight
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Columns
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted


class Power(Straight):
    """y = C x^a: log y = log C + a log x.  Of thresholds, through their errors."""

    names = ("C", "exponent")
    log_x = log_y = True

    def formula(self, found: Fitted) -> str:
        """``y ~ x^2.01 [1.96, 2.06]``."""
        return f"{found.spec.y} ~ {found.spec.x_bracketed}^{found['exponent'].interval()}"

    def short(self, found: Fitted) -> str:
        """``slope 2.01 [1.96, 2.06]``."""
        return f"slope {found['exponent'].interval()}"

    def fit_cells(self, columns: Columns, spec: FitSpec) -> list[Fitted] | None:
        """Thresholds weigh by their intervals; other columns of cells as any rows."""
        from lawsweep.analysis.laws.threshold_fits import fit_thresholds

        of_thresholds = "n_star" in Expression(spec.y).names and not spec.local
        return fit_thresholds(columns, spec) if of_thresholds else None
