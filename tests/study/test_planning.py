from __future__ import annotations

import pytest
from toys import toy

import lawsweep
from lawsweep import Sweep


def test_a_plan_says_that_it_takes_one_cpu_where_an_expression_gives_more(tmp_path):
    def view(cpus, on=None):
        sweep = Sweep(
            name="s", experiment=toy, axes={"n": [1, 2, 3]}, results_dir=str(tmp_path),
            executor={"kind": "ray_local", "n_cpus": 8, "cpus_per_task": cpus},
        )  # fmt: skip
        return lawsweep.open(sweep).preview(on)

    (note,) = view("4 if n > 2 else 1").plan.notes
    assert "executor.cpus_per_task is an expression; the times here take 1 CPU for every" in note
    assert view("4 if n > 2 else 1").n_slots == 8
    assert view("4 if n > 2 else 1", "gpus=8:H100").plan.notes == ()
    assert (view(2).n_slots, view(2).plan.notes) == (4, ())


def test_a_plan_of_a_search_waits_for_its_rounds(tmp_path):
    """More slots than a search asks for at a time are of no use, and the plan says so."""
    sweep = Sweep(
        name="s", experiment="search_toys:memory", results_dir=str(tmp_path),
        axes={"d": [20, 40], "n": "range(100, 2000, 50)"}, seeds=40, executor={"kind": "serial"},
        search={"axis": "n", "event": "loss < 1"},
    )  # fmt: skip
    few, many = (lawsweep.open(sweep).preview(f"cpus={n}") for n in (2, 64))
    assert few.plan.notes == ()
    assert many.plan.notes == (
        "a search asks for its runs round by round: at most 8 at once, fewer than the 64 slots",
    )
    assert len(many.todo) == 56  # of both cells, 7 rounds of 4
    one = many.schedule.longest_s  # nothing is known of the runs: they count alike
    assert many.schedule.work_s == pytest.approx(56 * one)
    assert many.schedule.makespan_s == many.schedule.bound_s == pytest.approx(7 * one)
    assert few.schedule.makespan_s == pytest.approx(28 * one)


def grown(folder, body):
    """An experiment of the working folder, as its file says now."""
    import sys

    sys.modules.pop("grown_here", None)
    text = (
        "from dataclasses import dataclass\nfrom lawsweep import experiment\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Params:\n    n: int\n    scale: float = 1.0\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Metrics:\n    y: float\n    z: float = 0.0\n"
        "@experiment(version=1)\n"
        "def grown(params: Params, seed: int) -> Metrics:\n    return Metrics(y=float(params.n))\n"
    )
    (folder / "grown_here.py").write_text(body(text), encoding="utf-8")
    sys.path_importer_cache.clear()
    return lawsweep.open(
        Sweep(name="s", experiment="grown_here:grown", axes={"n": [1, 2, 3]},
              results_dir=str(folder / "results"), executor={"kind": "serial"})
    )  # fmt: skip


def test_a_plan_says_what_run_refuses_and_which_metrics_old_rows_lack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    grown(tmp_path, lambda text: text.replace("    z: float = 0.0\n", "")).run()
    more = grown(tmp_path, lambda text: text).preview()
    assert more.refusal is None
    (note,) = [n for n in more.plan.notes if "metric" in n]
    assert "3 of 3 rows lack the metric z, which came since: they count as done" in note
    other = grown(tmp_path, lambda text: text.replace("scale: float = 1.0", "scale: float = 2.0"))
    view = other.preview()
    assert "has rows under other defaults" in view.refusal
    with pytest.raises(lawsweep.core.errors.IncompatibleTableError, match="other defaults"):
        other.run()
