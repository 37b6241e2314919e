"""What the verbs print of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep
    from lawsweep.launch.loop import RunReport
    from lawsweep.sampling.threshold.sampler import ThresholdSearch
    from lawsweep.study.progress import Status
    from lawsweep.study.study import Study


def print_search(study: Study) -> None:
    """A line on a search, and one a cell; nothing of an ordinary sweep."""
    from lawsweep.study.searching import found_lines

    for line in found_lines(study):
        click.echo(f"search: {line}")


def print_forecast(search: ThresholdSearch) -> None:
    """What a search may still ask for."""
    from lawsweep.study.searching import forecast

    click.echo(forecast(search))


def search_as_json(search: ThresholdSearch | None) -> dict[str, Any] | None:
    """The same as plain values."""
    if search is None:
        return None
    return {
        "n_cells": len(search.cells),
        "n_open": sum(s.state == "open" for s in search.searches),
        "n_asked": search.n_asked,
        "n_expected": search.n_expected,
        "n_most": search.n_most,
    }


def thresholds_as_json(study: Study) -> dict[str, Any]:
    """The thresholds of a search, under their key; nothing of an ordinary sweep."""
    if study.sweep.search_spec is None:
        return {}
    from lawsweep.study.searching import threshold_table

    return {"thresholds": threshold_table(study).to_pylist()}


def counts_as_json(sweep: Sweep, report: RunReport, found: Status) -> dict[str, int]:
    """The counts of a launch of a search, as ``status`` has them; of another sweep the report's.

    The report also counts runs that the search was expected to ask for, and did not.
    """
    if sweep.search_spec is None:
        return {}
    ran = sum(report.statuses.values())
    return {"planned": found.planned, "done_before": found.planned - found.missing - ran}
