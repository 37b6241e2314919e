"""A Hydra application as an Experiment, and a multirun of it as Sweeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from lawsweep.config.application.columns import DIGEST, columns_of, digest_spec
from lawsweep.config.application.returned import metrics_of
from lawsweep.config.application.running import Circumstances, JobRunner
from lawsweep.core.experiment import Experiment
from lawsweep.core.options import read_options
from lawsweep.core.registry import experiment_names
from lawsweep.core.schema import Kind
from lawsweep.grid.sweep import OnFailure, Sweep

if TYPE_CHECKING:
    from lawsweep.config.application.asked import Asked
    from lawsweep.config.application.options import SweeperOptions


class Config:
    """The params of a run of an application, as attributes."""

    def __init__(self, **values: Any):
        vars(self).update(values)


class Application:
    """The function of an application's experiment: ``(config, seed) -> metrics``.

    It knows the jobs of one multirun, and runs the one that its params are the digest of.  Where it
    is sent to a worker it makes there what jobs share.
    """

    # What a person types about rows of other code.
    settled_by: ClassVar[Mapping[str, str]] = {
        "accept": "hydra.sweeper.accept=true",
        "recompute": "hydra.sweeper.recompute=true",
    }

    def __init__(self, function: Callable[..., Any], asked: Asked, circumstances: Circumstances):
        self._function, self._circumstances = function, circumstances
        self._bases, self._values, self._specs = asked.bases, asked.values, asked.specs
        self._columns: frozenset[str] = frozenset()
        self._runner: JobRunner | None = None
        # What made a row is the application's own code.
        self.__module__ = function.__module__
        self.__qualname__ = self.__name__ = function.__qualname__
        self.__wrapped__ = function

    def __getstate__(self) -> dict[str, Any]:
        kept = replace(self._circumstances, callbacks=bool(self._circumstances.callbacks))
        return {**vars(self), "_runner": None, "_circumstances": kept}

    def of_columns(self, names: frozenset[str]) -> Application:
        """This one, told the names of the params, which no metric may have."""
        self._columns = names
        return self

    def __call__(self, params: Config, seed: int) -> dict[str, Any]:
        """Run the job; raises what the application raises."""
        if self._runner is None:
            self._runner = JobRunner(self._function, self._bases, self._values, self._circumstances)
        spec = self._specs[getattr(params, DIGEST), seed]
        returned, folder = self._runner.run(spec)
        return metrics_of(returned, self._columns, folder)


def table_name(application: str) -> str:
    """The name of an application's experiment and table: its own, as far as that is free."""
    name = re.sub(r"\W", "_", application, flags=re.ASCII)
    name = f"app_{name}" if not name[:1].isalpha() else name
    return f"{name}_app" if name in experiment_names() else name


def make_experiment(
    name: str, version: int, application: Application, asked: Asked, known: Mapping[str, Kind]
) -> tuple[Experiment, dict[str, dict[str, Any]]]:
    """The experiment, and the params of each digest.

    ``known`` are the kinds of the params that its table has already.
    """
    specs, points = columns_of(list(asked.leaves.values()), known)
    full = {
        digest: {DIGEST: digest, **point}
        for digest, point in zip(asked.leaves, points, strict=True)
    }
    made = Experiment(
        name=name,
        version=version,
        function=application.of_columns(frozenset(s.name for s in specs)),
        params_type=Config,
        metrics_type=object,
        params=(digest_spec(), *specs),
        metrics=(),
        learns=True,
    )
    return made, full


def make_sweeps(
    experiment: Experiment,
    points: Mapping[str, Mapping[str, Any]],
    asked: Asked,
    options: SweeperOptions,
    results_dir: str,
) -> list[Sweep]:
    """The sweeps of a multirun: one, where every config has the same seeds."""
    return [
        make_sweep(
            experiment, options, results_dir, [dict(points[d]) for d in digests], list(seeds)
        )
        for seeds, digests in asked.by_seeds()
    ]


def make_sweep(
    experiment: Experiment,
    options: SweeperOptions,
    results_dir: str,
    points: list[dict[str, Any]],
    seeds: list[int],
) -> Sweep:
    """A sweep over points that are known."""
    asks = {"fits": list(options.fits), "figures": list(options.figures)}
    return Sweep(
        name=options.name or experiment.name,
        experiment=experiment,
        axes={"points": points},
        seeds=seeds,
        fits=tuple(options.fits),
        figures=tuple(options.figures),
        on_failure=read_options(OnFailure, options.on_failure, "hydra.sweeper.on_failure"),
        executor=_kind(options.executor),
        store=dict(options.store),
        sinks=tuple(options.sinks),
        results_dir=results_dir,
        max_points=options.max_points,
        config={"experiment": experiment.name, "seeds": seeds, "results_dir": results_dir, **asks},
    )


def _kind(executor: Any) -> dict[str, Any]:
    return {"kind": executor} if isinstance(executor, str) else dict(executor)
