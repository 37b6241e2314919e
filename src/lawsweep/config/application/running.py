"""A job of a Hydra application where it runs: what Hydra's ``run_job`` does, without its copies.

A job has its config, ``HydraConfig``, its output folder with ``.hydra/``, its logging, environment
and working folder as from Hydra's basic launcher.  What jobs share is made once a process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lawsweep.config.application.composing import (
    Base,
    note_overrides,
    task_config,
    whole_of,
)
from lawsweep.config.application.identity import texts_of
from lawsweep.config.application.yaml_texts import YamlTexts

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


_NOW = re.compile(r"\$\{now:[^${}]*\}")
_OF_HYDRA = re.compile(r"\$\{hydra[.:]([A-Za-z_][\w.]*)\}", re.ASCII)


# Sections of ``hydra`` in which jobs of one base differ.
CHANGING = ("job", "overrides", "runtime")
# A reference from ``hydra`` to the application's own config.
_OUT = re.compile(r"\$\{(?!hydra[.:]|now:|oc\.env:|python_version:|env:)")


class Spec(NamedTuple):
    """A job: its place in the multirun, what it begins from, and its overrides."""

    num: int
    base: int
    job: tuple[str, ...]


@dataclass(frozen=True)
class Circumstances:
    """What a worker has to know of the process that the application was started in."""

    job_name: str
    version_base: str | None
    callbacks: Any = None


class JobRunner:
    """Runs jobs in this process."""

    def __init__(
        self,
        function: Callable[..., Any],
        bases: Sequence[Base],
        values: Mapping[str, Override],
        circumstances: Circumstances,
    ):
        self._function, self._bases, self._values = function, bases, values
        self._circumstances = circumstances
        self._hydras: dict[int, _Hydra] = {}
        self._texts = YamlTexts()
        _set_up(circumstances)

    def run(self, spec: Spec) -> tuple[Any, str]:
        """What the application's function returned, and the job's folder; raises what it raises."""
        base = self._bases[spec.base]
        values = [self._values[text] for text in spec.job if text in self._values]
        if self._circumstances.callbacks or base.is_whole:
            return self._as_hydra(spec, base, values)
        hydra = self._hydras.get(spec.base)
        if hydra is None:
            hydra = self._hydras[spec.base] = _Hydra(base)
        root = task_config(base, values) if hydra.leads_out else None
        task = task_config(base, values)
        with hydra.at(root, spec) as folder:
            return self._call(task, hydra, folder), folder

    def _call(self, task: DictConfig, hydra: _Hydra, folder: str) -> Any:
        from hydra.core.utils import configure_log, env_override

        config, here = hydra.node, os.getcwd()  # noqa: PTH109
        Path(folder).mkdir(parents=True, exist_ok=True)
        chdir = _changes_folder(config.job.chdir)
        if chdir:
            os.chdir(folder)
        try:
            configure_log(hydra.logging(), config.verbose)
            if config.output_subdir is not None:
                self._write(Path(folder) / config.output_subdir, task, hydra)
            with env_override(config.job.env_set), _told_where(folder):
                return self._function(task)
        finally:
            _flush()
            if chdir:
                os.chdir(here)

    def _write(self, folder: Path, task: DictConfig, hydra: _Hydra) -> None:
        """The three files that Hydra leaves beside a job's output."""
        folder.mkdir(parents=True, exist_ok=True)
        overrides = hydra.plain["overrides"]["task"]
        lines = self._texts.of_container({"task": overrides}).split("\n", 1)
        for name, text in (
            ("config.yaml", self._texts.of(task)),
            ("hydra.yaml", self._texts.of_sections("hydra", hydra.plain, hydra.texts, CHANGING)),
            ("overrides.yaml", lines[1] if overrides else "[]\n"),
        ):
            (folder / name).write_text(text, encoding="utf-8")

    def _as_hydra(self, spec: Spec, base: Base, values: Sequence[Override]) -> tuple[Any, str]:
        """As Hydra's own function has it, which its callbacks are told the whole of."""
        from hydra._internal.callbacks import Callbacks
        from hydra.core.utils import JobStatus, run_job
        from hydra.types import HydraContext
        from omegaconf import open_dict

        config = whole_of(base, values, spec.job)
        with open_dict(config):
            config.hydra.job.id = spec.num
            config.hydra.job.num = spec.num
        callbacks = self._circumstances.callbacks
        if not isinstance(callbacks, Callbacks):
            callbacks = Callbacks(config)
        found = run_job(
            task_function=self._function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=HydraContext(config_loader=None, callbacks=callbacks),  # type: ignore[arg-type]
        )
        folder = str(config.hydra.runtime.output_dir)
        if found.status == JobStatus.FAILED:
            with _told_where(folder):
                raise found._return_value
        return found._return_value, folder


