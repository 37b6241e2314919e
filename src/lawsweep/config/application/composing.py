"""The config of each job, equal to what Hydra composes for it, without composing for each.

Hydra composes a job's config in three steps: its defaults list (which files, by the choices of
groups), the merge of those files, and then the overrides of values, one by one.  Jobs that choose
the same of every group share the first two, which are nearly all of the time: they are done once a
choice, and kept as a pickle that each job begins from.  What Hydra's own methods do is left to
them; the first job of each choice is also composed by Hydra alone, and compared.
"""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

_INT = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+(e-?[0-9]+)?", re.ASCII)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
CHECKED = 4  # choices of groups whose first job is also composed by Hydra alone


@dataclass(frozen=True)
class Base:
    """What the jobs of one choice share: pickles of the whole config, and of the task's part.

    ``choice`` is the overrides that choose.  Where ``is_whole`` a job's config is this one as it
    is: composed for it alone, its overrides applied.
    """

    choice: tuple[str, ...]
    whole: bytes
    task: bytes
    is_whole: bool = False


class Composer:
    """Composes the jobs of a multirun whose own config is ``master``."""

    def __init__(self, config_loader: Any, master: DictConfig):
        self._loader, self._master = config_loader, master
        self._parsed: dict[str, Override] = {}
        self._choosing: dict[str, bool] = {}
        self._examples: dict[tuple[str, type], Override] = {}
        self._bases: dict[tuple[str, ...], Base] = {}
        self.is_alike = True  # as long as every job looked at was as Hydra has it

    def base(self, job: Sequence[str]) -> Base:
        """What the job begins from; composed when the first of its choice comes."""
        if not self.is_alike:
            return self._alone(job)
        try:
            choice = tuple(text for text in job if self._chooses(text))
        except (AttributeError, TypeError):  # a method of Hydra's that is called otherwise by now
            self.is_alike = False
            return self._alone(job)
        if choice not in self._bases:
            self._bases[choice] = base = self._compose(choice)
            if len(self._bases) <= CHECKED and not self._is_as_hydras(base, job):
                self.is_alike = False
                return self._alone(job)
        return self._bases[choice]

    def values(self, job: Sequence[str]) -> list[Override]:
        """The overrides of the job that set, add or delete a value."""
        return [self._parse(text) for text in job if not self._chooses(text)]

    @cached_property
    def _given(self) -> list[str]:
        from omegaconf import OmegaConf

        return list(OmegaConf.to_container(self._master.hydra.overrides.hydra))  # type: ignore[arg-type]

    @cached_property
    def _repository(self) -> Any:
        name = self._master.hydra.job.config_name
        _, found = self._loader._parse_overrides_and_create_caching_repo(name, self._given)
        return found

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            self._parsed[text] = self._of_plain(text) or _parsed(text)
        return self._parsed[text]

    def _of_plain(self, text: str) -> Override | None:
        """An override whose value is a number or a plain word, like another of its key.

        Hydra's parser takes milliseconds for each.
        """
        key, sign, value = text.partition("=")
        plain = _plain_value(value)
        if not sign or plain is None:
            return None
        kind = (key, type(plain))
        if kind not in self._examples:
            self._examples[kind] = found = _parsed(text)
            return found
        return replace(self._examples[kind], input_line=text, _value=plain)

    def _chooses(self, text: str) -> bool:
        """Whether it is for the defaults list, or for ``hydra``: the same for all of a choice."""
        if text not in self._choosing:
            override = self._parse(text)
            is_group = self._repository.group_exists(override.key_or_group)
            is_choice = bool(is_group) and not isinstance(override.value(), dict)
            self._choosing[text] = is_choice or override.is_hydra_override()
        return self._choosing[text]

    def _compose(self, choice: tuple[str, ...]) -> Base:
        found = self._loader.load_configuration(
            config_name=self._master.hydra.job.config_name,
            overrides=[*self._given, *choice],
            run_mode=_run_mode(),
        )
        return self._pickled(found, choice)

    def _pickled(
        self, config: DictConfig, choice: tuple[str, ...], *, is_whole: bool = False
    ) -> Base:
        from omegaconf import OmegaConf

        OmegaConf.copy_cache(from_config=self._master, to_config=config)
        whole = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
        return Base(choice, whole, pickle.dumps(task_of(config), pickle.HIGHEST_PROTOCOL), is_whole)

    def _alone(self, job: Sequence[str]) -> Base:
        found = self._loader.load_sweep_config(self._master, list(job))
        return self._pickled(found, tuple(job), is_whole=True)

    def _is_as_hydras(self, base: Base, job: Sequence[str]) -> bool:
        theirs = self._loader.load_sweep_config(self._master, list(job))
        try:
            return is_equal(whole_of(base, self.values(job), job), theirs)
        except Exception:  # noqa: BLE001  (another Hydra, whose methods take something else)
            return False


def _parsed(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(text)


def _plain_value(text: str) -> int | float | str | None:
    """What Hydra's grammar reads a plain number or word as; None for another value."""
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _WORD.fullmatch(text) and text.lower() not in ("true", "false", "null", "inf", "nan"):
        return text
    return None


def _run_mode() -> Any:
    from hydra.types import RunMode

    return RunMode.RUN


def is_equal(one: DictConfig, other: DictConfig) -> bool:
    """Whether two configs are equal: values, types, order of keys."""
    from omegaconf import OmegaConf

    return repr(OmegaConf.to_container(one)) == repr(OmegaConf.to_container(other))


def task_of(config: DictConfig) -> DictConfig:
    """A copy without ``hydra``: what the application's function is given."""
    from omegaconf import open_dict, read_write

    found = copy.deepcopy(config)
    with read_write(found), open_dict(found):
        del found["hydra"]
    return found


def with_values(config: DictConfig, values: Sequence[Override]) -> DictConfig:
    """The config with overrides applied in place, by Hydra's own rules."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    ConfigLoaderImpl._apply_overrides_to_config(list(values), config)
    return config


def task_config(base: Base, values: Sequence[Override]) -> DictConfig:
    """What the application's function is given in a job."""
    found: DictConfig = pickle.loads(base.task)
    return found if base.is_whole else with_values(found, values)


def whole_of(base: Base, values: Sequence[Override], job: Sequence[str]) -> DictConfig:
    """The whole config of a job, with ``hydra``, as its launcher composes it."""
    found: DictConfig = pickle.loads(base.whole)
    if not base.is_whole:
        with_values(found, values)
        note_overrides(found.hydra, job)
    return found


def note_overrides(hydra: Any, job: Sequence[str]) -> None:
    """Write into ``hydra`` which overrides of the task the job has."""
    from hydra._internal.config_loader_impl import get_overrides_dirname
    from omegaconf import flag_override

    settings = hydra.job.config.override_dirname
    shown = [_Line(text, _key(text)) for text in job if not _is_hydras(text)]
    with flag_override(hydra, ["readonly", "struct"], [False, False]):
        hydra.overrides.task = [line.input_line for line in shown]
        hydra.job.override_dirname = get_overrides_dirname(
            overrides=shown,  # type: ignore[arg-type]
            kv_sep=settings.kv_sep,
            item_sep=settings.item_sep,
            exclude_keys=settings.exclude_keys,
        )


@dataclass(frozen=True)
class _Line:
    """The two words of an override that its folder's name is made of."""

    input_line: str
    key_or_group: str


def _key(text: str) -> str:
    """The key of an override, without its sign and package."""
    return text.partition("=")[0].lstrip("+~").partition("@")[0]


def _is_hydras(text: str) -> bool:
    return _key(text).startswith(("hydra.", "hydra/"))
