"""The YAML that ``OmegaConf.to_yaml`` gives, put together from the texts of its leaves.

Hydra writes two files of YAML beside each job, and PyYAML takes tens of milliseconds for them.
Configs of one sweep differ in few leaves, and the text of a leaf hangs on its key, its depth and
its value alone: each is made once, by OmegaConf itself, and kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

MOST = 50_000  # texts that are kept
_KEY = re.compile(r"[\w./@-]{1,60}")  # takes one line
# Texts that no reader of YAML takes for a number, and that are neither quoted nor folded.
_SAFE = re.compile(r"/[\w./+=,-]*[\w]|[+]?[A-Za-z_][\w./]*=[\w./+-]*[\w]", re.ASCII)
_DIGITS = re.compile(r"0|[1-9][0-9]*", re.ASCII)


class YamlTexts:
    """Texts of configs; ``of(config)`` equals ``OmegaConf.to_yaml(config)``."""

    def __init__(self) -> None:
        self._leaves: dict[tuple[tuple[str, ...], str], str] = {}

    def of(self, config: DictConfig) -> str:
        """The text of a config."""
        from omegaconf import OmegaConf

        found = OmegaConf.to_container(config, enum_to_str=True)
        assert isinstance(found, dict)
        return self.of_container(found)

    def of_container(self, found: dict[Any, Any]) -> str:
        """The text of a config that is plain containers already, enums by their names."""
        lines: list[str] = []
        return "".join(lines) if found and self._add(lines, (), found) else _dump(found)

    def of_sections(
        self, name: str, sections: dict[Any, Any], kept: dict[Any, str], changing: Collection[str]
    ) -> str:
        """The text of ``{name: sections}``; those that do not change are made once, in ``kept``."""
        lines = [f"{_written(name)}:\n"]
        for key, value in sections.items():
            text = kept.get(key)
            if text is None:
                whole = self.of_container({name: {key: value}})
                text = whole.partition("\n")[2]
                if key not in changing:
                    kept[key] = text
            lines.append(text)
        return "".join(lines)

    def _add(self, lines: list[str], path: tuple[str, ...], value: dict[Any, Any]) -> bool:
        """Add the lines of a mapping; False where one of its keys would take more than a line."""
        for key, inner in value.items():
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                return False
            here = (*path, key)
            if isinstance(inner, dict) and inner:
                lines.append(f"{'  ' * len(path)}{_written(key)}:\n")
                if not self._add(lines, here, inner):
                    return False
                continue
            text = _plain_leaf("  " * len(path), key, inner)
            known = (here, "" if text else repr(inner))
            text = text or self._leaves.get(known)
            if text is None:
                if len(self._leaves) > MOST:
                    self._leaves.clear()
                text = self._leaves[known] = _leaf(here, inner)
            lines.append(text)
        return True


def _plain_leaf(indent: str, key: str, value: Any) -> str | None:
    """The line of a leaf that can be told at once: a whole number, a path, ``lr=0.1``."""
    if type(value) is int:
        return f"{indent}{_written(key)}: {value}\n"
    if type(value) is str and _SAFE.fullmatch(value):
        return f"{indent}{_written(key)}: {value}\n"
    if type(value) is str and _DIGITS.fullmatch(value):
        return f"{indent}{_written(key)}: '{value}'\n"
    if type(value) is list and value and all(type(v) is str and _SAFE.fullmatch(v) for v in value):
        return f"{indent}{_written(key)}:\n" + "".join(f"{indent}- {v}\n" for v in value)
    return None


def _leaf(path: tuple[str, ...], value: Any) -> str:
    """The lines of one leaf at its depth: those of mappings that hold nothing else, without these.

    How long lines are folded hangs on where they begin.
    """
    nested: Any = value
    for key in reversed(path):
        nested = {key: nested}
    lines = _dump(nested).splitlines(keepends=True)
    return "".join(lines[len(path) - 1 :])


@cache
def _written(key: str) -> str:
    """A key as YAML has it: in quotes where it would be read as something else (``on``)."""
    return _dump({key: 0}).rpartition(":")[0]


def _dump(value: Any) -> str:
    import yaml
    from omegaconf._utils import get_omega_conf_dumper

    return str(
        yaml.dump(
            value,
            default_flow_style=False,
            allow_unicode=True,
            sort_keys=False,
            Dumper=get_omega_conf_dumper(),
        )
    )
