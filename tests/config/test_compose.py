from __future__ import annotations

import time

import pyarrow as pa
import pytest
import yaml

from lawsweep.config.compose import load_sweep
from lawsweep.config.files import sweep_names
from lawsweep.core.errors import InvalidValueError, LawsweepError, UnknownNameError
from lawsweep.store.sweeps.sweep_folder import SweepFolder


def test_a_sweep_file_over_the_base_config(toy_sweep):
    sweep = load_sweep("toys")
    assert sweep.experiment == "toys:toy"
    assert sweep.seeds == 2
    assert sweep.executor["kind"] == "serial"
    assert sweep.results_dir == "results"
    assert sweep.on_failure.stop_after == 10
    assert load_sweep(str(toy_sweep)).axes == sweep.axes


def test_results_dir_from_the_environment(toy_sweep, monkeypatch):
    monkeypatch.setenv("LAWSWEEP_RESULTS_DIR", "elsewhere")
    assert load_sweep("toys").results_dir == "elsewhere"
    assert load_sweep("toys", "results_dir=here").results_dir == "here"


def test_what_was_composed_before_is_no_ones_to_change_and_no_other_files(toy_sweep, folder):
    first, second = load_sweep("toys"), load_sweep("toys")
    first.config["axes"]["n"].append(7)
    assert load_sweep("toys").config == second.config != first.config
    toy_sweep.write_text(toy_sweep.read_text().replace("seeds: 2", "seeds: 5"))
    assert load_sweep("toys").seeds == 5
    # In a folder with a conf of its own, whatever it says now.
    own = folder / "conf" / "executor" / "mine.yaml"
    own.parent.mkdir(parents=True)
    for kind in ("serial", "processes"):
        own.write_text(f"kind: {kind}\n")
        assert load_sweep("toys", "executor=mine").executor["kind"] == kind


def test_a_hydra_of_the_callers_own_stays(toy_sweep, folder):
    from hydra import compose, initialize_config_dir

    (folder / "mine").mkdir()
    (folder / "mine" / "config.yaml").write_text("a: 1\n")
    with initialize_config_dir(str(folder / "mine"), version_base="1.3"):
        assert load_sweep("toys").seeds == 2
        assert compose("config").a == 1


def test_a_preset_merges_over_the_sweep(toy_sweep):
    sweep = load_sweep("toys", "preset=big")
    assert (sweep.axes, sweep.seeds, sweep.preset) == ({"n": [100, 200]}, 3, "big")
    assert load_sweep("toys", "preset=big", "seeds=1").seeds == 1
    assert load_sweep("toys", "preset=own").executor["kind"] == "ray_local"
    assert load_sweep("toys", "preset=own", "executor=serial").executor["kind"] == "serial"


@pytest.mark.parametrize(
    ("override", "axes", "params"),
    [
        ("params.n=5", {}, {"n": 5}),
        ("params.n=5,6", {"n": [5, 6]}, {}),
        ("params.mode='ok','nan'", {"n": [10, 20, 40, 80], "mode": ["ok", "nan"]}, {}),
        ("params.n=range(1,4)", {"n": "range(1,4)"}, {}),
        ("params.n=range(start=1,stop=4)", {"n": [1, 2, 3]}, {}),
        ("params.n=linspace(1, 9, 3)", {"n": "linspace(1, 9, 3)"}, {}),
        ("params.n='floor(sqrt(range(1, 9)))'", {"n": "floor(sqrt(range(1, 9)))"}, {}),
        ("axes.n=[7]", {"n": [7]}, {}),
        ("params.scale=0.5", {"n": [10, 20, 40, 80]}, {"scale": 0.5}),
        ("params.scale=1e-3,2", {"n": [10, 20, 40, 80], "scale": [1e-3, 2]}, {}),
        ("+params.mode=nan", {"n": [10, 20, 40, 80]}, {"mode": float("nan")}),
        ("params.mode='nan'", {"n": [10, 20, 40, 80]}, {"mode": "nan"}),
        ("~axes.n", {}, {}),
    ],
)
def test_overrides(toy_sweep, override, axes, params):
    sweep = load_sweep("toys", override)
    assert sweep.axes == axes
    assert str(sweep.params) == str(params)
    assert sweep.overrides == (override,)


