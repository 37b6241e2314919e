"""A sweep opened: what it reads of its table, how often, and when it looks again."""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter

import pytest
from matplotlib.figure import Figure

import lawsweep
from lawsweep import Sweep
from lawsweep.cli.main import run_command
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.store.table import parquet, parts


@pytest.fixture
def reads(monkeypatch):
    """How often the table's rows were read, and how often each part was opened."""
    counted = Counter()
    read, use = parquet.ParquetTable.attempts, parts.use_part

    def counting(self, run_ids=None, columns=None):
        counted["looks"] += 1
        return read(self, run_ids, columns)

    def opening(folder, name, do):
        if str(folder).endswith(f"tables/{folder.name}"):
            counted[name] += 1
        return use(folder, name, do)

    monkeypatch.setattr(parquet.ParquetTable, "attempts", counting)
    monkeypatch.setattr(parts, "use_part", opening)
    return counted


@pytest.fixture
def line(folder):
    """A search without fits, of four cells."""
    return Sweep(
        name="line",
        experiment="search_toys:memory",
        axes={"d": [4, 8, 12, 16], "n": "range(1, 60)"},
        seeds=8,
        search={"axis": "n", "event": "loss < 1"},
        executor={"kind": "serial"},
    )


def test_a_name_or_a_sweep_opens_and_overrides_are_for_names(toys):
    study = lawsweep.open(toys)
    assert lawsweep.open(study) is study
    assert "open" not in lawsweep.__all__
    assert len(lawsweep.open("ntk_width", "seeds=2", "params.width=8,16").plan.seeds) == 2
    with pytest.raises(InvalidValueError, match=r"Overrides are for the name.*seeds=2"):
        lawsweep.open(toys, "seeds=2")
    with pytest.raises(InvalidValueError, match=r"got 3; lawsweep\.load_sweep"):
        lawsweep.open(3)


def test_the_functions_are_the_methods(toys):
    assert lawsweep.load(toys).equals(lawsweep.open(toys).frame())
    assert lawsweep.load(sweep=toys).equals(lawsweep.load(lawsweep.open(toys)))
    assert next(iter(inspect.signature(lawsweep.run).parameters)) == "sweep"
    assert lawsweep.fit.__doc__ == lawsweep.Study.fit.__doc__


def test_an_override_given_to_a_function_is_told_where_it_goes(toys, folder):
    for verb in ("run", "fit", "plot", "report", "status", "plan", "load"):
        with pytest.raises(InvalidValueError, match=r"go to lawsweep\.open, got 'seeds=2'"):
            getattr(lawsweep, verb)(toys, "seeds=2")
    assert lawsweep.export(toys, folder / "a=b.csv") == 8  # no override
    with pytest.raises(InvalidValueError, match=r"Expected a frame.*got 'seeds'"):
        lawsweep.open(toys).fit("seeds")


def test_what_a_prompt_prints_is_a_line(toys):
    study = lawsweep.open(toys)
    shown = [study.plan, study.preview(), study.plan.experiment, *study.fit()]
    assert [repr(s) for s in shown[:3]] == [
        "Plan(8 runs of toy: 4 points x 2 seeds)",
        "PlanView(8 runs of toy: 8 done)",
        "Experiment('toy', version 1)",
    ]
    assert repr(shown[3]) == f"FitResult({study.fit()[0].summary()})"


def test_the_verbs_share_one_look(toys, reads):
    study = lawsweep.open(toys)
    assert len(study.frame()) == len(study.done) == 8
    study.status(), study.fit(), study.preview(), list(study.notes())
    assert reads.pop("looks") == 1
    assert set(reads.values()) == {1}  # each part was opened once


def test_a_figure_is_matplotlibs_and_writes_nothing(toys):
    drawn = dataclasses.replace(toys, figures=({"kind": "curve", "x": "n", "y": "y"},))
    study = lawsweep.open(drawn)
    (png, *_) = study.plot()
    before = sorted(png.parent.iterdir())
    figure = study.figure(png.stem)
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_xlabel()
    assert len(lawsweep.figure(drawn, {"kind": "curve", "x": "n", "y": "y"}).axes) == 1
    assert sorted(png.parent.iterdir()) == before
    with pytest.raises(UnknownNameError, match=f"Did you mean '{png.stem}'"):
        study.figure(f"{png.stem}s")


def test_what_others_add_is_seen_after_a_refresh(toys):
    wider = dataclasses.replace(toys, axes={"n": [10, 20, 40, 80, 160]})
    study = lawsweep.open(wider)
    assert study.status().missing == 2
    lawsweep.run(wider)
    assert study.status().missing == 2
    assert study.refresh() is study
    assert study.status().missing == 0


def test_a_launch_looks_before_it_begins_however_long_ago_the_study_was_opened(toys, reads):
    wider = dataclasses.replace(toys, axes={"n": [10, 20, 40, 80, 160]})
    study = lawsweep.open(wider)
    assert study.status().missing == 2
    lawsweep.run(wider)
    report = study.run()
    assert (report.done_before, dict(report.statuses)) == (10, {})
    reads.clear()
    assert study.run().done_before == 10
    assert study.status().missing == 0
    assert reads["looks"] == 2


@pytest.mark.parametrize("words", [(), ("--no-analysis",)])
def test_a_command_looks_at_the_table_once_before_and_once_after(toys, folder, reads, words):
    (folder / "sweeps").mkdir()
    text = "experiment: toys:toy\naxes: {n: [10, 20, 40, 80, 160]}\nseeds: 2\n"
    text += "executor: {kind: serial}\nfits: [{law: power, x: n, y: y}]\n"
    (folder / "sweeps/more.yaml").write_text(text)
    before = parts.part_names(parquet.ParquetTable("results/tables", toys.find_experiment()).folder)
    assert run_command(["run", "more", *words]) == 0
    assert reads["looks"] == 2
    assert {reads[n] for n in before} == {2}  # once before, and once after


def test_a_search_looks_once_before_and_once_after(line, reads):
    study = lawsweep.open(line)
    list(study.notes())
    report = study.run()
    assert report.statuses["ok"] > 8
    assert study.status().search.startswith("4 cells: ")
    assert "2 above_grid" in study.status().search
    assert len(study.thresholds()) == 4
    assert reads["looks"] == 2
