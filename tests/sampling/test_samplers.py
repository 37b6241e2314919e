"""A sampler of one's own: one class and a line in the table, from the plan to the last row."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from enough import Enough, EnoughOptions
from search_toys import memory

import lawsweep
from lawsweep import Sweep
from lawsweep.cli.main import run_command
from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.costs.simulated import Cluster, SimulatedExecutor
from lawsweep.launch.loop import Loop
from lawsweep.sampling.grid import Grid
from lawsweep.sampling.samplers import SAMPLERS, read_search
from lawsweep.store.table.parquet import ParquetTable

# Seeds 0, 3, 6, ... fail: of each point 4 are to succeed, which takes the first 6.
SEARCH = {"kind": "enough", "n": 4}
N_ASKED = 6


@pytest.fixture(autouse=True)
def named(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "enough", "enough:Enough")


@pytest.fixture
def sweep(folder):
    return Sweep(
        name="few",
        experiment="search_toys:memory",
        params={"d": 5, "fault": "sometimes"},
        axes={"n": [10, 20, 30]},
        seeds=12,
        search=SEARCH,
        executor={"kind": "serial"},
        on_failure={"stop_after": 0},
    )


def test_the_command_plans_and_runs_by_it(folder, capsys):
    (folder / "few.yaml").write_text(
        "experiment: search_toys:memory\nparams: {d: 5, fault: sometimes}\n"
        "axes: {n: [10, 20, 30]}\nseeds: 12\nsearch: {kind: enough, n: 4}\n"
        "executor: serial\non_failure: {stop_after: 0}\n"
    )
    assert run_command(["plan", "few.yaml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["search"] == {"n_asked": 12, "n_expected": 12, "n_most": 36}
    assert told["planned"] == 36
    assert run_command(["run", "few.yaml"]) == 3  # some failed
    assert "Enough sampling among 36 runs" in capsys.readouterr().out
    run_command(["status", "few.yaml", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["planned"], told["missing"]) == (3 * N_ASKED, 0)
    assert told["search"] == "18 runs asked for"
    assert run_command(["plan", "few.yaml", "search.m=2"]) != 0
    assert "'m' in search" in capsys.readouterr().err
    assert run_command(["plan", "few.yaml", "search.kind=enoug"]) != 0
    assert "Did you mean 'enough'?" in capsys.readouterr().err


def test_a_launch_runs_what_it_asks_for_and_reads_know_no_other(sweep):
    study = lawsweep.open(sweep)
    assert study.preview().todo == tuple(p * 12 + k for p in range(3) for k in range(4))
    report = study.run()
    assert (report.planned, report.done_before) == (18, 0)
    assert report.statuses == {"ok": 12, "failed": 6}
    frame = study.frame()
    assert frame.groupby("n")["seed"].apply(list).tolist() == [list(range(N_ASKED))] * 3
    assert study.preview().todo == ()
    assert study.cells == ()
    with pytest.raises(InvalidValueError, match="searches for no threshold"):
        study.thresholds()
    again = study.run(retry=True)  # what failed is tried again, and nothing else
    assert again.statuses == {"failed": 6}
    more = lawsweep.open(Sweep(**{**vars(sweep), "search": {**SEARCH, "n": 5}})).run()
    assert more.done_before + sum(more.statuses.values()) == more.planned
    assert more.statuses["ok"] == 3


def test_its_state_is_a_function_of_what_it_was_told(folder):
    plan = make_plan(memory, params={"d": 5}, axes={"n": [10]}, seeds=5)
    ends = [Outcome(k, "failed" if k % 2 else "ok") for k in range(5)]
    known = {o.index: (o.status, None) for o in ends}
    whole = Enough(plan, EnoughOptions(3), known)
    assert (whole.asked(), whole.wanted(), whole.ask()) == ([0, 1, 2, 3, 4], [], [])
    for order in itertools.permutations(ends):
        sampler = Enough(plan, EnoughOptions(3))
        asked = sampler.ask()
        for outcome in order:  # also of runs that it had not asked for, by another launch
            sampler.tell(outcome)
            asked += sampler.ask()
        assert sampler.asked() == whole.asked()
        assert (sampler.n_done, sampler.n_planned, sampler.n_wanted) == (5, 5, 0)
        assert set(asked) <= set(whole.asked())


def test_a_simulated_launch_runs_it(folder):
    plan = make_plan(memory, params={"d": 5}, axes={"n": range(1, 30)}, seeds=12)
    executor = SimulatedExecutor(Cluster(n_nodes=2, slots_per_node=3), np.ones(len(plan)))
    table = ParquetTable(folder, memory)
    table.append = lambda rows, arrays=None: None  # a run on paper has no metrics
    loop = Loop(
        plan, table, executor, launch_id="L", on_failure=OnFailure(), clock=executor.clock,
        sampler=Enough(plan, EnoughOptions(4)),
    )  # fmt: skip
    report = loop.run()
    assert report.statuses == {"ok": 29 * 4}
    assert report.planned == 29 * 4


def test_the_grid_is_a_sampler_too(sweep):
    plan = sweep.plan()
    chosen = read_search({"kind": "grid"})
    assert chosen == read_search(None)
    assert chosen.whole
    grid = chosen.open(plan, {0: ("ok", None)})
    assert isinstance(grid, Grid)
    assert (grid.ask(), grid.ask()) == (list(range(1, 36)), [])
    assert (grid.n_planned, grid.n_done, grid.n_wanted) == (36, 1, 35)
    for _ in range(2):  # a second time changes nothing
        grid.tell(Outcome(7, "ok"))
        grid.tell(Outcome(0, "ok"))
        assert (grid.n_done, grid.n_wanted) == (2, 34)
    again = chosen.open(plan, {0: ("ok", None)}, [5, 3])
    assert (again.wanted(), again.n_done) == ([3, 5], 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "enough", "n": 0}, "search.n must be a whole number from 1, got 0"),
        ({"kind": "threshhold"}, "Did you mean 'threshold'"),
        ({"kind": 3}, "must be the name of a sampler"),
        ({"kind": "grid", "axis": "n"}, "'axis' in search"),
        ({"axis": "n"}, "search needs event"),
    ],
)
def test_what_it_is_not_given_right_is_one_sentence(given, said):
    with pytest.raises(LawsweepError, match=said):
        read_search(given)


def test_one_without_options_is_a_name_and_asks_for_runs_of_the_plan(sweep, monkeypatch):
    monkeypatch.setitem(SAMPLERS, "astray", "enough:Astray")
    chosen = read_search("astray")
    assert (chosen.kind, chosen.describe()) == ("astray", {"kind": "astray"})
    with pytest.raises(InvalidValueError, match=r"Sampler Astray must ask for runs from 0 to \d+"):
        chosen.open(sweep.plan())


def test_options_are_checked_though_their_class_does_not(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "plain", "enough:Plain")
    with pytest.raises(InvalidValueError, match=r"search\.n must be a whole number, got 'a'"):
        read_search({"kind": "plain", "n": "a"})


def test_what_is_no_sampler_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(SAMPLERS, "broken", "enough:EnoughOptions")
    with pytest.raises(InvalidValueError, match="The sampler 'broken' must be a subclass of"):
        read_search({"kind": "broken"})
