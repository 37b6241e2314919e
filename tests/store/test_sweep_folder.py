from __future__ import annotations

import json

import pyarrow.parquet as pq
import yaml
from toys import pair

from lawsweep.core.plan import make_plan
from lawsweep.store.sweep_folder import SweepFolder, find_launch


def test_the_plan_is_frozen_as_a_readable_table(tmp_path):
    plan = make_plan(
        pair,
        axes={"ratio": [1, 2], "rate": [None, 0.5]},
        derive={"n_target": "4 * ratio"},
        params={"n_compressed": 2},
        seeds=[5, 9],
    )
    SweepFolder(tmp_path / "s").freeze(plan, {"experiment": "toys:pair", "seeds": [5, 9]})
    rows = pq.read_table(tmp_path / "s" / "plan.parquet").to_pylist()
    assert [r["run_id"] for r in rows] == plan.run_ids
    assert [r["point"] for r in rows] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [r["seed"] for r in rows][:2] == [5, 9]
    assert [(r["ratio"], r["n_target"], r["rate"]) for r in rows][::2] == [
        (1, 4, None), (1, 4, 0.5), (2, 8, None), (2, 8, 0.5)
    ]  # fmt: skip
    assert rows[0]["widths"] == [2, 2]
    assert yaml.safe_load((tmp_path / "s" / "sweep.yaml").read_text())["seeds"] == [5, 9]


def test_launch_records_and_signs_of_life(tmp_path):
    folder = SweepFolder(tmp_path / "sweeps" / "s")
    folder.write_launch("L1", {"command": "x"})
    folder.beat("L1", {"running": 3})
    (folder.path / "launches" / "L2.live").write_text("{torn")
    assert folder.live(0) == []
    state = {"running": 3, "rate": 0.5, "at": 100.0, "eta_s": None}
    folder.beat("L1", state)
    folder.beat("L5", {"at": 100.0})
    folder.beat("L6", {**state, "at": "abc"})
    assert folder.live(99) == [state]
    assert folder.live(100) == []
    folder.end_beat("L1")
    folder.end_beat("L1")
    assert folder.live(0) == []
    folder.drop_dead(0)
    assert len(list(folder.path.glob("launches/*.live"))) == 3
    folder.drop_dead(1e11)
    assert not list(folder.path.glob("launches/*.live"))
    assert find_launch(tmp_path, "L1") == {"command": "x"}
    assert find_launch(tmp_path, "L9") is None
    (folder.path / "launches" / "L3.json").write_text(json.dumps([1]))
    assert find_launch(tmp_path, "L3") is None
