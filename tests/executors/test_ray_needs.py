from __future__ import annotations

import pytest
from engine_toys import placed

from lawsweep.core.errors import ExecutorError, InvalidValueError, UnknownNameError
from lawsweep.core.outcome import RunSpec, Task
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray.needs import Needs
from lawsweep.executors.ray.placement import Placement
from lawsweep.grid.plan import make_plan


def runs(*points):
    return [RunSpec(k, str(k), {"i": i}, 0) for k, i in enumerate(points)]


def test_a_task_gets_the_most_that_one_of_its_runs_needs():
    needs = Needs("2 * i", 0.5)
    needs.bind(placed)
    assert needs.by_point
    assert (needs.cpus, needs.gpus) == (1.0, 0.5)
    assert needs.of(runs(1, 3, 2)) == (6.0, 0.5)
    assert (needs.cpus, needs.gpus) == (6.0, 0.5)  # what the next task is taken to need
    fixed = Needs(2, 0)
    assert not fixed.by_point
    assert fixed.given == {"cpus_per_task": 2, "gpus_per_task": 0}


def test_defaults_count_too():
    needs = Needs("1 if pause_s < 1 else 4", 0)
    needs.bind(placed)
    assert needs.of(runs(1)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("cpus", "gpus", "error", "message"),
    [
        ("widht", 0, UnknownNameError, "Unknown param 'widht' in executor.cpus_per_task"),
        ("i - 1", 0, InvalidValueError, r"executor.cpus_per_task='i - 1' must give a number above"),
        (1, "1.5 * i", InvalidValueError, "or whole above 1 at every point, got 1.5 at"),
        ("i > 0", 0, InvalidValueError, "got True at"),
    ],
)
def test_odd_needs_are_one_sentence(cpus, gpus, error, message):
    def asked():
        needs = Needs(cpus, gpus)
        needs.bind(placed)
        return needs.of(runs(1))

    with pytest.raises(error, match=message):
        asked()


def test_points_are_put_into_kinds_the_greediest_first():
    plan = make_plan(placed, axes={"i": "range(1, 7)"}, params={"pause_s": 0.5}, seeds=2)
    needs = Needs("3 if i % 2 == 0 else 1", 0.5)
    kinds, found = needs.over(plan, range(len(plan)))
    assert kinds.tolist() == [1, 0, 1, 0, 1, 0]
    assert [kind[:3] for kind in found] == [(3.0, 0.5, "i=2"), (1.0, 0.5, "i=1")]
    for run in range(len(plan)):  # as it is asked, task by task
        spec = RunSpec(run, "x", plan.params_of(run), plan.seed_of(run))
        assert needs.of([spec]) == found[kinds[run // 2]][:2]
    (found,) = needs.over(plan, [4, 5])[1]
    assert found[:3] == (1.0, 0.5, "i=3")  # the others are not asked about
    assert needs.over(plan, [])[1] == []
    odd = Needs("i - 3", 0)
    assert len(odd.over(plan, range(6, 12))[1]) == 3
    with pytest.raises(InvalidValueError, match=r"above 0 at every point, got -2 at .*'i': 1"):
        odd.over(plan, range(12))
    with pytest.raises(InvalidValueError, match=r"or whole above 1 at every point, got 1.5 at"):
        Needs(1, "i / 2").over(plan, range(12))


class Well:
    """A session that lacks nothing."""

    def check_processes(self): ...

    def check_own_node(self, nodes): ...

    def head_answers(self):
        return True


class SmallRay:
    """A node of 4 CPUs, and perhaps one of 16."""

    large = False

    def nodes(self):
        alive = [(4.0, True), (16.0, self.large)]
        return [{"Alive": up, "Resources": {"CPU": n}} for n, up in alive]

    def cluster_resources(self):
        return {"CPU": 4.0}


def test_a_point_that_fits_on_no_node_is_refused_before_anything_runs():
    plan = make_plan(placed, axes={"i": "range(10)"})
    made = make_executor({"kind": "ray_local", "cpus_per_task": "8 if i == 3 else 1"})
    assert made.needs_of(plan, range(10)).tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    found = Placement(Needs("8 if i == 3 else 1", 0), 1, Well())
    found.bind(SmallRay())
    message = "hold a task of 8 CPUs and 0 GPUs, which i=3 needs .all together have 4 and 0"
    with pytest.raises(ExecutorError, match=message):
        found.kinds_of(plan, range(10))
    assert found.kinds_of(plan, range(4, 10)) is not None  # the run that does not fit is not asked
    assert make_executor("ray_local").needs_of(plan, range(10)) is None


def test_when_the_large_node_goes_the_small_runs_go_on(monkeypatch):
    """Later is no time to refuse: what it alone can hold waits for it."""
    monkeypatch.setattr("lawsweep.executors.ray.placement.SLOTS_FOR_S", -1.0)
    plan = make_plan(placed, axes={"i": "range(10)"})
    made, ray = Placement(Needs("8 if i == 3 else 1", 0), 1, Well()), SmallRay()
    made.bind(ray)
    ray.large = True
    made.kinds_of(plan, range(10))
    assert made.options(Task(0, runs(3)))["num_cpus"] == 8
    assert made.n_slots == 2
    ray.large = False
    assert made.options(Task(1, runs(3)))["num_cpus"] == 8
    assert made.n_slots == 4


def test_the_expression_is_read_before_anything_starts():
    with pytest.raises(InvalidValueError, match="Cannot read the expression"):
        make_executor({"kind": "ray_local", "cpus_per_task": "4 if"})
    assert make_executor({"kind": "ray_local", "gpus_per_task": "0.5 if i else 1"}).device == "cuda"
