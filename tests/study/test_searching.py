"""A sweep with a search block, through the API and the command."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.analysis.figures.kinds import parse_figures
from lawsweep.analysis.frames import Columns
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.analysis.laws.threshold.fits import ends_of, fit_thresholds
from lawsweep.cli.launching import counts
from lawsweep.cli.main import run_command
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.sampling.samplers import read_search
from lawsweep.sampling.threshold.options import ThresholdOptions
from lawsweep.study.reading.findings import found_lines

SEARCH = {"axis": "n", "event": "loss < 1", "tolerance": 0.1, "max_runs": 40}


@pytest.fixture
def edges(folder):
    return Sweep(
        name="edges",
        experiment="search_toys:memory",
        axes={"d": [20, 40, 80], "ratio": "logspace(0.3, 1.5, 40)"},
        derive={"n": "round(ratio * d**2)"},
        seeds=40,
        search=SEARCH,
        executor={"kind": "serial"},
        fits=({"law": "power", "x": "d", "y": "n_star"},),
        figures=(
            {"kind": "threshold", "x": "d**2", "fit": True, "lines": [{"y": "0.7*x"}]},
            {"kind": "threshold", "x": "d", "y": "n_star / d**2"},
            {"kind": "scatter", "x": "n / d**2", "y": "loss"},
        ),
    )


def test_a_search_finds_its_thresholds_and_reads_them_as_asked(edges):
    report = lawsweep.run(edges)
    frame = lawsweep.thresholds(edges)
    assert frame["d"].tolist() == [20, 40, 80]
    assert set(frame["state"]) == {"resolved"}
    assert not {"n", "ratio"} & set(frame.columns)
    inside = (frame["low"] <= 0.7 * frame["d"] ** 2) & (0.7 * frame["d"] ** 2 <= frame["high"])
    assert inside.sum() >= 2  # each holds with 90 %
    assert int(frame["n_runs"].sum()) == report.statuses["ok"]
    stored = pd.read_parquet(edges.folder / "thresholds.parquet")
    pd.testing.assert_frame_equal(stored, lawsweep.thresholds(edges).astype(stored.dtypes))
    (law,) = lawsweep.fit(edges)
    assert law["exponent"].low <= 2 <= law["exponent"].high
    names = {p.name for p in lawsweep.plot(edges)}
    assert {"threshold_n_star.png", "threshold_n_star_d.pdf", "scatter_loss.png"} <= names


def test_what_was_never_asked_for_is_not_missing(edges):
    lawsweep.run(edges)
    found = lawsweep.status(edges)
    assert (found.missing, found.gaps("edges")) == (0, [])
    assert found.planned == len(lawsweep.load(edges)) < len(lawsweep.plan(edges)) / 10
    assert found.search.startswith("3 cells: 3 resolved; ")
    view = lawsweep.open(edges).preview()
    assert view.todo == ()
    findings, _ = lawsweep.verify(edges)
    (said,) = (f.message for f in findings["memory"] if f.check == "plan")
    assert said == f"{found.planned} of {found.planned} planned runs have a row"
    page = lawsweep.report(edges).read_text()
    assert "3 cells: 3 resolved" in page
    assert "d=80: n* = " in page
    with zipfile.ZipFile(lawsweep.archive(edges, "edges.zip").path) as packed:
        names = packed.namelist()
    assert any(n.endswith("edges/thresholds.parquet") for n in names)
    assert any(n.endswith("figures/threshold_n_star.png") for n in names)


def test_a_tighter_tolerance_goes_on_from_what_is_there(edges):
    lawsweep.run(edges)
    first = len(lawsweep.load(edges))
    tighter = dataclasses.replace(edges, search={**SEARCH, "tolerance": 0.04, "max_runs": 120})
    view = lawsweep.open(tighter).preview()
    sampler = view.sampler
    assert 0 < len(view.todo) <= sampler.n_most - sampler.n_asked + sampler.n_wanted
    report = lawsweep.run(tighter)
    assert report.done_before >= first  # the pending round may have been there in part
    assert len(lawsweep.load(tighter)) == first + report.statuses["ok"]
    wide = lawsweep.thresholds(edges)
    narrow = lawsweep.thresholds(tighter)
    assert ((narrow["high"] - narrow["low"]) < (wide["high"] - wide["low"])).all()


def test_failed_runs_are_tried_again_on_request_and_the_search_goes_on(edges):
    # A param of its own tells these runs apart; what made them fail is gone at the second try.
    flaky = dataclasses.replace(
        edges, params={"fault": "sometimes"}, on_failure={"stop_after": 0}, fits=(), figures=()
    )
    report = lawsweep.run(flaky)
    n_failed = report.statuses["failed"]
    assert n_failed > 0
    assert lawsweep.run(flaky).statuses == {}
    again = lawsweep.run(flaky, retry=True)
    assert again.statuses["failed"] == n_failed  # tried once more each, and no others
    assert again.statuses["ok"] == 0


def test_the_command_says_what_it_searches_for_and_what_it_found(folder, capsys):
    (folder / "edges.yaml").write_text(
        textwrap.dedent(
            """
            experiment: search_toys:memory
            axes: {d: [20, 40], n: "range(100, 3000, 40)"}
            where: ["0.2 * d**2 < n", "n < 1.6 * d**2"]
            seeds: 40
            executor: serial
            search: {axis: n, event: loss < 1, tolerance: 0.1}
            """
        )
    )

    def command(*words):
        code = run_command(list(words))
        return code, capsys.readouterr().out

    code, told = command("plan", "edges.yaml")
    assert code == 0
    assert "search for n* of loss < 1: 2 cells: 2 open" in told
    code, told = command("run", "edges.yaml")
    assert code == 0
    assert "search: 2 cells: 2 resolved" in told
    assert "search: d=20: n* = " in told
    assert "missing" not in told
    assert "search: 2 cells" in command("status", "edges.yaml")[1]
    code, told = command("run", "edges.yaml", "--json")
    answer = json.loads(told)
    assert [t["state"] for t in answer["thresholds"]] == ["resolved", "resolved"]
    assert "nothing to run" in command("run", "edges.yaml")[1]
    assert command("run", "edges.yaml", "search.tolerance=0.08")[0] == 0
    assert "thresholds.csv" in command("export", "edges.yaml", "-o", "out.parquet")[1]
    assert len(pd.read_csv("out.thresholds.csv")) == 2
    assert command("plan", "edges.yaml", "search.axis=m")[0] == 10


def test_a_threshold_beyond_the_grid_is_told(edges):
    low = dataclasses.replace(edges, params={"edge": 0.1})
    lawsweep.run(low)
    frame = lawsweep.thresholds(low)
    assert set(frame["state"]) == {"below_grid"}
    assert frame["n_star"].isna().all()
    assert lawsweep.fit(low)[0].reason == "0 thresholds, 2 needed"
    assert {p.suffix for p in lawsweep.plot(low)} == {".png", ".pdf", ".svg"}  # open triangles


@pytest.fixture
def line(folder):
    return Sweep(
        name="line",
        experiment="search_toys:line",
        axes={"n": "range(1, 100, 3)"},
        seeds=40,
        search={"axis": "n", "event": "fits"},
        executor={"kind": "serial"},
        on_failure={"stop_after": 0},
    )


def test_a_sweep_of_the_axis_alone_has_one_cell_and_a_table(line):
    lawsweep.run(line)
    (cell,) = lawsweep.thresholds(line).to_dict("records")
    assert (cell["state"], cell["high"]) == ("resolved", pytest.approx(50, abs=5))
    assert "n" not in cell
    swept = dataclasses.replace(line, axes={**line.axes, "high": [40.0, 60.0]})
    with pytest.raises(InvalidValueError, match="'high' is a column of the table of thresholds"):
        lawsweep.plan(swept)


def test_a_param_that_moves_with_the_axis_is_told_of_the_cells_where_it_does_not(line):
    grids = [
        {"axes": {"n": [40, 55], "d": [8, 9]}},
        {"axes": {"n": [60, 70]}, "derive": {"d": "floor(n / 10)"}},
    ]
    mixed = dataclasses.replace(line, experiment="search_toys:memory", axes={"union": grids},
                                search={"axis": "n", "event": "loss < 1"})  # fmt: skip
    frame = lawsweep.thresholds(mixed)
    assert frame["d"].fillna(-1).tolist() == [8, 9, -1]
    assert "n" not in frame
    assert ["d=" in told for told in found_lines(lawsweep.open(mixed))[1:]] == [True, True, False]


def test_failed_runs_of_a_search_are_closed_by_one_rerun(line):
    Path("flaky").touch()
    assert lawsweep.run(line).statuses["failed"] > 2
    Path("flaky").unlink()
    ends = []
    report = lawsweep.run(line, retry=True, watcher=ends.append)
    assert ends[-1].done_before + sum(ends[-1].statuses.values()) == report.planned
    found = lawsweep.status(line)
    assert (found.statuses["failed"], found.missing, found.gaps("line")) == (0, 0, [])
    assert lawsweep.run(line, retry=True).statuses == {}


def test_a_metric_named_as_a_column_of_thresholds_is_fitted_as_the_metric(line):
    law = {"law": "power", "x": "n", "y": "low"}
    plain = dataclasses.replace(line, search=None, seeds=1, fits=(law,))
    lawsweep.run(plain)
    (found,) = lawsweep.fit(plain)
    assert found["exponent"].estimate == pytest.approx(2, abs=1e-9)  # rounding of 33 logarithms
    assert found.n_points == 33
    assert lawsweep.fit(dataclasses.replace(plain, search=line.search))[0].n_points == 33


def test_a_search_given_in_python_is_recorded_as_a_sweep_file_has_it(edges):
    spec = ThresholdOptions("n", "loss < 1", tolerance=0.1)
    given = dataclasses.replace(edges, search=spec)
    assert read_search(given.search).options == spec
    again = Sweep.from_mapping("edges", given.record())
    assert read_search(again.search).options == spec
    assert "kind" not in given.record()["search"]


def test_a_search_with_few_seeds_is_told_what_that_means(edges):
    few = dataclasses.replace(edges, seeds=5)
    assert any("Give seeds=40" in note for note in lawsweep.open(few).notes())
    assert not list(lawsweep.open(edges).notes())


def test_thresholds_need_a_search(edges):
    plain = dataclasses.replace(edges, search=None, fits=(), figures=())
    with pytest.raises(InvalidValueError, match="searches for no threshold"):
        lawsweep.thresholds(plain)
    with pytest.raises(InvalidValueError, match="no search block"):
        lawsweep.plan(dataclasses.replace(plain, figures=edges.figures))
    with pytest.raises(UnknownNameError, match="n_star"):
        lawsweep.plan(dataclasses.replace(plain, fits=edges.fits))
    with pytest.raises(UnknownNameError, match="tolerance"):
        lawsweep.plan(dataclasses.replace(edges, search={**SEARCH, "tolerence": 0.1}))


def test_a_fit_of_thresholds_and_of_runs_at_once_is_refused_before_anything_runs(edges):
    def planned(**fit):
        return lawsweep.plan(
            dataclasses.replace(edges, fits=({"law": "power", **fit},), figures=())
        )

    with pytest.raises(InvalidValueError, match=r"is one of thresholds, and 'loss' is a column of"):
        planned(x="d", y="n_star", where="loss < 1")
    with pytest.raises(InvalidValueError, match=r"is one of runs, and 'n_visited' is a column of"):
        planned(x="d", y="loss", by=["n_visited"])
    assert planned(x="d", y="loss", by=["ratio"])
    assert planned(x="d", y="n_star", by=["state"])


def test_a_search_that_stopped_early_counts_its_runs_as_status_does(edges):
    faulty = dataclasses.replace(edges, params={"fault": "always"}, on_failure={"stop_after": 3},
                                 fits=(), figures=())  # fmt: skip
    report = lawsweep.run(faulty)
    assert report.stopped == "same_failure"
    found = lawsweep.status(faulty)
    ran = sum(report.statuses.values())
    assert report.planned > found.planned >= 12  # a round of 4 at least in each of 3 cells
    told = counts(lawsweep.open(faulty), report, found)
    assert told == {"planned": found.planned, "done_before": 0}
    assert told["planned"] == told["done_before"] + ran + found.missing
    plain = lawsweep.open(dataclasses.replace(faulty, search=None))
    assert counts(plain, report, found) == {}


def cells(x, y, relative, state="resolved"):
    z = 1.6448536269514722  # 90 %
    low, high = ([v * math.exp(k * z * r) for v, r in zip(y, relative, strict=True)]
                 for k in (-1, 1))  # fmt: skip
    return pd.DataFrame(
        {"d": x, "n_star": y, "low": low, "high": high, "state": state, "n_runs": 10}
    ).assign(confidence=0.9)


def test_a_law_goes_through_the_errors():
    (spec,) = parse_fits([{"law": "power", "x": "d", "y": "n_star"}], ["d", "n_star"])
    x, sd = [10.0, 20.0, 40.0], [0.1, 0.05, 0.2]
    exact = cells(x, [3 * v**2 for v in x], sd)
    (found,) = fit_thresholds(Columns(exact), spec)
    # By hand: the weights are 100, 400, 25, log x is -l, 0, l with l = log 2 about 20; the
    # variance of the slope is S / (S Sxx - Sx^2).
    s, l2 = 525.0, math.log(2) ** 2
    variance = s / (s * 125 * l2 - (25 - 100) ** 2 * l2)
    assert found["exponent"].estimate == pytest.approx(2, abs=1e-12)
    assert found["C"].estimate == pytest.approx(3, rel=1e-11)
    half = (found["exponent"].high - found["exponent"].low) / 2
    assert half == pytest.approx(1.959963984540054 * math.sqrt(variance), rel=1e-12)
    assert found.warnings == ()
    # Scatter that the intervals do not allow widens the interval, and is told.
    (wild,) = fit_thresholds(Columns(cells(x, [300.0, 2400.0, 4800.0], sd)), spec)
    assert wild["exponent"].high - wild["exponent"].low > 5 * half
    assert "scatter" in wild.warnings[0]


def test_the_one_end_of_a_threshold_beyond_the_grid_is_on_its_side():
    frame = pd.DataFrame(
        {
            "d": [2.0, 2.0, 2.0],
            "n_star": [4.0, None, None],
            "low": [3.0, 10.0, None],
            "high": [5.0, None, 1.0],
        }
    ).astype({"n_star": float, "low": float, "high": float})
    rows = np.arange(3)
    y, low, high = ends_of(Columns(frame), "n_star / d", rows)
    np.testing.assert_array_equal(low, [1.5, 5.0, np.nan])
    np.testing.assert_array_equal(high, [2.5, np.nan, 0.5])
    # d / N* falls: a threshold above 10 is a ratio below 0.2.
    y, low, high = ends_of(Columns(frame), "d / n_star", rows)
    np.testing.assert_array_equal(y, [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(low, [0.4, np.nan, 2.0])
    np.testing.assert_array_equal(high, [2 / 3, 0.2, np.nan])


def test_a_figure_of_thresholds_takes_an_expression_of_n_star():
    entry = {"kind": "threshold", "x": "d", "y": "d**2"}
    with pytest.raises(InvalidValueError, match="an expression of n_star"):
        parse_figures([entry], ["d"], cells=["d", "n_star"])
    with pytest.raises(InvalidValueError, match="takes no z"):
        parse_figures([{**entry, "z": "d"}], ["d"], cells=["d", "n_star"])


@pytest.mark.slow
def test_workers_that_answer_in_any_order_give_the_thresholds_of_a_serial_search(edges):
    plain = dataclasses.replace(edges, fits=(), figures=())
    lawsweep.run(plain)
    apart = dataclasses.replace(plain, results_dir="apart")
    report = lawsweep.run(apart, executor={"kind": "ray_local", "n_cpus": 2})
    pd.testing.assert_frame_equal(lawsweep.thresholds(apart), lawsweep.thresholds(plain))
    assert report.statuses["ok"] == len(lawsweep.load(plain))
