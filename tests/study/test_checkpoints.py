"""A run goes on from where an earlier attempt was: after a failure, a lost worker, a new launch."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext

import pytest

import lawsweep
from lawsweep.store.places import files
from lawsweep.store.upkeep.gc import gc

TRAIN = """
    import os
    from pathlib import Path
    import numpy as np
    import lawsweep

    def train(n: int, dies: str = "raise"):
        state = lawsweep.checkpoint.load() or {"step": 0, "w": np.zeros(2)}
        first = state["step"]
        for step in range(first, n):
            state["w"] += step
            lawsweep.report(step, w=state["w"][0])
            state["step"] = step + 1
            with (lawsweep.checkpoint.folder() / "log.txt").open("a") as log:
                log.write(f"{step} ")
            lawsweep.checkpoint.save(state)
            if step == 3 and dies == "kill" and first == 0:
                os.kill(os.getpid(), 9)
            if step == 3 and Path(dies).exists():
                raise ValueError("an unlucky step")
        log = (lawsweep.checkpoint.folder() / "log.txt").read_text()
        return {"w": float(state["w"][1]), "first": first, "log": len(log.split())}
"""


@pytest.fixture
def opened(module):
    module("going_on", TRAIN)

    def make(dies, *store, executor="serial", **more):
        return lawsweep.open(
            lawsweep.Sweep(
                name="going_on",
                experiment="going_on.py:train",
                axes={"n": [6]},
                params={"dies": dies},
                executor={"kind": executor, **more},
                store=dict(store),
            )
        )

    return make


def kept(folder):
    return sorted(p.name for p in (folder / "results" / "checkpoints").rglob("*.zip"))


def test_a_run_that_failed_goes_on_in_a_new_launch_and_its_row_says_so(opened, folder):
    (folder / "unlucky").write_text("")
    study = opened("unlucky")
    assert dict(study.run().statuses) == {"failed": 1}
    assert kept(folder) == [f"{study.plan.run_ids[0]}.zip"]
    (folder / "unlucky").unlink()
    again = opened("unlucky")
    assert dict(again.run(retry=True).statuses) == {"ok": 1}
    (row,) = again.rows().to_pylist()
    assert (row["first"], row["w"], row["log"]) == (4, 15.0, 6)
    assert (row["attempt"], row["resumed"]) == (2, "attempt 1")
    assert kept(folder) == []
    curve = again.curves()
    assert curve["step"].tolist() == list(range(6))
    assert curve["attempt"].tolist() == [1] * 4 + [2] * 2
    assert curve["w"].tolist() == [0, 1, 3, 6, 10, 15]


def test_a_worker_that_is_killed_is_followed_by_one_that_goes_on(opened, folder):
    study = opened("kill", executor="processes", n_workers=1)
    assert dict(study.run().statuses) == {"ok": 1}
    (row,) = study.rows().to_pylist()
    assert (row["attempt"], row["resumed"], row["first"], row["w"]) == (2, "attempt 1", 4, 15.0)
    assert kept(folder) == []


@pytest.mark.parametrize("what", ["code", "torn", "another run's"])
def test_one_of_other_code_or_torn_is_told_and_the_run_begins_from_the_start(
    what, opened, folder, module
):
    (folder / "unlucky").write_text("")
    study = opened("unlucky")
    study.run()
    (folder / "unlucky").unlink()
    (file,) = (folder / "results" / "checkpoints").rglob("*.zip")
    if what == "code":
        module("going_on", TRAIN.replace("np.zeros(2)", "np.zeros(3)"))
    elif what == "torn":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        file.write_bytes(file.read_bytes().replace(study.plan.run_ids[0].encode(), b"0" * 32))
    told = pytest.warns(match="made by other code") if what == "code" else nullcontext()
    with told:
        report = opened("unlucky").run(retry=True)
    (note,) = (n for n in report.notes if "from the start" in n)
    assert note.startswith("1 run began from the start: ")
    (row,) = opened("unlucky").rows().to_pylist()
    assert row["resumed"] == ("not: other code" if what == "code" else "not: unreadable")
    assert (row["first"], row["w"], row["log"]) == (0, 15.0, 6)


def test_checkpoints_of_runs_that_went_well_stay_where_asked_and_gc_finds_them(opened, folder):
    study = opened("never", ("keep_checkpoints", True))
    study.run()
    assert kept(folder) == [f"{study.plan.run_ids[0]}.zip"]
    study.rerun("n == 6")  # made again, and not gone on with
    assert [r["first"] for r in study.rows().to_pylist()] == [0]
    later = (folder / "results").stat().st_mtime + 100 * 3600
    found = [
        r for r in gc(folder / "results", dry=False, now=lambda: later) if r.kind == "checkpoint"
    ]
    assert [(r.n, r.removed) for r in found] == [(1, True)]
    assert kept(folder) == []


def test_what_is_discarded_takes_its_curve_and_its_checkpoint_along(opened, folder):
    (folder / "unlucky").write_text("")
    study = opened("unlucky")
    study.run()
    assert (len(study.curves()), len(kept(folder))) == (4, 1)
    study.discard(status="failed")
    assert (len(opened("unlucky").curves()), kept(folder)) == (0, [])


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(opened, folder, monkeypatch, capsys):
    real = files.write_atomic

    def full(path, data, **named):
        if path.suffix == ".zip" and "checkpoints" in path.parts:
            raise lawsweep.core.errors.StoreError(os.strerror(errno.ENOSPC))
        real(path, data, **named)

    monkeypatch.setattr(files, "write_atomic", full)
    study = opened("never")
    assert dict(study.run().statuses) == {"ok": 1}
    assert kept(folder) == []
    said = capsys.readouterr().err
    assert said.count("a checkpoint could not be kept, and the run goes on: No space left") == 1


def test_what_was_reported_before_memory_ran_out_stays_with_the_run_that_went_on(opened, module):
    raised = TRAIN.replace("os.kill(os.getpid(), 9)", 'raise MemoryError("a small node")')
    module("going_on", raised)
    study = opened("kill")
    assert dict(study.run().statuses) == {"ok": 1}
    (row,) = study.rows().to_pylist()
    assert (row["attempt"], row["resumed"]) == (2, "attempt 1")
    assert study.curves()["step"].tolist() == list(range(6))


def test_one_that_the_store_does_not_give_is_told_and_not_passed_over(opened, folder):
    (folder / "unlucky").write_text("")
    study = opened("unlucky")
    study.run()
    (folder / "unlucky").unlink()
    (file,) = (folder / "results" / "checkpoints").rglob("*.zip")
    file.unlink()
    file.mkdir()
    assert dict(opened("unlucky").run(retry=True).statuses) == {"ok": 1}
    (row,) = opened("unlucky").rows().to_pylist()
    assert (row["first"], row["resumed"]) == (0, "not: unreadable")
