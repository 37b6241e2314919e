"""Runs that spread over shards: on a real Ray of three CPUs, inside its tasks."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace

import pytest
from shard_toys import eigenvalue_problem, sharded_eigenvalue, spread

from lawsweep.core.errors import ExecutorError, InvalidValueError, LawsweepError, UnknownNameError
from lawsweep.core.outcome import RunSpec, Task
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray.options import ShardOptions, read_shards
from lawsweep.executors.ray.sharded import RayPool, RayShards, installed
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.worker import shards as seam

GIVE_UP_S = 600.0  # a hang is an error; a busy machine is none


class Echo:
    def __init__(self, index, n_shards):
        self.index, self.n_shards = index, n_shards

    def say(self, word):
        return f"{word} {self.index}/{self.n_shards}"


def test_without_a_pool_a_run_is_one_shard_here():
    with seam.current().open(Echo) as shards:
        assert shards.each("say", "hello") == ["hello 0/1"]


def test_the_pool_installed_last_is_the_current_one():
    with seam.installed(seam.HerePool(2)):
        with seam.installed(seam.HerePool(3)), seam.current().open(Echo) as shards:
            assert shards.each("say", "a") == ["a 0/3", "a 1/3", "a 2/3"]
        assert seam.current().n_shards == 2
    assert seam.current().n_shards == 1
    with installed(None):
        assert seam.current().n_shards == 1


def test_one_shard_needs_no_ray():
    with RayPool(ShardOptions(n=1)).open(Echo) as shards:
        assert shards.each("say", "a") == ["a 0/1"]


def test_more_shards_say_that_they_need_ray():
    with pytest.raises(ExecutorError, match="need a Ray that runs; use executor=ray_local"):
        RayPool(ShardOptions(n=2)).open(Echo).__enter__()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "must be a whole number from 1, got 0"),
        ({"n": True}, "must be a whole number from 1, got True"),
        ({"n": 2, "cpus": 0}, "needs cpus or gpus above 0"),
        ({"n": 2, "cpu": 1}, "Unknown option 'cpu' in executor.shards. Did you mean 'cpus'"),
        ({"cpus": 1}, "executor.shards needs n"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(LawsweepError, match=message):
        read_shards(options)


class GoneError(Exception):
    """As Ray's RayError."""


class FakeRay:
    """Knows what became of a call: an answer, or an exception."""

    exceptions = SimpleNamespace(
        RayError=GoneError, RayTaskError=KeyError, GetTimeoutError=TimeoutError
    )

    def get(self, call, timeout=None):
        if isinstance(call, BaseException):
            raise call
        return call


@pytest.mark.parametrize(
    ("calls", "error"),
    [
        ((1, GoneError("its process died")), seam.ShardLostError),
        ((1, TimeoutError()), RuntimeError),  # it waits too, or is at work
        ((KeyError("no"), 1), RuntimeError),
    ],
)
def test_a_sum_that_fails_since_a_shard_is_gone_says_so(calls, error):
    """What gloo says is that a connection was closed: the run's own failure it would seem."""

    class Own:
        def expand(self):
            raise RuntimeError("Connection closed by peer")

    actors = [SimpleNamespace(call=SimpleNamespace(remote=lambda m, c=c: c)) for c in calls]
    shards = RayShards(FakeRay(), Own(), actors, "127.0.0.1")
    with pytest.raises(error, match=r"shard 2 of 3 was lost: GoneError: i|closed by peer"):
        shards.each("expand")


@pytest.fixture(scope="module")
def n_cpus():
    """A Ray of three CPUs; executors of the tests join it."""
    owner = make_executor({"kind": "ray_local", "n_cpus": 3})
    owner.start(spread)
    yield 3
    owner.close()


def outcomes_of(experiment, points):
    """Each point in a task of its own, all handed over at once."""
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(experiment)
        for i, point in enumerate(points):
            made.submit(Task(i, (RunSpec(i, str(i), point, 0),)))
        found, ended, end = [], 0, time.monotonic() + GIVE_UP_S
        while ended < len(points):
            assert time.monotonic() < end, "no answer: a deadlock?"
            for event in made.poll(0.5):
                assert event.lost is None, event.lost
                found += event.outcomes
                ended += event.done
    return sorted(found, key=lambda o: o.index)


def free_cpus():
    import ray

    return ray.available_resources().get("CPU", 0.0)


def wait_for_free_cpus(n):
    end = time.monotonic() + GIVE_UP_S
    while free_cpus() < n:
        assert time.monotonic() < end, f"only {free_cpus()} of {n} CPUs came back"
        time.sleep(0.2)


@pytest.mark.slow
def test_runs_side_by_side_do_not_wait_for_each_other_for_ever(n_cpus):
    """Three runs that each hold a CPU at once and want two more, which they lend while they wait:
    with one each none could go on.  One after the other they end.
    """
    points = [{"i": i, "n_shards": 3, "pause_s": 0.3} for i in range(n_cpus)]
    found = outcomes_of(spread, points)
    assert [o.error for o in found] == [None] * 3
    for outcome in found:
        assert outcome.metrics["total"] == (1 + 2 + 3) * 29_999.0 * 30_000.0 / 2.0
        assert outcome.metrics["n_processes"] == outcome.metrics["n_pools"] == 3
        assert outcome.metrics["n_threads_of_shards"] == 1
    wait_for_free_cpus(n_cpus)


