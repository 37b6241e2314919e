"""Rows that are made again by name, and rows that are taken out."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import pytest
from rows import parts

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError, StoreError, UnknownNameError
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.sweeps import forced
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.store.table.parts import encode
from lawsweep.store.upkeep import compact, discard
from lawsweep.tools.keeping import verify
from lawsweep.worker.presence import RUNNING, presence

MADE = """
    import signal
    from pathlib import Path
    from lawsweep import experiment
    @experiment(version=1)
    def made(n: int, seed: int) -> dict:
        with open("made.txt", "a") as log:
            log.write(f"{n} ")
        if n == 3 and Path("broken").exists():
            raise ValueError("not now")
        if Path("killed").exists() and len(Path("made.txt").read_text().split()) == 3:
            signal.raise_signal(signal.SIGINT)
        return {"y": float(n)}
"""


@pytest.fixture
def study(module):
    """A sweep of 5 runs, run, that notes what it makes and may be broken at n = 3."""
    module("making", MADE)
    found = lawsweep.open(
        Sweep(
            name="made",
            experiment="making:made",
            axes={"n": [1, 2, 3, 4, 5]},
            executor={"kind": "serial"},
        )
    )
    found.run()
    Path("made.txt").write_text("")
    return found


def made():
    return sorted(map(int, Path("made.txt").read_text().split()))


def attempts(study):
    return Counter(study.table.attempts()["n"].to_pylist())


def test_rows_of_a_condition_are_made_again_and_older_attempts_stay(study):
    report = study.rerun("n > 2 and status == 'ok'", executor="serial")
    assert (report.statuses["ok"], report.stopped) == (3, None)
    assert made() == [3, 4, 5]
    assert attempts(study) == {1: 1, 2: 1, 3: 2, 4: 2, 5: 2}
    assert study.frame()["attempt"].tolist() == [1, 1, 2, 2, 2]
    study.rerun(["n > 2", "n < 5"], status="ok")  # another time, all of them again
    assert made() == [3, 3, 4, 4, 5]


@pytest.mark.parametrize("condition", ["n > 1", "n > 1 and attempt == 1"])
def test_what_is_left_of_rows_made_again_is_gone_on_with(study, condition):
    """They are the rows that were meant, whatever the condition would choose by now."""
    Path("killed").touch()
    first = study.rerun(condition)
    assert (first.stopped, first.statuses["ok"]) == ("interrupted", 2)
    once = made()[:]
    left = study.status()
    assert [n for n, _ in left.again] == [2]
    assert left.gaps("made") == [
        f"2 still to be made again: lawsweep rerun made --where '{condition}'"
    ]
    Path("killed").unlink()
    second = lawsweep.open(study.sweep).rerun(condition)  # a new process, as it were
    assert (second.stopped, second.statuses["ok"]) == (None, 2)
    assert set(made()) == {2, 3, 4, 5}
    assert len(made()) == len(once) + 2
    assert attempts(study) == {1: 1, 2: 2, 3: 2, 4: 2, 5: 2}
    assert study.refresh().status().again == ()
    third = lawsweep.open(study.sweep).rerun("n > 1")  # all were made: it is asked for anew
    assert third.statuses["ok"] == 4


def test_what_is_left_survives_other_requests_and_what_is_taken_out_is_not_waited_for(study):
    Path("killed").touch()
    assert study.rerun("n > 1").stopped == "interrupted"
    Path("killed").unlink()
    left = study.refresh().status().again
    assert [n for n, _ in left] == [2]
    assert study.rerun("n > 9").stopped is None  # of no row
    assert study.rerun("n == 1").statuses["ok"] == 1
    assert study.refresh().status().again == left
    taken = sorted({2, 3, 4, 5} - set(made()))
    study.discard(f"n == {taken[0]}")
    assert study.status().again == ((1, left[0][1]),)
    study.run()
    assert study.status().again == ((1, left[0][1]),)
    assert lawsweep.open(study.sweep).rerun("n > 1").statuses["ok"] == 1
    assert study.refresh().status().again == ()


def test_rows_that_left_the_grid_do_not_stand_for_those_that_came(study):
    kept = forced.Forced("--where 'n > 3'", {"0" * 32: 1})
    kept.write(SweepFolder(study.sweep.folder).folder)
    assert study.refresh().rerun("n > 3").statuses["ok"] == 2


def test_what_is_no_condition_no_status_and_no_run_is_said(study):
    with pytest.raises(UnknownNameError, match="Unknown column 'm'"):
        study.rerun("m > 1")
    with pytest.raises(InvalidValueError, match="--where needs true or false"):
        study.discard("n + 1")
    with pytest.raises(UnknownNameError, match=r"Unknown status 'fail'\. Did you mean 'failed'"):
        study.discard(status="fail")
    with pytest.raises(UnknownNameError, match="No row of the sweep has a run id that begins"):
        study.discard(run_ids="zz")
    with pytest.raises(InvalidValueError, match="Say which rows: --where"):
        study.discard()
    assert study.discard("n > 9").held.n_runs == 0
    assert made() == []


def contents(folder):
    return {p: p.read_bytes() for p in sorted(Path(folder).rglob("part-*.parquet"))}


@pytest.fixture
def spectral(spectra):
    """8 runs with arrays in two parts, the second launch of two more points."""
    wider = dataclasses.replace(spectra, axes={"n": [3, 4, 5, 6]})
    study = lawsweep.open(wider)
    study.run(executor="serial")
    assert len(parts(study.table.folder)) == 2
    return study


def test_rows_that_are_taken_out_are_as_never_run(spectral):
    before, kept = contents("results"), spectral.frame()
    values = {k: v.tolist() for k, v in spectral.arrays("eigenvalues").items()}
    dry = spectral.discard("n > 4", dry_run=True)
    assert (dry.held.n_runs, dry.held.n_rows, dry.held.n_values) == (4, 4, 8)
    assert (
        dry.held.array_bytes == 8 * 2 * (5 + 6) + 4 * 8 * 6
    )  # eigenvalues, and the tables of 3 x 2
    assert dry.held.wall_s == pytest.approx(float(kept["wall_s"][kept["n"] > 4].sum()))
    assert not dry.removed
    assert contents("results") == before
    gone = spectral.discard("n > 4")
    assert gone.removed
    assert spectral.status().missing == 4
    rest = spectral.frame()
    assert rest["status"].tolist() == ["ok"] * 4 + ["missing"] * 4
    columns = [c for c in rest.columns if c != "point"]
    assert rest[columns][:4].equals(kept[columns][:4])
    left = {k: v.tolist() for k, v in spectral.arrays("eigenvalues").items()}
    assert left == {k: values[k] for k in rest["run_id"][:4]}
    (found,) = verify(spectral)[0].values()
    assert not [f for f in found if f.severity == "problem"]
    assert spectral.run(executor="serial").statuses["ok"] == 4


def test_a_run_and_a_status_are_taken_out_by_name(study):
    Path("broken").touch()
    assert study.rerun("n == 3").statuses == {"failed": 1}
    assert study.discard(status="failed", dry_run=True).rows.places == ()  # the older row counts
    run_id = study.frame()["run_id"][0]
    assert study.discard(run_ids=run_id[:8]).rows.run_ids == (run_id,)
    assert study.discard(status="ok").rows.statuses == {"ok": 4}
    assert study.table.attempts().num_rows == 0


class KilledError(BaseException):
    """At a moment of the writer."""


def test_killed_at_any_moment_each_part_shows_all_or_none_and_the_same_call_goes_on(
    spectral, monkeypatch
):
    whole = spectral.frame()
    holders = [frozenset(t["run_id"].to_pylist()) for t in _tables(spectral.table.folder)]
    going = frozenset(whole["run_id"][whole["n"] != 4])
    shutil.copytree("results", "saved")
    n_kills, killed = 0, True
    while killed:
        shutil.rmtree("results")
        shutil.copytree("saved", "results")
        with monkeypatch.context() as patched:
            killed = _killed_at(patched, n_kills, lambda: spectral.refresh().discard("n != 4"))
        n_kills += killed
        again = lawsweep.open(spectral.sweep)
        there = set(again.table.done())
        assert set(whole["run_id"]) - going <= there
        for of_part in holders:
            assert (going & of_part) & there in (going & of_part, frozenset())
        again.discard("n != 4")
        assert set(again.table.done()) == set(whole["run_id"]) - going
    assert n_kills >= 6  # two parts of rows, four of arrays: each written again, and removed


def _killed_at(patched, step, do):
    left = [step]
    for name in ("write", "delete"):
        real = getattr(LocalFolder, name)

        def counted(self, *given, real=real, **more):
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return real(self, *given, **more)

        patched.setattr(LocalFolder, name, counted)
    try:
        do()
    except KilledError:
        return True
    return False


def _tables(folder):
    import pyarrow.parquet as pq

    return [pq.read_table(Path(str(folder)) / name) for name in parts(folder)]


def test_two_that_take_rows_out_of_one_part_and_a_compaction_bring_none_back(study, monkeypatch):
    folder, of = study.table.folder, study.frame().set_index("n")["run_id"]

    def left():
        return {n for table in _tables(folder) for n in table["n"].to_pylist()}

    others = iter([[of[2]]])

    def meanwhile(data):
        for run_ids in others:
            discard._without(folder, run_ids, encode)
        return encode(data)

    discard._without(folder, [of[1]], meanwhile)
    assert left() == {3, 4, 5}
    study.rerun("n > 3")  # a second part
    merge = compact.merge

    def merged(tables):
        discard._without(folder, [of[4]], encode)
        return merge(tables)

    with monkeypatch.context() as patched:
        patched.setattr(compact, "merge", merged)
        compact.compact(study.table)
    assert left() == {3, 5}
    compact.compact(study.table)
    assert (left(), len(parts(folder))) == ({3, 5}, 1)


def test_a_launch_under_way_and_a_folder_that_cannot_be_written_to_refuse(study, monkeypatch):
    sign = {"launch_id": "L1", "experiment": "made", "running": 1, "rate": 1.0, "eta_s": None}
    other = SweepFolder("results/sweeps/another")
    RUNNING.add("L1")
    try:
        other.beat("L1", {**presence(), **sign})
        with pytest.raises(InvalidValueError, match=r"launch L1 \(.*\) is running made, and takes"):
            study.discard("n > 1")
    finally:
        RUNNING.discard("L1")
    before = contents("results")

    def refused(self):
        raise StoreError(f"Cannot write in {self}: Read-only file system.")

    monkeypatch.setattr(LocalFolder, "check_writable", refused)
    with pytest.raises(StoreError, match="Read-only file system"):
        study.discard("n > 1")
    assert contents("results") == before


def test_other_sweeps_that_plan_the_runs_are_named(study):
    lawsweep.open(dataclasses.replace(study.sweep, name="also")).run()
    assert study.discard("n > 1", dry_run=True).shared == ("also",)


LONG = """
    from lawsweep import artefact, checkpoint, experiment, report
    @experiment(version=1)
    def long(n: int, seed: int) -> dict:
        began = checkpoint.load() or 0
        for step in range(began, 3):
            report(step, loss=float(step))
            checkpoint.save(step + 1)
        artefact(b"four", "a.txt")
        return {"began": began}
"""


def test_what_is_kept_beside_rows_goes_with_them_and_a_row_made_again_begins_anew(module):
    module("lasting", LONG)
    study = lawsweep.open(
        Sweep(
            name="long",
            experiment="lasting:long",
            axes={"n": [1, 2]},
            executor={"kind": "serial"},
            store={"keep_checkpoints": True},
        )
    )
    study.run()
    kept = Path("results/checkpoints/long")
    assert len(list(kept.iterdir())) == 2
    study.rerun("n == 2")
    assert study.frame()["began"].tolist() == [0, 0]
    assert study.frame()["attempt"].tolist() == [1, 2]
    held = study.discard("n == 2", dry_run=True).held
    assert (held.n_points, held.n_artefacts, held.artefact_bytes) == (6, 1, 4)
    study.discard("n == 2")
    assert len(list(kept.iterdir())) == 1
    assert study.table.curve_table.read().num_rows == 3
    assert [p.parent.name for p in Path("results/artefacts").rglob("a.txt")] == [
        study.frame()["run_id"][0]
    ]
    assert study.run().statuses["ok"] == 1
    assert study.frame()["began"].tolist() == [0, 0]
