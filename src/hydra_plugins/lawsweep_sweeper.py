"""``hydra/sweeper=lawsweep``: an application's multirun as a study.

Hydra imports this module whenever an application starts, whatever that is: it loads nothing of
lawsweep until the sweeper is used.  Annotations are no texts here: Hydra's scanner executes the
module before it is among those that are loaded, where a dataclass would look them up.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LawsweepSweeperConf:
    """See lawsweep.config.application.options.SweeperOptions."""

    _target_: str = "hydra_plugins.lawsweep_sweeper.LawsweepSweeper"
    name: Any = None
    version: int = 1
    params: Any = None
    executor: Any = "serial"
    results_dir: Any = None
    seed: Any = "seed"
    ignore: Any = field(default_factory=list)
    retry: bool = False
    accept: bool = False
    recompute: bool = False
    max_points: int = 5_000_000
    on_failure: Any = None
    store: Any = None
    sinks: Any = field(default_factory=list)
    fits: Any = field(default_factory=list)
    figures: Any = field(default_factory=list)


ConfigStore.instance().store(
    group="hydra/sweeper", name="lawsweep", node=LawsweepSweeperConf, provider="lawsweep"
)


class LawsweepSweeper(Sweeper):
    """Runs the jobs of a multirun that its study's table lacks."""

    def __init__(self, **options: Any):
        self._options = options
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember what the application is."""
        self.hydra_context, self.task_function = hydra_context, task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Run what is asked for and missing; the reports of the launches.

        Ends the program with the exit code of ``lawsweep run`` where it is not 0.
        """
        from lawsweep.cli.application.multirun import run_application

        assert self.hydra_context is not None
        assert self.task_function is not None
        return run_application(
            self._options, arguments, self.hydra_context, self.task_function, self.config
        )