def test_an_override_reaches_into_blocks_and_derived_fields(write):
    write(
        "blocks",
        """
        experiment: toys:pair
        axes:
          - zip: {n_target: [4, 8], n_compressed: [2, 3]}
          - ratio: [1, 2]
        derive: {width: 3 * ratio}
        """,
    )
    pinned = load_sweep("blocks", "params.n_compressed=1")
    assert pinned.axes == [{"zip": {"n_target": [4, 8]}}, {"ratio": [1, 2]}]
    assert pinned.params == {"n_compressed": 1}
    assert load_sweep("blocks", "~axes.zip").axes == [{"ratio": [1, 2]}]
    other = load_sweep("blocks", "axes.zip={n_target: [9], n_compressed: [1]}").axes
    assert other == [{"zip": {"n_target": [9], "n_compressed": [1]}}, {"ratio": [1, 2]}]
    plain = load_sweep("blocks", "params.width=7")
    assert plain.derive == {}
    assert plain.axes == [{"zip": {"n_target": [4, 8], "n_compressed": [2, 3]}}]  # no ratio left
    assert load_sweep("blocks", "params.ratio=5").axes[-1] == {"ratio": [5]}
    assert len(load_sweep("blocks", "params.ratio=1,2,3").plan()) == 6


def test_presets_take_over_what_they_name(write):
    write(
        "taken",
        """
        experiment: toys:pair
        params: {kernel: 2, width: 7}
        axes: {n_target: [4, 8], n_compressed: [2]}
        derive: {rate: n_target / 2}
        executor: serial
        presets:
          pin: {params: {n_target: 6}}
          span: {axes: {width: [1, 2]}}
          plain: {params: {rate: 1.5}, executor: {device: cuda}}
          blocks: {axes: [{n_target: [4]}, {n_compressed: [1, 3]}]}
        """,
    )
    assert [len(load_sweep("taken", f"preset={p}").plan()) for p in ("pin", "span", "blocks")] == [
        1, 4, 2
    ]  # fmt: skip
    plain = load_sweep("taken", "preset=plain")
    assert plain.plan().params["rate"].tolist() == [1.5, 1.5]
    assert (plain.executor["kind"], plain.executor["device"]) == ("serial", "cuda")
    assert load_sweep("taken", "executor.kind=ray_local").executor["kind"] == "ray_local"


def test_a_frozen_config_is_a_sweep_again(toy_sweep, folder):
    import lawsweep

    big = load_sweep("toys", "preset=big")
    lawsweep.run(big)
    again = load_sweep(f"{big.folder}/sweep.yaml")
    assert again.plan().run_ids == load_sweep("toys", "preset=big").plan().run_ids


def test_an_expression_cut_by_braces_is_explained(write):
    write("braces", "experiment: toys:toy\naxes: {n: range(1, 4)}\n")
    with pytest.raises(InvalidValueError, match="in braces, put it in quotes"):
        load_sweep("braces").plan()


@pytest.mark.parametrize("name", ["123", "true", "null", "a b", "a=b, (c)", "λ"])
def test_any_file_name_is_a_sweep_name(write, name):
    write(name, "experiment: toys:toy\nparams: {n: 3}\n")
    assert load_sweep(f"sweeps/{name}.yaml").name == name


