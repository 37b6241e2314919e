"""MLflow: a run of it for each launch, and within that one for each outcome."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Annotated, Any

from lawsweep.core.errors import LawsweepError
from lawsweep.core.options import check_options
from lawsweep.core.outcome import FAILURES, Outcome
from lawsweep.core.protocols import Sink
from lawsweep.core.schema import Field
from lawsweep.launch.report import RunReport, describe_report

TEXT = 500  # characters that a param or a tag may have everywhere


@dataclass(frozen=True, kw_only=True)
class MlflowOptions:
    """Where MLflow is, and what of a launch goes there."""

    uri: Annotated[str | None, Field("tracking server or folder; null: as MLflow is set")] = None
    experiment: Annotated[str | None, Field("MLflow's experiment; null: the sweep's name")] = None
    outcomes: Annotated[bool, Field("also a run for each outcome, within that of the launch")] = (
        True
    )

    def __post_init__(self) -> None:
        check_options(self, "sink mlflow")


class MlflowSink(Sink):
    """Params, numeric metrics and status of each outcome, and the counts of the launch.

    Needs the extra ``lawsweep[mlflow]``.  Nothing of MLflow's global state is touched: whoever has
    a run of their own active keeps it.
    """

    name = "mlflow"
    Options = MlflowOptions

    def started(self, launch: Any) -> None:
        """Begin a run for the launch."""
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise LawsweepError(f"it needs mlflow ({error}): install lawsweep[mlflow]") from None
        self._client = MlflowClient(self.options.uri)
        self._plan = launch.study.plan
        name = self.options.experiment or launch.study.sweep.name
        found = self._client.get_experiment_by_name(name)
        self._at = found.experiment_id if found else self._client.create_experiment(name)
        experiment = self._plan.experiment
        self._run = self._begin(
            launch.id,
            {
                "lawsweep.sweep": launch.study.sweep.name,
                "lawsweep.launch": launch.id,
                "lawsweep.experiment": f"{experiment.name} version {experiment.version}",
            },
        )

    def outcome(self, outcome: Outcome) -> None:
        """A run within the launch's, ended already."""
        if not self.options.outcomes:
            return
        from mlflow.entities import Param

        plan, i = self._plan, outcome.index
        tags = {"mlflow.parentRunId": self._run, "lawsweep.status": outcome.status}
        tags |= {"lawsweep.error": outcome.error[:TEXT]} if outcome.error else {}
        run = self._begin(plan.run_ids[i], tags)
        params = {**plan.params_of(i), "seed": plan.seed_of(i)}
        found = {**(outcome.metrics or {}), "wall_s": outcome.wall_s}
        self._client.log_batch(
            run,
            metrics=self._metrics(found),
            params=[Param(n, str(v)[:TEXT]) for n, v in params.items()],
        )
        self._end(run, failed=outcome.status in FAILURES)

    def ended(self, report: RunReport) -> None:
        """End the launch's run, with how many runs ended in which way."""
        told = describe_report(report)
        counts = {"planned": report.planned, "done_before": report.done_before}
        counts |= {f"n_{status}": n for status, n in told["statuses"].items()}
        self._client.log_batch(
            self._run, metrics=self._metrics({**counts, "wall_s": report.wall_s})
        )
        self._end(self._run, failed=report.stopped is not None)

    def _begin(self, name: str, tags: dict[str, str]) -> str:
        made = self._client.create_run(self._at, tags=tags, run_name=name)
        return str(made.info.run_id)

    def _end(self, run: str, *, failed: bool) -> None:
        self._client.set_terminated(run, "FAILED" if failed else "FINISHED")

    @staticmethod
    def _metrics(values: dict[str, Any]) -> list[Any]:
        """Numbers alone: what is missing, a text or a list is none; NaN not every store takes."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        numbers = {n: v for n, v in values.items() if isinstance(v, int | float)}
        return [Metric(n, float(v), now, 0) for n, v in numbers.items() if math.isfinite(v)]
