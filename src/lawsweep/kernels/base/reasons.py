"""How a computation ended: a code that rows keep, and beside it what to do about it.

Each kernel names its ends in an enum of its own below ``Reason``; all of them behave alike::

    class SolveReason(Reason):
        CONVERGED = "converged"
        MAX_ITERATIONS = "max_iterations", "raise max_iterations"

A code is a few words in snake_case and is never changed, as it stands in rows; advice may be put in
better words at any time.  A result carries its ``reason``, and ``throw()`` turns one that is no
answer into an error.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A code, equal to its text and to the same code of another kernel.

    ``advice`` says what is to be known or done; ``ok`` whether the result is an answer: by default
    one about which there is nothing to say.
    """

    advice: str
    ok: bool

    def __new__(cls, code: str, advice: str = "", ok: bool | None = None) -> Self:
        """A member: its code alone is its text."""
        made = str.__new__(cls, code)
        made._value_ = code
        made.advice, made.ok = advice, not advice if ok is None else ok
        return made


class KernelError(ArithmeticError):
    """A kernel came to no answer; ``reason`` is the code, with its advice."""

    def __init__(self, what: str, reason: Reason) -> None:
        super().__init__(f"{what} ended with {reason.value}: {reason.advice}.")
        self.reason = reason

    def __reduce__(self) -> tuple[type[KernelError], tuple[str, Reason]]:
        return type(self), (str(self).partition(" ended with ")[0], self.reason)


class Ended:
    """Base of a kernel's result: it says how it ended, in ``reason``."""

    @property
    def verdict(self) -> Reason:
        """The reason of the whole; a result with a reason a member says which speaks for all."""
        reason: Reason = self.reason  # type: ignore[attr-defined]
        return reason

    def throw(self) -> Self:
        """The result itself; KernelError, with code and advice, where it is no answer."""
        if not self.verdict.ok:
            raise KernelError(type(self).__name__, self.verdict)
        return self
