"""What is printed is text, whatever stands in it.

A param, an error, a host's name or a file's may hold escape sequences, which a terminal obeys: it
clears the screen, renames its window, fills the clipboard.  They are spelled out on the way to
stdout and stderr, so that no verb has to think of it.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

# Controls but for line feed and tab, and what turns the direction of text or breaks a line unseen.
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_BREAKS = re.compile(r"[\n\t]")


def spelled(text: str) -> str:
    """The text with its control characters as Python spells them: ``\\x1b[2J``."""
    return _ODD.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(value: Any) -> str:
    """A value as part of one line: line breaks and tabs are spelled out too."""
    return _BREAKS.sub(lambda found: ascii(found[0])[1:-1], spelled(str(value)))


# What stands for the signs that we print ourselves, where a terminal has none of them.
_STAND_INS = {
    "→": "->", "←": "<-", "±": "+/-", "−": "-", "≤": "<=", "≥": ">=", "×": "x", "·": ".",
    "…": "...", "–": "-", "—": "-", "∞": "inf", "√": "sqrt", "’": "'", "‘": "'", "“": '"', "”": '"',
}  # fmt: skip


def _in_its_characters(text: str, encoding: str) -> str:
    """The text with what the encoding lacks written otherwise: ``->``, ``+/-`` or ``\\u03bb``."""

    def one(sign: str) -> str:
        try:
            sign.encode(encoding)
        except UnicodeEncodeError:
            plain = _STAND_INS.get(sign)
            return sign.encode("ascii", "backslashreplace").decode() if plain is None else plain
        return sign

    return "".join(map(one, text))


class Plain:
    """A text stream that spells out what it is given; all else is the stream's own."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> int:
        """Write; the answer counts the characters that were given."""
        plain = spelled(text)
        try:
            self.stream.write(plain)
        except UnicodeEncodeError:  # a terminal of another character set: words before looks
            self.stream.write(_in_its_characters(plain, self.stream.encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def own_stream(stream: Any) -> Any:
    """The stream beneath, for what writes escape sequences of its own (a live display)."""
    return stream.stream if isinstance(stream, Plain) else stream


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """stdout and stderr of this process spell out what is printed within."""
    before = sys.stdout, sys.stderr
    inside = Plain(own_stream(sys.stdout)), Plain(own_stream(sys.stderr))
    sys.stdout, sys.stderr = inside  # as good as text streams
    try:
        yield
    finally:
        if sys.stdout is inside[0]:
            sys.stdout = before[0]
        if sys.stderr is inside[1]:
            sys.stderr = before[1]
