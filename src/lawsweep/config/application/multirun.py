"""``python app.py -m hydra/sweeper=lawsweep ...`` as sweeps that a study can be opened on."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.config.application.asked import Asked, asked_for
from lawsweep.config.application.composing import Composer
from lawsweep.config.application.experiment import (
    Application,
    make_experiment,
    make_sweeps,
    table_name,
)
from lawsweep.config.application.grammar import jobs_of
from lawsweep.config.application.options import SweeperOptions
from lawsweep.config.application.record import FILE
from lawsweep.config.application.running import Circumstances
from lawsweep.config.project.root import from_root
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.schema import Kind
from lawsweep.core.secrets import hide_overrides
from lawsweep.grid.sweep import Sweep, results_place

if TYPE_CHECKING:
    from hydra.types import HydraContext
    from omegaconf import DictConfig


@dataclasses.dataclass(frozen=True)
class Multirun:
    """A multirun, composed and checked: its sweeps, the params of each digest, what was typed."""

    sweeps: list[Sweep]
    points: Mapping[str, Mapping[str, Any]]
    asked: Asked
    options: SweeperOptions
    command: str
    config: DictConfig
    context: HydraContext
    results: str = "results"  # the results folder, as a verb is told it

    @property
    def name(self) -> str:
        """What its study is called."""
        return self.sweeps[0].name

    def begin(self) -> None:
        """Write Hydra's own record of the multirun into its folder."""
        from omegaconf import OmegaConf

        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")

    def end(self) -> None:
        """Set logging back to that of the multirun."""
        from hydra.core.utils import configure_log

        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)

    def tell_end(self) -> None:
        """Tell Hydra's callbacks that it has ended: who ends the program does not return."""
        self.context.callbacks.on_multirun_end(
            config=self.config, config_name=self.config.hydra.job.config_name
        )


def prepare(
    options: Mapping[str, Any],
    arguments: Sequence[str],
    context: HydraContext,
    function: Callable[..., Any],
    config: DictConfig,
) -> Multirun:
    """Compose every job, name it, and make sweeps of them.  Nothing is written or executed.

    Raises a LawsweepError, or Hydra's own error for what cannot be composed.
    """
    from hydra import version
    from hydra.core.utils import JobRuntime
    from packaging.version import Version

    chosen = _options(options)
    _ = config.hydra.sweep.dir  # the hour in it is that of the multirun, in every job
    jobs = jobs_of(arguments, chosen.params or {}, context.config_loader, chosen.max_points)
    name = str(JobRuntime.instance().get("name"))
    base = version.VersionBase.instance().getbase()
    circumstances = Circumstances(
        name,
        str(base) if isinstance(base, Version) else None,
        context.callbacks if context.callbacks.callbacks else None,
    )
    composer = Composer(context.config_loader, config)
    asked = asked_for(jobs, composer, f"{name}:{function.__qualname__}", chosen)
    said = chosen.results_dir or os.environ.get("LAWSWEEP_RESULTS_DIR") or "results"
    results = from_root(said)  # a verb looks from there, wherever the program was started
    table = table_name(name)
    experiment, points = make_experiment(
        table,
        chosen.version,
        Application(function, asked, circumstances),
        asked,
        _known_kinds(results, table),
    )
    sweeps = make_sweeps(experiment, points, asked, chosen, results)
    _refuse_anothers(sweeps[0])
    return Multirun(sweeps, points, asked, chosen, _command(), config, context, said)


def _options(given: Mapping[str, Any]) -> SweeperOptions:
    from omegaconf import OmegaConf

    plain: dict[str, Any] = {
        k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v
        for k, v in given.items()
    }
    plain = {k: v for k, v in plain.items() if v is not None or k == "seed"}
    for key, kind, word in (
        ("params", Mapping, "a mapping of keys to values"),
        ("ignore", list, "a list of keys, such as [paths, logging.level]"),
        ("fits", list, "a list of mappings"),
        ("figures", list, "a list of mappings"),
        ("sinks", list, "a list of names and mappings"),
        ("on_failure", Mapping, "a mapping"),
        ("store", Mapping, "a mapping"),
        ("seed", str | None, "a key of the config, or null"),
        ("name", str, "a name"),
        ("results_dir", str, "a folder or a URL"),
        ("executor", str | Mapping, "a name or a mapping with kind"),
        ("max_points", int, "a whole number"),
    ):
        if key in plain and not isinstance(plain[key], kind):
            raise InvalidValueError(
                f"hydra.sweeper.{key} must be {word}, got {plain[key]!r}. Change it."
            )
    if plain.get("version", 1) < 1:
        raise InvalidValueError(
            f"hydra.sweeper.version must be a whole number from 1, got {plain['version']}."
        )
    return SweeperOptions(**plain)  # Hydra has refused keys that there are not


def _known_kinds(results: str, table: str) -> dict[str, Kind]:
    """The kinds of the params that the application's table has already."""
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.table.stored import stored_experiment

    with suppress(UnknownNameError):
        found = stored_experiment(open_folder(results_place(results)) / "tables", table)
        return {s.name: s.kind for s in found.params}
    return {}


def _refuse_anothers(sweep: Sweep) -> None:
    """Refuse a study whose folder is that of a sweep file, which would no longer be found."""
    from lawsweep.config.files import sweep_names

    if sweep.name in sweep_names():
        raise InvalidValueError(
            f"There is a sweep file called {sweep.name}, and `lawsweep status {sweep.name}` means "
            f"that. Call the application's study otherwise: hydra.sweeper.name=... ({FILE} of it "
            "is found by this name)."
        )


def _command() -> str:
    """The command line that was typed, for records; without secrets."""
    program = [Path(sys.executable).name, Path(sys.argv[0]).name]
    return shlex.join([*program, *hide_overrides(sys.argv[1:])])
