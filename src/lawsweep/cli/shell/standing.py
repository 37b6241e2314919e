"""A verb works in the root of the project, wherever below it a person stands.

So sweeps, conf, results and experiments are found from every folder of a project.  What a person
names by a path is meant from where they stand, and is handed on as the same file.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lawsweep.config.project.root import project_root

_OUTPUTS = ("-o", "--output")


@contextlib.contextmanager
def in_project(arguments: Sequence[str] | None) -> Iterator[list[str]]:
    """Within, the working folder is the project's root; gives the words as meant from there."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    start = Path.cwd()
    root = project_root(start)
    if root == start or not any(not w.startswith("-") for w in words) or words[0] == "init":
        yield words
        return
    words = list(_from(start, words))
    print(f"note: working in {root}", file=sys.stderr)
    os.chdir(root)
    try:
        yield words
    finally:
        with contextlib.suppress(OSError):  # it may be gone by now
            os.chdir(start)


def _from(start: Path, words: Sequence[str]) -> Iterator[str]:
    """The words, with paths that are meant from ``start`` made whole."""
    is_output = False
    for word in words:
        option, sign, value = word.partition("=")
        if is_output:
            yield _whole(start, word)
        elif option == "--output" and sign:
            yield f"{option}={_whole(start, value)}"
        elif word.startswith("-o") and not word.startswith("--") and len(word) > 2:
            yield f"-o{_whole(start, word[2:])}"
        else:
            yield _whole(start, word) if _names_a_file(start, word) else word
        is_output = word in _OUTPUTS


def _whole(start: Path, word: str) -> str:
    return word if "://" in word or word == "-" else os.path.normpath(start / word)


def _names_a_file(start: Path, word: str) -> bool:
    """A word with a folder or an ending in it, that is there; ``train.py:run`` is ``train.py``."""
    file = word.rpartition(":")[0] if ".py:" in word else word
    if word.startswith("-") or not ("/" in file or "." in file):
        return False
    try:
        return (start / file).exists()
    except (OSError, ValueError):
        return False