def test_points_come_from_a_file_and_into_the_record(write, folder):
    (folder / "grid.csv").write_text("n,scale\n3,0.5\n5,2\n")
    write("filed", "experiment: toys:toy\naxes: {points: grid.csv}\n")
    sweep = load_sweep("filed")
    assert sweep.config["axes"] == {"points": {"n": [3, 5], "scale": [0.5, 2.0]}}
    assert len(sweep.plan()) == 2
    assert load_sweep("filed", "params.scale=1").plan().params["n"].tolist() == [3, 5]
    for text, message in [("", "Cannot read|holds no points"), ("n\n", "holds no points")]:
        (folder / "grid.csv").write_text(text)
        with pytest.raises(LawsweepError, match=message):
            load_sweep("filed")
    (folder / "grid.csv").write_text("n\n")
    write("lost", "experiment: toys:toy\naxes: {points: none.parquet}\n")
    with pytest.raises(LawsweepError, match="There is no points file none"):
        load_sweep("lost")


TEXTS = ["010", "1e3", "true", "nan", "2020-01-01", "${oc.env:HOME}", r"a\\\${b}", "NA", "12:30"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_the_cells_of_a_points_file_are_what_their_params_are(write, folder, suffix):
    from lawsweep.store.exchange.export import write_table

    kernels = pa.table({"kernel": TEXTS, "n_target": range(1, 10), "half": [0.5] * 9})
    write_table(kernels, folder / f"grid.{suffix}")
    write(
        "filed",
        f"experiment: toys:pair\naxes: {{points: grid.{suffix}}}\nparams: {{n_compressed: 0}}\n"
        "derive: {rate: 2 * half}\n",
    )
    sweep = load_sweep("filed")
    assert sweep.config["axes"]["points"]["kernel"] == TEXTS
    plan = sweep.plan()
    assert plan.params["kernel"].tolist() == TEXTS
    assert plan.params["rate"].tolist() == [1.0] * 9
    SweepFolder(sweep.folder).freeze(plan, sweep.record())
    again = load_sweep(str(sweep.folder / "sweep.yaml"))
    assert again.plan().run_ids == plan.run_ids


def test_a_points_file_of_very_many_columns_is_refused_at_once(write, folder):
    names = ",".join(f"c{i}" for i in range(100_000))
    (folder / "grid.csv").write_text(f"{names}\n{'1,' * 99_999}1\n")
    write("filed", "experiment: toys:toy\naxes: {points: grid.csv}\n")
    started = time.process_time()
    with pytest.raises(LawsweepError, match="100,000 columns, and at most 1,000"):
        load_sweep("filed")
    assert time.process_time() - started < 20  # a minute before


def test_nested_settings(toy_sweep):
    sweep = load_sweep("toys", "on_failure.timeout_s=5", "executor=ray_local", "executor.n_cpus=1")
    assert sweep.on_failure.timeout_s == 5
    assert sweep.executor == {
        "kind": "ray_local", "n_cpus": 1, "n_gpus": None, "cpus_per_task": 1, "gpus_per_task": 0,
        "fuse": True, "max_fused": None, "shards": None, "gpu_memory_bytes": None,
    }  # fmt: skip
    assert load_sweep("toys", "seeds=[3,4]").seeds == [3, 4]
    assert load_sweep("toys", "seeds=3,4").seeds == [3, 4]


def test_a_users_own_conf_folder_adds_to_ours(toy_sweep, folder):
    (folder / "conf" / "executor").mkdir(parents=True)
    (folder / "conf" / "executor" / "mine.yaml").write_text("kind: ray_local\nn_cpus: 1\n")
    assert load_sweep("toys", "executor=mine").executor == {"kind": "ray_local", "n_cpus": 1}


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("toyz",), UnknownNameError, "Unknown sweep 'toyz'. Did you mean 'toys'"),
        (("sweeps/none.yaml",), UnknownNameError, "There is no sweep file sweeps/none.yaml"),
        (("toys", "preset=bigg"), UnknownNameError, "Did you mean 'big'"),
        (("toys", "sseds=3"), UnknownNameError, "Did you mean 'seeds'"),
        (("toys", "executor=seral"), UnknownNameError, "Did you mean 'serial'"),
        (("toys", "experiment=toys:tyo"), UnknownNameError, "Did you mean 'toy'"),
        (("toys", "params.m=3"), UnknownNameError, "Unknown param 'm' in experiment toy"),
        (("toys", "on_failure.timeout=3"), UnknownNameError, "Did you mean 'timeout_s'"),
        (("toys", "seeds"), InvalidValueError, "written key=value, got 'seeds'"),
        (("toys", "params.n=[1"), InvalidValueError, r"Cannot read the override 'params.n=\[1'"),
        (("toys", "params.n=interval(1,2)"), InvalidValueError, "has no list of values"),
        (("toys", "results_dir=a,b"), InvalidValueError, "only params, axes and seeds"),
        (("toys", "~axes.nn"), UnknownNameError, "Did you mean 'n'"),
        (("toys", "~params.zz"), UnknownNameError, "Unknown param 'zz'"),
        (("toys", "derive.zz=null"), UnknownNameError, "Unknown key 'zz'"),
        (("toys", "params.n=glob(*)"), InvalidValueError, "has no list of values"),
        (("toys", "preset=[big]"), UnknownNameError, "Unknown preset"),
        (("toys", "seeds.x=1"), InvalidValueError, "goes into 'seeds'"),
        (("toys", "params.n=a"), InvalidValueError, "n must be int, got 'a'"),
        (("toys", "max_points=3"), InvalidValueError, "span 4 points, more than the limit of 3"),
    ],
)
def test_bad_command_lines(toy_sweep, words, error, message):
    with pytest.raises(error, match=message) as caught:
        load_sweep(*words).plan()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiment: [", "line 1 is not YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("experimnt: toys:toy\n", "Did you mean 'experiment'"),
        ("experiment: toys:toy\npresets: {a: {axs: {}}}\npreset: a\n", "Did you mean 'axes'"),
        ("experiment: toys:toy\npresets: {a: {}, b: {axs: {}}}\n", "in preset b .* mean 'axes'"),
        ("experiment: toys:toy\npresets: {a: {preset: b}, b: }\n", "a of .* another preset"),
        ("experiment: toys:toy\nparams: ${nowhere}\n", "Cannot compose sweep bad"),
        ("experiment: toys:toy\naxes: {n: [1]}\naxes: {n: [2]}\n", "duplicate key axes"),
        ("experiment: toys:toy\nparams: [1]\n", "params of the sweep file .* must be a mapping"),
        ("experiment: toys:toy\naxes: {a: &x {b: *x}}\n", "refers to itself|is not YAML|not"),
        ("", "names no experiment|must be a mapping"),
    ],
)
def test_bad_sweep_files(write, text, message):
    write("bad", text)
    with pytest.raises(LawsweepError, match=message) as caught:
        load_sweep("bad")
    assert "\n" not in str(caught.value)


def test_the_shipped_sweeps_plan(folder):
    names = {"smoke", "ntk_width", "compression_gap", "etf_geometry", "memorization_phase"}
    assert names <= set(sweep_names())


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        (name, preset)
        for name in ("ntk_width", "compression_gap", "etf_geometry", "memorization_phase")
        for preset in (None, "paper")
    ],
)
def test_every_preset_of_the_shipped_sweeps_plans(folder, name, preset):
    from lawsweep.study.study import Study

    chosen = load_sweep(name, *([f"preset={preset}"] if preset else []))
    assert len(Study(chosen).plan) > 10
    assert chosen.figures
    assert yaml.safe_dump(dict(chosen.config))


def test_every_shipped_fit_and_figure_has_a_short_name_of_its_own():
    from lawsweep.config.files import data_folder

    for path in sorted(data_folder("sweeps").glob("*.yaml")):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        presets = (config.get("presets") or {}).values()
        for part in (config, *presets):
            for key in ("fits", "figures"):
                names = [entry.get("name") for entry in part.get(key) or ()]
                assert None not in names, (path.name, key)
                assert len(set(names)) == len(names), (path.name, key)
                assert max(map(len, names), default=0) <= 20, (path.name, key)
