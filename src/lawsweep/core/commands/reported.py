"""What a program reports while it runs: lines of JSON with a step, on its standard output."""

from __future__ import annotations

import json
from contextlib import suppress

from lawsweep.core.during.curve import Curve, check_name
from lawsweep.core.errors import InvalidValueError

_LONGEST = 65_536  # bytes of a line that reports


class Reported:
    """Takes the output of a program as it comes, and tells ``curve`` of each line that reports.

    A line reports that is a mapping with a ``step``, a whole number that does not go back; its
    other numbers are the metrics.  Programs print what they like: any other line is passed over,
    and so are values that are no numbers and names that no metric can have.
    """

    def __init__(self, curve: Curve):
        self._curve = curve
        self._begun = b""

    def __call__(self, data: bytes) -> None:
        """The next of its output."""
        *whole, self._begun = (self._begun + data).split(b"\n")
        self._begun = self._begun[: _LONGEST + 1]  # of a longer line the rest is not needed
        for line in whole:
            if line.lstrip().startswith(b"{") and len(line) <= _LONGEST:
                self._take(line)

    def end(self) -> None:
        """The output is at its end, perhaps without a line's."""
        self(b"\n")

    def _take(self, line: bytes) -> None:
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
            step = found.pop("step", None)
            if isinstance(step, float) and step.is_integer():
                step = int(step)
            metrics = {n: v for n, v in found.items() if isinstance(v, int | float) and can_be(n)}
            with suppress(InvalidValueError):
                self._curve.report(step, metrics)


def can_be(name: str) -> bool:
    """Whether a metric of a curve can have this name."""
    try:
        check_name(name)
    except InvalidValueError:
        return False
    return True
