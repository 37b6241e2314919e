from __future__ import annotations

from toys import toy

from lawsweep import Sweep, api


def test_a_plan_says_that_it_takes_one_cpu_where_an_expression_gives_more(tmp_path):
    def view(cpus, on=None):
        sweep = Sweep(
            name="s", experiment=toy, axes={"n": [1, 2, 3]}, results_dir=str(tmp_path),
            executor={"kind": "ray_local", "n_cpus": 8, "cpus_per_task": cpus},
        )  # fmt: skip
        return api.view_plan(sweep, on)

    (note,) = view("4 if n > 2 else 1").plan.notes
    assert "executor.cpus_per_task is an expression; the times here take 1 CPU for every" in note
    assert view("4 if n > 2 else 1").n_slots == 8
    assert view("4 if n > 2 else 1", "gpus=8:H100").plan.notes == ()
    assert (view(2).n_slots, view(2).plan.notes) == (4, ())
