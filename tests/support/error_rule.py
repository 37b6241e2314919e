"""What a text of an error owes to who reads it, as far as a text can be asked: see ``parts``."""

from __future__ import annotations

import re
from typing import NamedTuple

from error_texts import HANDED_ON, Entry

# What a person is told to do begins with one of these, or is a command or a nearest name.
VERBS = (
    "add|allow|ask|begin|break|bring|call|change|check|choose|close|compare|compute|convert|copy|"
    "correct|count|cut|declare|decorate|delete|draw|drop|exclude|export|fit|follow|free|get|give|"
    "go|install|import|keep|launch|leave|let|loosen|lower|look|make|mark|mend|move|name|narrow|"
    "open|pass|pin|plan|point|print|put|quote|raise|read|recompute|reduce|remove|rename|repeat|"
    "replace|replay|report|restart|restore|return|run|save|say|see|send|set|show|shorten|spell|split|"
    "start|stop|submit|take|try|turn|uninstall|unset|use|wait|widen|wrap|write"
)
_VERB = rf"(?:{VERBS}|{'|'.join(v.capitalize() for v in VERBS.split('|'))})\b(?! tells)"
NEXT = re.compile(
    rf"(?:(?:[.;:,?)\]|(\[] ?|, or |, and ){_VERB}|\blawsweep [a-z]+ |\bpip install |"
    r"\bDid you mean | --[a-z])"
)
EXPECTED = re.compile(
    r"\b(must|needs?|takes?|[Ee]xpected|requires?|at most|at least|only|Valid|is one of|has to|"
    r"are names|names|says which|works too)\b"
)
GOT = re.compile(r"[,;] got\b|was given")
OPEN = re.compile(r"[…\[]")
OF_THE_WORLD = ("StoreError", "ExecutorError", "IncompatibleTableError")


class Parts(NamedTuple):
    """What a text says was expected, what was got, and what is to be done; empty where it does not.

    A text that hands on another one has that one's parts.
    """

    expected: str
    got: str
    next_step: str

    @property
    def complete(self) -> bool:
        """What was expected beside what was got, or what is the case and what to do."""
        return bool(self.got and (self.expected or self.next_step))


def parts(entry: Entry) -> Parts:
    """A text by its parts.

    The next step begins with an imperative after what is the case, or is a command, an option or
    the nearest name.  Before it stands what was expected, by one of the words for that, and what
    was got: a value (``…``), or what is the case in words.  Of a state of the world (the store, an
    executor) ``needs`` and ``at most`` are no expectation that somebody could have met: such a
    text says ``got`` or what to do.
    """
    text = entry.text
    if HANDED_ON in text:
        return Parts(HANDED_ON, HANDED_ON, HANDED_ON)
    step = NEXT.search(text)
    before = text[: step.start()] if step else text
    next_step = text[step.start() :].lstrip(".;:,?)]|([ ") if step else ""
    if value := GOT.search(before):
        return Parts(before[: value.start()], before[value.start() :].lstrip(",; "), next_step)
    expected = before if EXPECTED.search(before) and entry.kind not in OF_THE_WORLD else ""
    got = before if OPEN.search(before) or (next_step and before.strip()) else ""
    return Parts(expected, got, next_step)