class _Hydra:
    """``hydra`` of the jobs of one base: one node, in which each job writes what is its own."""

    def __init__(self, base: Base):
        import pickle

        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        config = pickle.loads(base.whole)
        singleton: Any = HydraConfig.instance()
        before = singleton.cfg
        singleton.set_config(config)
        self._cfg: Any = singleton.cfg
        singleton.cfg = before
        self.node: Any = self._cfg.hydra
        self._sweep_dir: str | None = None
        self._logging: _Logging | None = None
        plain = OmegaConf.to_container(self.node, enum_to_str=True)
        assert isinstance(plain, dict)
        self.plain: dict[Any, Any] = plain
        self.texts: dict[Any, str] = {}  # of sections that are the same for all jobs
        self.leads_out = any(_OUT.search(text) for _, text in texts_of(plain))
        self._root = pickle.loads(base.task)

    @contextmanager
    def at(self, root: DictConfig | None, spec: Spec) -> Iterator[str]:
        """``HydraConfig`` is that of a job within; its output folder.

        ``root`` is the job's config, where interpolations of ``hydra`` lead into it.
        """
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import flag_override

        node, before = self.node, HydraConfig.instance().cfg
        root = self._root if root is None else root
        root.__dict__["_content"]["hydra"] = node
        node._set_parent(root)
        with flag_override(node, ["readonly", "struct"], [False, False]):
            note_overrides(node, spec.job)
            node.job.id = node.job.num = spec.num
            HydraConfig.instance().cfg = self._cfg
            folder = os.path.join(node.runtime.cwd, self._dir(), self._subdir(spec))  # noqa: PTH118
            folder = node.runtime.output_dir = os.path.abspath(folder)  # noqa: PTH100  (as Hydra does)
        plain = self.plain
        plain["job"] |= {"id": node.job.id, "num": spec.num,
                         "override_dirname": node.job.override_dirname}  # fmt: skip
        plain["overrides"]["task"] = list(node.overrides.task)
        plain["runtime"]["output_dir"] = node.runtime.output_dir
        try:
            yield folder
        finally:
            HydraConfig.instance().cfg = before

    def _dir(self) -> str:
        """``hydra.sweep.dir``; read once where nothing but the hour is in it."""
        if self._sweep_dir is not None:
            return self._sweep_dir
        found = str(self.node.sweep.dir)
        if "${" not in _NOW.sub("", str(self.plain["sweep"]["dir"])):
            self._sweep_dir = found
        return found

    def _subdir(self, spec: Spec) -> str:
        if self.plain["sweep"]["subdir"] == "${hydra.job.num}":  # as it is by default
            return str(spec.num)
        return str(self.node.sweep.subdir)

    def logging(self) -> Any:
        """``hydra.job_logging``, without asking OmegaConf for each name of a file."""
        if self._logging is None:
            self._logging = _Logging(self.plain["job_logging"])
        return self._logging.of(self.plain) or self.node.job_logging


class _Logging:
    """A config of logging in which the texts that refer to ``hydra`` are written for each job."""

    def __init__(self, plain: Any):
        from omegaconf import OmegaConf

        self._made: Any = OmegaConf.create(plain)
        self._places = [(p, t) for p, t in texts_of(plain) if "${" in t]

    def of(self, hydra: dict[Any, Any]) -> Any:
        """The config for a job; None where a text refers to something else."""

        def at(match: re.Match[str]) -> str:
            found: Any = hydra
            for key in match[1].split("."):
                found = found.get(key) if isinstance(found, dict) else None
            return str(found) if isinstance(found, str | int) else match[0]

        for (*above, last), text in self._places:
            written = _OF_HYDRA.sub(at, text)
            if "${" in written:
                return None
            node = self._made
            for key in above:
                node = node._get_node(key)
            node[last] = written
        return self._made


@contextmanager
def _told_where(folder: str) -> Iterator[None]:
    """Whoever reads of a failure is told where the job's output is."""
    try:
        yield
    except Exception as error:
        error.add_note(f"The output folder of the job is {folder}")
        raise


def _set_up(circumstances: Circumstances) -> None:
    """What Hydra set up in the process that the application was started in."""
    from hydra import version
    from hydra.core.utils import JobRuntime, setup_globals
    from packaging.version import Version

    setup_globals()
    if JobRuntime.instance().get("name") != circumstances.job_name:
        JobRuntime.instance().set("name", circumstances.job_name)
    base = version.VersionBase.instance()
    if circumstances.version_base and not isinstance(base.getbase(), Version):
        base.setbase(Version(circumstances.version_base))


def _changes_folder(chdir: bool | None) -> bool:
    """``hydra.job.chdir``; where nobody says, as the application's ``version_base`` has it."""
    from hydra import version

    return not version.base_at_least("1.2") if chdir is None else bool(chdir)


def _flush() -> None:
    from hydra.core.utils import _flush_loggers

    _flush_loggers()
