"""A sweep opened on its table: the plan, what is done, and the verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.experiment import Experiment
from lawsweep.core.shown import Shown
from lawsweep.grid.sweep import Sweep, Url
from lawsweep.study.amending.methods import Amending
from lawsweep.study.functions import sweep_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import xarray as xr
    from matplotlib.figure import Figure

    from lawsweep.analysis.laws.results import FitResult
    from lawsweep.launch.report import RunReport, Watcher
    from lawsweep.study.code.differing import CodeDiff
    from lawsweep.study.code.rows import AcceptedNow
    from lawsweep.study.launch import Launch
    from lawsweep.study.planning import PlanView
    from lawsweep.study.progress import Status
    from lawsweep.study.questions import Variant


class Study(Amending, Shown):
    """A sweep with its plan and its table.

    The plan is made and checked once, and what the table knows of its runs is read once, when a
    verb first asks; ``refresh`` looks again, and so does a launch, before it begins and at its end.
    Opening writes nothing, and raises a LawsweepError where anything that the sweep says is wrong.
    """

    def __repr__(self) -> str:
        return f"Study({self.sweep.name!r}: {len(self.plan):,} runs of {self.plan.experiment.name})"

    def _shown(self) -> tuple[str, Mapping[str, Any]]:
        from lawsweep.study.progress import certificate

        found, plan = self.status(), self.plan
        return f"Study {self.sweep.name}", {
            "experiment": f"{plan.experiment.name}, version {plan.experiment.version}",
            "plan": f"{plan.n_points:,} points x {len(plan.seeds)} seeds",
            "runs": certificate(found.statuses, found.planned),
            "search": found.search,
            "launches under way": len(found.launches) or "",
            "table": self.table.folder,
        }

    def variants(self) -> list[Variant]:
        """The other folders of the sweep: under other overrides, or as its file stands."""
        from lawsweep.study.questions import variants

        return variants(self.sweep)

    def preview(
        self, on: str | None = None, rates: str | None = None, *, recompute: bool = False
    ) -> PlanView:
        """What a launch would do: the state of every run, and the expected time.

        Seconds are learnt from finished rows.  ``on`` asks about other hardware: ``cpus=64``,
        ``gpus=8:H100`` or several of these with commas; ``rates``: a file of measured rates;
        ``recompute``: about a launch that also makes rows of other code again.
        """
        from lawsweep.study.planning import preview

        return preview(self, on, rates, recompute=recompute)

    def diff(self) -> CodeDiff:
        """How the code that made rows differs from today's: ``print`` it for a unified diff."""
        from lawsweep.study.code.differing import diff

        return diff(self)

    def accept(self) -> AcceptedNow:
        """Declare the codes that made rows the same as today's, for this sweep and for good.

        When and which digests is written into the sweep's folder; their rows are not told of again
        while the code stays as it is.  ``str`` of what is returned says what was declared.
        """
        from lawsweep.study.code.rows import accept

        return accept(self)

    def status(self) -> Status:
        """Done, running, failed, missing: from the store alone."""
        from lawsweep.study.progress import status

        return status(self)

    def run(
        self,
        *,
        executor: str | Mapping[str, Any] | None = None,
        sinks: Sequence[Any] = (),
        watcher: Watcher | None = None,
        command: str = "",
        retry: bool = False,
        recompute: bool = False,
    ) -> RunReport:
        """Run what the table lacks (``retry``: what it has as failed, oom or timeout).

        ``recompute``: also what other code made that nobody accepted, or that lacks a metric of
        today; the older attempts stay in the table.

        ``executor`` overrides the sweep's (a name such as ``"serial"``, ``"ray_local"`` or
        ``"ray_cluster"``, or a mapping with ``kind``); where a person types (a notebook, a prompt)
        and nobody chose one, ``processes``.  ``sinks`` hear of it besides the sweep's own: names,
        mappings with ``kind``, callables that are told every Outcome, or objects with any of
        ``started(launch)``, ``outcome(outcome)``, ``progress(snapshot)``, ``ended(report)``.
        ``watcher`` is called in this thread with a Snapshot a few times a second.  Where the sweep
        is being run already, this is said on stderr, and the launches share its work.

        The first Ctrl-C ends it with what has finished in the table, and a report that says so.
        Returns a RunReport; raises a LawsweepError before anything is written when the input is
        bad.
        """
        from lawsweep.study.launch import Launch

        return Launch(
            self,
            executor=executor,
            sinks=sinks,
            watcher=watcher,
            command=command,
            retry=retry,
            recompute=recompute,
            keep=False,
        ).run()

    def start(
        self,
        *,
        executor: str | Mapping[str, Any] | None = None,
        sinks: Sequence[Any] = (),
        command: str = "",
        retry: bool = False,
        recompute: bool = False,
    ) -> Launch:
        """As ``run``, in a thread of its own: the Launch is under way when this returns.

        What is wrong with the input is raised here; what ends it later, by ``Launch.wait``.  With
        ``executor="serial"`` its runs are executed in that thread: what they change in the process
        is set back after each, and with it what others change there meanwhile.
        """
        from lawsweep.study.launch import Launch

        launch = Launch(
            self,
            executor=executor,
            sinks=sinks,
            command=command,
            retry=retry,
            recompute=recompute,
        )
        launch.begin()
        return launch

    def rows(self) -> pa.Table:
        """The tidy table: one row a planned run in plan order, ``missing`` where there is none.

        Of a search: the runs that it has asked for, and others of its plan that have a row.  Warns
        of each file of the table that could not be read, when it reads them.
        """
        from lawsweep.study.reading.rows import rows

        return rows(self)

    def frame(self) -> pd.DataFrame:
        """``rows`` as pandas (Arrow-backed: a missing value is ``<NA>``, NaN stays NaN)."""
        from lawsweep.study.reading.rows import frame

        return frame(self)

    def show(self, run_id: str) -> dict[str, Any]:
        """One row of the results folder, whole, with its launch; a unique beginning will do."""
        from lawsweep.study.reading.rows import show

        return show(run_id, self.sweep.results_dir)

    def arrays(self, name: str) -> Mapping[str, np.ndarray]:
        """Run id to array, for each run whose row came with the array ``name``.

        Lazy: run ids are read now, values when they are asked for.  Arrays are float64 of any
        shape; a run that failed, or whose array was None, is not in the mapping.  Iterates in the
        order in which the values are stored.  Raises UnknownNameError for an array that the
        experiment has not.
        """
        from lawsweep.study.reading.rows import arrays

        return arrays(self, name)

    def curves(self) -> pd.DataFrame:
        """What the runs reported on their way (``lawsweep.report``), one row a point.

        Columns run_id, attempt, step and the metrics (``<NA>`` where a point lacks one, NaN stays
        NaN), in the order of the plan and of the steps.  Of each run the attempt whose row stands;
        of one without a row yet, the latest.  A long curve is thinned: see docs/long_runs.md.
        """
        from lawsweep.study.reading.rows import curves

        return curves(self)

    def to_xarray(self) -> xr.Dataset:
        """The tidy table as an xarray Dataset (``pip install 'lawsweep[xarray]'``).

        Dims are the axes of the grid, then ``seed``; axes that advance together are one.  Metrics
        and ``status`` are variables, NaN where a run has none; an array has dims of its own too,
        padded with NaN.  Raises InvalidValueError for points that form no grid.
        """
        from lawsweep.study.reading.dataset import to_xarray

        return to_xarray(self)

    def fit(self, frame: pd.DataFrame | None = None) -> list[FitResult]:
        """The sweep's fits, one result a group.  Rows that did not converge are left out, counted.

        A fit of ``n_star`` is one of the thresholds that a search found.  One that cannot be made
        is a result without parameters, and with the reason.
        """
        from lawsweep.study.reading.fitting import fit

        return fit(self, frame)

    def fit_table(self, format: str = "table", *, width: int = 100) -> str:
        """The parameters of the fits: ``table`` (text of ``width``), ``latex`` or ``csv``."""
        from lawsweep.analysis.laws.table import fit_table

        return fit_table(self.fit(), format, width=width)

    def thresholds(self) -> pd.DataFrame:
        """The table of thresholds: one row a cell of a sweep with a ``search`` block.

        Columns: the cell's params, then those of ``sampling.threshold.findings.COLUMNS``.  Raises
        InvalidValueError for another sweep.
        """
        from lawsweep.study.reading.findings import thresholds

        return thresholds(self)

    def decisions(self) -> pd.DataFrame:
        """What a sweep with an ``until`` block decided so far: one row a decision, with its reason.

        Columns: those of ``sampling.adaptive.units.COLUMNS``.  Raises InvalidValueError for another
        sweep.
        """
        from lawsweep.study.reading.findings import decisions

        return decisions(self)

    def plot(self, frame: pd.DataFrame | None = None) -> list[Path | Url]:
        """Draw the sweep's figures, PNG and PDF, into its ``figures`` folder; where they are.

        Raises FigureError, which has the files of the others, where some cannot be drawn.
        """
        from lawsweep.study.reading.drawing import plot

        return plot(self, frame)

    def figure(self, name: str | Mapping[str, Any], frame: pd.DataFrame | None = None) -> Figure:
        """One of the sweep's figures by its name, as matplotlib's Figure; nothing is written.

        Instead of a name, an entry as under ``figures``: ``{"kind": "curve", "x": "n", "y": "y"}``.
        Raises UnknownNameError for a name that no figure has, InvalidValueError where it cannot be
        drawn.
        """
        from lawsweep.study.reading.drawing import figure

        return figure(self, name, frame)

    def report(self, typed: str | None = None) -> Path | Url:
        """Write ``report.html`` into the sweep's folder: certificate, fits, figures, provenance.

        ``typed`` is the sweep as it was asked for, with its overrides; suggested commands end in
        it.  What cannot be fitted is said there.  Raises FigureError, when all else is written,
        where some figures cannot be drawn.
        """
        from lawsweep.study.reading.reporting import report

        return report(self, typed)

    def export(self, path: str | Path) -> int:
        """Write the tidy table to ``path`` (``.parquet``, ``.csv``, ``.tsv``, ``.json``).

        Returns the number of rows.  ``path`` may be a URL of an object store.
        """
        from lawsweep.study.reading.exporting import export

        return export(self, path)


