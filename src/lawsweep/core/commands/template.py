"""What a sweep says under ``command``: words, placeholders, where the metrics come from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lawsweep.core.errors import InvalidValueError, unknown_name

# What a placeholder may be beside a param.
GIVEN = ("seed", "device", "run_id", "folder", "root", "params")
LOG_BYTES = 1_000_000
KEEP = ("always", "failed", "never")
_PLACE = re.compile(r"\{\{|\}\}|\{([^\W\d]\w*)\}")


@dataclass(frozen=True)
class Template:
    """The ``command`` block of a sweep.

    ``run`` is the command line: text, split as a shell would split it, or a list of words.  In a
    word ``{lr}`` is the param, whatever it holds a part of one argument (``{{`` is a brace).
    ``metrics`` is a JSON file that it writes, in its folder; without it the last line of its
    standard output that is a JSON mapping.  ``shell``: run by ``sh``, each value quoted for it.
    ``env``: environment variables.  ``keep``: whose folders stay, ``always``, ``failed`` (those of
    runs that failed) or ``never``.  ``log_bytes``: how much of each of its outputs is kept.
    """

    run: tuple[str, ...]
    metrics: str | None = None
    version: int = 1
    name: str | None = None
    shell: bool = False
    env: tuple[tuple[str, str], ...] = ()
    keep: str = "always"
    log_bytes: int = LOG_BYTES

    @property
    def placeholders(self) -> tuple[str, ...]:
        """All names in braces, in order."""
        texts = (*self.run, *(v for _, v in self.env))
        found = (m[1] for text in texts for m in _PLACE.finditer(text))
        return tuple(dict.fromkeys(n for n in found if n))

    @property
    def takes_seed(self) -> bool:
        """Whether runs of several seeds can differ."""
        return "seed" in self.placeholders

    def words(self, values: Mapping[str, str]) -> list[str]:
        """The command line with each placeholder as its text."""
        if not self.shell:
            return [fill(word, values) for word in self.run]
        quoted = {n: shlex.quote(v) for n, v in values.items()}
        return ["/bin/sh", "-c", fill(self.run[0], quoted)]


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with ``{name}`` as the value, and ``{{`` as a brace."""
    return _PLACE.sub(lambda m: values[m[1]] if m[1] else m[0][0], text)


def read_template(said: Any, place: str) -> Template:
    """What a sweep says under ``command``.  Raises a LawsweepError with one sentence."""
    block = said if isinstance(said, Mapping) else {"run": said}
    known = [f.name for f in fields(Template)]
    for key in block:
        if key not in known:
            raise unknown_name("option", str(key), known, f"command of {place}")
    given = {str(k): v for k, v in block.items() if v is not None}
    shell = given.get("shell", False)
    if not isinstance(shell, bool):
        raise InvalidValueError(f"command.shell of {place} must be true or false, got {shell!r}.")
    checks = (
        ("metrics", str, "a file's name"),
        ("name", str, "a name"),
        ("version", int, "a whole number"),
        ("log_bytes", int, "a whole number"),
        ("env", Mapping, "a mapping of names to texts"),
    )
    for key, kind, words in checks:
        value = given.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise InvalidValueError(f"command.{key} of {place} must be {words}, got {value!r}.")
    for key in ("version", "log_bytes"):
        if given.get(key, 1) < 1:
            raise InvalidValueError(f"command.{key} of {place} must be from 1, got {given[key]}.")
    if given.get("keep", "always") not in KEEP:
        raise InvalidValueError(
            f"command.keep of {place} must be one of {', '.join(KEEP)}, got {given['keep']!r}."
        )
    env = tuple((str(n), str(v)) for n, v in given.pop("env", {}).items())
    run = tuple(_words(given.pop("run", None), place, shell=shell))
    return Template(run=run, env=env, **given)


def _words(said: Any, place: str, *, shell: bool) -> Iterator[str]:
    if isinstance(said, Sequence) and not isinstance(said, str) and said and not shell:
        for word in said:
            if isinstance(word, bool) or not isinstance(word, str | int | float):
                raise InvalidValueError(
                    f"A word of the command of {place} must be text, got {word!r}. Quote it."
                )
            yield str(word)
        return
    if not isinstance(said, str) or not said.strip():
        raise InvalidValueError(
            f"command of {place} must be a command line such as 'python train.py --lr {{lr}}', got "
            f"{said!r}."
        )
    if shell:
        yield said
        return
    try:
        yield from shlex.split(said)
    except ValueError as error:
        raise InvalidValueError(
            f"The command of {place} cannot be split into words ({error}): {said!r}. Mend its "
            "quotes, or write it as a list of words."
        ) from None
