from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import yaml
from toys import pair

from lawsweep.config.compose import load_sweep
from lawsweep.core.errors import LawsweepError
from lawsweep.grid.plan import make_plan
from lawsweep.store.places.find import open_folder
from lawsweep.store.sweeps import signs
from lawsweep.store.sweeps.sweep_folder import SweepFolder, find_launch


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


def test_launch_records_and_signs_of_life(root):
    results = open_folder(root)
    folder = SweepFolder(results / "sweeps" / "s")
    folder.write_launch("L1", {"command": "x"})
    folder.beat("L1", {"running": 3})
    folder.launches.write("L2.live", b"{torn")
    assert folder.live() == []
    state = {"running": 3, "rate": 0.5, "at": 100.0, "eta_s": None}
    folder.beat("L1", state)
    folder.beat("L5", {"at": 100.0})
    folder.beat("L6", {**state, "rate": "abc"})
    (sign,) = folder.live()
    assert (sign.launch_id, sign.state) == ("L1", state)
    now = folder.folder.clock()
    assert folder.live(now + signs.ALIVE_S + 2) == []
    folder.end_beat("L1")
    folder.end_beat("L1")
    assert folder.live() == []
    folder.launches.delete("L2.live")
    folder.drop_dead()
    assert len(folder.launches.names()) == 3
    folder.drop_dead(now + signs.PATIENCE_S + signs.MARGIN_S + 2)
    assert folder.launches.names() == ["L1.json"]
    assert find_launch(root, "L1") == {"command": "x"}
    assert find_launch(root, "L9") is None
    folder.launches.write("L3.json", json.dumps([1]).encode())
    assert find_launch(root, "L3") is None
    folder.launches.write("L4.json", b"[" * 100_000)
    assert [r["command"] for r in folder.launch_records()] == ["x"]


def test_a_frozen_plan_is_read_back_and_a_torn_one_is_none(root):
    plan = make_plan(pair, axes={"n_target": [1, 2]}, params={"n_compressed": 1}, seeds=[0, 1])
    folder = SweepFolder(root)
    assert folder.frozen_run_ids() == []
    folder.freeze(plan, {}, "L1")
    assert folder.frozen_run_ids() == plan.run_ids
    assert folder.launches.read("L1.plan.parquet") == folder.folder.read("plan.parquet")
    folder.folder.write("plan.parquet", folder.folder.read("plan.parquet")[:-9])
    assert folder.frozen_run_ids() == []


def test_the_frozen_sweep_is_plain_yaml(tmp_path):
    """Whatever a config held, its file has no tags: a safe loader reads it back."""
    plan = make_plan(pair, axes={"n_target": [1]}, params={"n_compressed": 1}, seeds=[0])
    config = {"experiment": pair, "tags": {"path": tmp_path, "n": 1}, "text": "!!python/name:os.x"}
    SweepFolder(tmp_path).freeze(plan, config)
    text = (tmp_path / "sweep.yaml").read_text()
    assert yaml.safe_load(text)["text"] == "!!python/name:os.x"
    assert "\n!!" not in text
    assert ": !!" not in text


def test_a_sweep_file_with_python_tags_runs_nothing(folder, monkeypatch):
    """A frozen sweep is a sweep file: whoever got one from elsewhere can look at it safely."""
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "evil.yaml").write_text(
        "experiment: toys:toy\naxes: {n: [1]}\nparams: !!python/object/apply:os.mkdir [exploded]\n"
    )
    with pytest.raises(LawsweepError, match="evil"):
        load_sweep("evil")
    assert not (folder / "exploded").exists()