@pytest.mark.slow
def test_the_smallest_eigenvalue_is_that_of_one_process(n_cpus):
    """Sums among the shards themselves; by way of the run in the sweep below."""
    from lawsweep.kernels.eigmin.block import smallest_eigenvalue_block

    n, d = 80, 16
    point = {"n_samples": n, "width": d, "n_shards": 2, "exchange": "collective"}
    (outcome,) = outcomes_of(sharded_eigenvalue, [point])
    assert outcome.error is None
    assert outcome.metrics["converged"]
    for n_here in (1, 2):
        here = eigenvalue_problem(n, d, 0).in_process(n_here)
        alone = smallest_eigenvalue_block(here, key=0, layers=(1, 2, 3), tol=1e-6)
        # A residual of 1e-6 leaves an error of about its square over the relative gap.
        assert outcome.metrics["value"] == pytest.approx(alone.value, rel=1e-9)


@pytest.mark.slow
def test_more_shards_than_there_is_room_for_is_a_row_that_says_so(n_cpus):
    outcome = outcomes_of(spread, [{"i": 0, "n_shards": n_cpus + 1}])[0]
    assert outcome.status == "failed"
    assert f"{n_cpus + 1} shards need {n_cpus + 1} CPU in all, this Ray has {n_cpus}" in (
        outcome.error
    )
    wait_for_free_cpus(n_cpus)


@pytest.mark.slow
def test_an_exception_in_a_shard_is_the_runs_own(n_cpus):
    points = [{"i": i, "n_shards": 2, "fault": fault} for i, fault in enumerate(("raise", "make"))]
    found = outcomes_of(spread, points)
    assert [o.status for o in found] == ["failed"] * 2
    assert "a shard said no" in found[0].error
    assert "this shard cannot be made" in found[1].error
    wait_for_free_cpus(n_cpus)


@pytest.mark.slow
def test_a_lost_shard_is_named_fails_the_attempt_and_the_next_one_succeeds(n_cpus, tmp_path):
    lost = []
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(spread)
        poll = made.poll

        def heard(timeout_s):
            events = poll(timeout_s)
            lost.extend(str(e.lost) for e in events if e.lost is not None)
            return events

        made.poll = heard
        table = ParquetTable(tmp_path / "table", spread)
        fixed = {"n_shards": 2, "fault": "exit", "marker": str(tmp_path / "died")}
        plan = make_plan(spread, axes={"i": [0]}, params=fixed)
        report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure(max_attempts=3)).run()
    assert (tmp_path / "died").exists()
    assert dict(report.statuses) == {"ok": 1}
    assert table.read(plan.run_ids)["attempt"].to_pylist() == [2]
    (why,) = lost
    assert "shard 1 of 2 was lost" in why
    wait_for_free_cpus(n_cpus)


@pytest.mark.slow
def test_a_task_that_is_killed_gives_its_shards_room_back(n_cpus, tmp_path):
    deaf = tmp_path / "deaf"
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(spread)
        point = {"i": 0, "n_shards": 2, "fault": "deaf", "marker": str(deaf)}
        made.submit(Task(0, (RunSpec(0, "0", point, 0),)))
        end = time.monotonic() + GIVE_UP_S
        while not deaf.exists():
            assert time.monotonic() < end, "the shards were not placed"
            made.poll(0.2)
        assert free_cpus() < n_cpus
        made.kill(0)
        wait_for_free_cpus(n_cpus)


@pytest.mark.slow
def test_a_sweep_spreads_its_runs_over_shards(n_cpus, tmp_path, monkeypatch):
    import lawsweep

    monkeypatch.setenv("LAWSWEEP_RESULTS_DIR", str(tmp_path))
    only = ("params.n_samples=90", "params.input_dim=20", "where=[]", "seeds=1")
    values = {}
    for solver, executor in (
        ("dense", {"kind": "serial"}),
        ("sharded", {"kind": "ray_local", "shards": {"n": 2}}),
    ):
        sweep = lawsweep.load_sweep("ntk_width", *only, f"params.solver={solver}")
        lawsweep.run(sweep, executor=executor)
        (values[solver],) = lawsweep.load(sweep).to_dict("records")
    assert values["sharded"]["solver_used"] == "sharded"
    assert values["sharded"]["converged"]
    # The value's relative error is at most the square of the relative residual over the gap.
    assert values["sharded"]["lambda_min"] == pytest.approx(values["dense"]["lambda_min"], rel=1e-3)
    with pytest.raises(UnknownNameError, match=r"Unknown option 'm' in executor.shards"):
        make_executor({"kind": "ray_local", "shards": {"m": 2}})
    with pytest.raises(InvalidValueError, match=r"executor.shards must be a mapping"):
        make_executor({"kind": "ray_local", "shards": 2})
