"""What must reach no record, page, line or archive: one place that knows it, for every writer.

Known are the values of ``executor.runtime_env.env_vars`` (from when the sweep is made), those of
this process's environment variables that are named like a secret, whatever stands under such a
name in the settings of executor and store, credentials in URLs, and tokens of well-known forms.
Records keep the names and have ``<hidden>`` for the values.  Params are no place for a secret:
every row has them in clear, so a credential there is refused.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from lawsweep.core.errors import InvalidValueError

HIDDEN = "<hidden>"
_LEAST = 6  # characters: what is shorter stands in every text by chance ("true", "cuda", "1")
_NAMED = r"(?:token|secret|passw|passphrase|pwd|credential|api_?-?key|access_?-?key|private_?-?key"
_NAMED += r"|signature|authorization|auth(?!or))"
_SECRET_NAME = re.compile(_NAMED, re.IGNORECASE)
_HEADERS = ("headers", "cookies", "env_vars")  # mappings whose every value is hidden
_END = r"[^\s&;,'\"<>\\)\]}]"
_PATTERNS = (
    # user:password@ of a URL; of scp's git@host: the user is nobody's secret.
    (re.compile(r"(\b[a-zA-Z][\w+.-]*://)(?!git@|<hidden>@)"
                r"(?:[^\s/@'\"<>?#:\\]*:[^\s@'\"<>\\]+|[^\s/@'\"<>?#\\]+)@"), rf"\1{HIDDEN}@"),
    # env_vars.NAME=..., and env_vars: {...} as Hydra and YAML write it in one line.
    (re.compile(r"(\benv_vars\.[\w.]+=)(?!<hidden>)(?:'[^'\"\\]*'|[^\s'\"\\]+)"), rf"\1{HIDDEN}"),
    (re.compile(r"(\benv_vars['\"]?\s*[:=]\s*\{)(?!<hidden>)[^{}\"\\]+(?=\})"), rf"\1{HIDDEN}"),
    # ?access_key=...&X-Amz-Signature=...
    (re.compile(rf"([?&;](?:[\w.-]*{_NAMED}[\w.-]*|sig|key)=)(?!{HIDDEN}){_END}+", re.IGNORECASE),
     rf"\1{HIDDEN}"),
    (re.compile(r"(\bauthorization['\"]?\s*[:=]\s*['\"]?)(?!<hidden>)(?:(?:bearer|basic|token)\s+)?"
                rf"{_END}+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(\bbearer\s+)[A-Za-z0-9._~+/-]{12,}=*", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_\w{30,}|github_pat_\w{30,}"
                r"|hf_[A-Za-z0-9]{30,}|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,})"), HIDDEN),
)  # fmt: skip
_learnt: dict[str, None] = {}


def learn(*values: Any) -> None:
    """Know these values as secrets from now on, in this process."""
    for value in values:
        text = str(value).strip()
        if len(text) >= _LEAST and text != HIDDEN:
            _learnt.update(dict.fromkeys(_spellings(text)))


def learn_settings(settings: Any) -> None:
    """Know what the settings of an executor or a store give as environment or under such a name."""
    learn(*(value for value, is_secret in _leaves(settings) if is_secret))


def hide(text: str) -> str:
    """``text`` with ``<hidden>`` in place of every secret in it."""
    for value in sorted({*_learnt, *_of_environment()}, key=len, reverse=True):
        if value in text:
            text = text.replace(value, HIDDEN)
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


def hide_settings(value: Any) -> Any:
    """Settings of an executor or a store: names as they are, secrets hidden at any depth."""
    return _hidden(value, named=True)


def hide_in(value: Any) -> Any:
    """Any plain value with the secrets in its texts hidden."""
    return _hidden(value, named=False)


def hide_overrides(overrides: Any) -> list[str]:
    """Overrides as typed, for a record or a suggested command."""
    return [hide_override(str(text)) for text in overrides]


def hide_override(text: str) -> str:
    """One override: the value goes where its key names a secret, or an environment."""
    key, equals, value = text.partition("=")
    setting = key.lstrip("+~").startswith(("executor", "store", "sinks"))
    if setting and equals and (is_secret_name(key) or _holds_secret_names(value)):
        return f"{key}={HIDDEN}"
    return hide(text)


def learn_override(text: str) -> None:
    """Know the values of an override that gives an environment, before anything reads it."""
    key, equals, value = text.partition("=")
    if not equals or not key.lstrip("+~").startswith(("executor", "store", "sinks")):
        return
    if is_secret_name(key):
        learn(value.strip("'\""))
    if is_secret_name(key) or _holds_secret_names(value):
        # {env_vars: {A: 'x', B: y}}: whatever stands after a colon.
        for found in re.findall(r":\s*(?:'([^']*)'|\"([^\"]*)\"|([^,{}'\"\s][^,{}]*))", value):
            learn(*(f for f in found if f))


def refuse_in(values: Any, place: str) -> None:
    """Raise InvalidValueError where a param's value holds a credential."""
    known = {*_learnt, *_of_environment()}
    for value in _texts(values):
        suspect = "://" in value or any(secret in value for secret in known)
        if suspect and hide(value) != value:
            raise InvalidValueError(
                f"{place} holds a credential, and every row and record would show it. Leave it "
                "out: give it in the environment, where the experiment reads it."
            )


def is_secret_name(name: str) -> bool:
    """Whether what is called so is a credential (``api_key``), or one of a request's headers."""
    last = name.rpartition(".")[2]
    return any(part in _HEADERS for part in name.split(".")) or bool(_SECRET_NAME.search(last))


def _holds_secret_names(value: str) -> bool:
    names = re.findall(r"[{,\s]['\"]?([\w.-]+)['\"]?\s*:", value)
    return any(is_secret_name(n) for n in names)


def _texts(values: Any) -> Iterator[str]:
    """Every string in plain values, of which there may be millions."""
    stack = [values]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(v for v in value if isinstance(v, str | Mapping | list | tuple))


def _leaves(value: Any, secret: bool = False) -> Iterator[tuple[Any, bool]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _leaves(one, secret or is_secret_name(str(name)))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one, secret)
    elif value is not None:
        yield value, secret


def _hidden(value: Any, *, named: bool) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, Mapping):
        return {
            name: _blank(one) if named and is_secret_name(str(name)) else _hidden(one, named=named)
            for name, one in value.items()
        }
    return [_hidden(v, named=named) for v in value] if isinstance(value, list | tuple) else value


def _blank(value: Any) -> Any:
    """The names that a secret mapping has, and none of its values."""
    if isinstance(value, Mapping):
        return {name: _blank(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_blank(one) for one in value]
    return None if value is None else HIDDEN


def _spellings(text: str) -> Iterator[str]:
    """A value as JSON, HTML, URLs and Python's repr write it, too."""
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield html.escape(text)
    yield quote(text, safe="")
    yield repr(text)[1:-1]


def _of_environment() -> set[str]:
    named = (v for n, v in os.environ.items() if _SECRET_NAME.search(n))
    # At least 8 characters, no path: a mode, a socket, a file's name are no secrets.
    return {v for v in named if len(v) >= 8 and not v.startswith(("/", "~"))}