def open_study(
    sweep: Sweep | Study | str | Path | Experiment | Callable[..., Any],
    *overrides: str,
    **settings: Any,
) -> Study:
    """A sweep, or the name or path of one with overrides in Hydra's grammar, as a Study.

    A function or an Experiment becomes a sweep of ``settings``, the keys of a sweep file:
    ``open(f, axes={"n": [1, 2]}, seeds=3)``; ``name`` is by default the experiment's.  A Study is
    returned as it is.  Raises a LawsweepError with one clear sentence for anything misspelt or
    malformed; writes nothing.
    """
    if isinstance(sweep, Experiment | FunctionType):
        return Study(sweep_of(sweep, overrides, settings))
    if settings:
        raise InvalidValueError(
            f"{', '.join(settings)} are for a function; a sweep's file takes overrides instead: "
            "write 'seeds=3', for example."
        )
    if isinstance(sweep, str | Path):
        from lawsweep.config.compose import load_sweep

        return Study(load_sweep(sweep, *overrides))
    if overrides:
        raise InvalidValueError(
            "Overrides are for the name of a sweep, got a "
            f"{type(sweep).__name__} and {', '.join(overrides)}. Give them to lawsweep.load_sweep."
        )
    if isinstance(sweep, Study):
        return sweep
    if not isinstance(sweep, Sweep):
        raise InvalidValueError(
            f"Expected a Sweep, the name of one or a function, got {sweep!r}; "
            "lawsweep.load_sweep(name) makes one."
        )
    return Study(sweep)
