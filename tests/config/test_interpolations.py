"""``${…}`` means what a user of Hydra expects: on the command line, in files, under overrides."""

from __future__ import annotations

import json

import pytest

from lawsweep.config.compose import load_sweep
from lawsweep.core.errors import InvalidValueError, LawsweepError, UnknownNameError

NAMED = """
    experiment: text_toy:kinds
    params: {name: relu, rate: 0.5}
    axes: {count: [1, 2]}
    executor: serial
    results_dir: results/${params.name}
    figures: [{kind: scatter, x: count, y: y, title: "${params.name} at ${params.rate}"}]
"""


def test_what_an_override_pins_is_what_is_named(write):
    write("named", NAMED)
    plain = load_sweep("named")
    assert (plain.results_dir, plain.figures[0]["title"]) == ("results/relu", "relu at 0.5")
    pinned = load_sweep("named", "params.name=tanh", "params.rate=2")
    assert (pinned.results_dir, pinned.figures[0]["title"]) == ("results/tanh", "tanh at 2")
    assert pinned.config["results_dir"] == "results/tanh"
    assert load_sweep("named", "results_dir='out/${params.name}'").results_dir == "out/relu"


def test_a_preset_and_a_conf_file_are_named_too(write, folder):
    write("named", NAMED + "    presets: {p: {params: {name: gelu}}}\n")
    assert load_sweep("named", "preset=p").results_dir == "results/gelu"
    assert load_sweep("named", "preset=p", "params.name=tanh").results_dir == "results/tanh"
    (folder / "conf/executor").mkdir(parents=True)
    (folder / "conf/executor/mine.yaml").write_text("kind: serial\nmax_fused: ${params.count}\n")
    assert load_sweep("named", "executor=mine", "params.count=7").executor["max_fused"] == 7


def test_interpolations_of_interpolations(write):
    write(
        "nested",
        """
        experiment: text_toy:kinds
        params: {name: a, label: "${.name}${.name}", words: ["${params.label}", b]}
        axes: {count: "${seeds}"}
        seeds: [3, 4]
        fits: [{law: power, x: count, y: y, name: "${params.words[0]}"}]
        """,
    )
    sweep = load_sweep("nested", "params.name=x")
    assert sweep.params == {"name": "x", "label": "xx", "words": ["xx", "b"]}
    assert sweep.axes == {"count": [3, 4]}
    assert sweep.fits[0]["name"] == "xx"
    assert load_sweep("nested", "seeds=[5]").axes == {"count": [5]}


def test_the_environment_is_read_on_the_command_line_too(write, folder, monkeypatch, lawsweep):
    write("named", NAMED)
    monkeypatch.setenv("SOME_HOME", str(folder / "elsewhere"))
    assert load_sweep("named", "results_dir='${oc.env:SOME_HOME}/x'").results_dir == str(
        folder / "elsewhere/x"
    )
    assert load_sweep("named", "results_dir='${oc.env:NOT_SET,here}'").results_dir == "here"
    assert load_sweep("named", "params.label='${params.name}2'").params["label"] == "relu2"
    code, _, err = lawsweep("run", "named", "params.count=1", "results_dir='${oc.env:SOME_HOME}'")
    assert code == 0, err
    assert (folder / "elsewhere/tables/kinds").is_dir()
    assert not [p for p in folder.iterdir() if "$" in p.name]
    (run_id,) = load_sweep("named", "params.count=1").plan().run_ids
    code, out, _ = lawsweep("show", run_id, "--json", "results_dir='${oc.env:SOME_HOME}'")
    assert (code, json.loads(out)["run_id"]) == (0, run_id)


def test_a_number_from_the_environment_is_one_where_the_field_is(write, monkeypatch):
    monkeypatch.setenv("A_NUMBER", "2")
    monkeypatch.setenv("A_FLOAT", "1e-3")
    monkeypatch.setenv("A_TRUTH", "true")
    write(
        "numbers",
        """
        experiment: text_toy:kinds
        params:
          rate: ${oc.env:A_FLOAT}
          flag: ${oc.env:A_TRUTH}
          name: ${oc.env:A_NUMBER}
        axes:
          count: ["${oc.env:A_NUMBER}", "${oc.env:NOT_SET,5}"]
          zip: {label: ["${oc.env:A_NUMBER}"], free: ["${oc.env:A_NUMBER}"]}
        where: [free > 1]
        seeds: ${oc.env:A_NUMBER}
        max_points: ${oc.env:A_NUMBER}
        executor: {kind: "${oc.env:AN_EXECUTOR,serial}", max_fused: "${oc.env:A_NUMBER}"}
        on_failure: {max_attempts: "${oc.env:A_NUMBER}", timeout_s: "${oc.env:NOT_SET,null}"}
        """,
    )
    sweep = load_sweep("numbers")
    plan = sweep.plan()
    assert sweep.params == {"rate": 1e-3, "flag": True, "name": "2"}
    assert plan.params["count"].tolist() == [2, 5]
    assert plan.params["label"].tolist() == ["2", "2"]
    assert plan.extra["free"].tolist() == [2, 2]
    assert (sweep.seeds, sweep.max_points, sweep.executor["max_fused"]) == (2, 2, 2)
    assert (sweep.on_failure.max_attempts, sweep.on_failure.timeout_s) == (2, None)
    assert load_sweep("numbers", "params.count='${oc.env:A_NUMBER}'").plan().params[
        "count"
    ].tolist() == [2]
    monkeypatch.setenv("A_NUMBER", "many")
    for override, message in [
        ("executor.max_fused=1", r"on_failure\.max_attempts must be a whole .* got 'many'"),
        ("on_failure.max_attempts=1", r"executor\.max_fused must be a whole .* got 'many'"),
    ]:
        with pytest.raises(InvalidValueError, match=message):
            load_sweep("numbers", "seeds=1", "max_points=9", override)
    monkeypatch.setenv("A_NUMBER", "2")
    monkeypatch.setenv("A_FLOAT", "a lot")
    with pytest.raises(InvalidValueError, match="rate must be float, got 'a lot'"):
        load_sweep("numbers").plan()


def test_a_param_at_its_default_is_named_and_not_given(write):
    write("named", NAMED.replace("name: relu, ", ""))
    sweep = load_sweep("named")
    assert sweep.results_dir == "results/x"  # the default of text_toy:kinds
    assert sweep.params == {"rate": 0.5}
    assert load_sweep("named", "params.name=tanh").results_dir == "results/tanh"


def test_a_swept_param_reads_as_its_values_in_a_title_and_nowhere_else(write):
    write("named", NAMED.replace("results/${params.name}", "results"))
    title = load_sweep("named", "params.name=relu,tanh").figures[0]["title"]
    assert title == "relu, tanh at 0.5"
    title = load_sweep("named", "params.rate=linspace(0, 1, 3)").figures[0]["title"]
    assert title == "relu at linspace(0, 1, 3)"
    write("named", NAMED)
    message = r"results_dir names \$\{params.name\}, and name is swept, so it has no one value"
    with pytest.raises(InvalidValueError, match=message):
        load_sweep("named", "params.name=relu,tanh")
    swept = load_sweep("named", "params.name=relu,tanh", "results_dir=here")
    assert (swept.results_dir, len(swept.plan())) == ("here", 4)
    write("named", NAMED + "    derive: {label: 2 * count}\n    where: ${params.label} == 2\n")
    with pytest.raises(InvalidValueError, match=r"where names .*params\.label.*is derived"):
        load_sweep("named")


def test_a_title_about_an_axis_that_is_gone_stops_no_run(write):
    figures = """
    figures:
      - {kind: scatter, x: count, y: y, title: "at ${axes.count}"}
      - {kind: scatter, x: rate, y: y, title: "at ${params.name}"}
"""
    text = NAMED[: NAMED.index("    figures")] + figures
    write("named", text)
    assert load_sweep("named").figures[0]["title"] == "at [1, 2]"
    sweep = load_sweep("named", "params.count=3", "params.name=tanh")
    assert [f["title"] for f in sweep.figures] == ["at tanh"]
    assert sweep.notes == (
        "figures[0] is left out: figures[0].title names ${axes.count}, and there is no "
        "axes.count. Did you mean ${params.count}?",
    )
    write("named", text.replace("axes.count", "axes.cuont"))  # a slip in the file itself
    with pytest.raises(InvalidValueError, match=r"names \$\{axes.cuont\}"):
        load_sweep("named", "params.count=3")


def test_overrides_reach_what_is_interpolated(write):
    write(
        "within",
        """
        experiment: text_toy:kinds
        params: {label: "2"}
        axes:
          - {ratio: [1, 2, 3]}
          - sample: {n: 4, box: "${search}"}
          - union: [{params: {name: u}}, {axes: {flag: [true]}}]
        derive: {count: "${params.label} * ratio"}
        search: {rate: [0, 1]}
        """,
    )
    plain = load_sweep("within", "search=null")
    assert sorted(plain.plan().params["count"]) == [2] * 8 + [4] * 8 + [6] * 8
    assert load_sweep("within", "search=null", "params.label='3'").derive == {"count": "3 * ratio"}
    # What only the derived field read goes with it.
    pinned = load_sweep("within", "search=null", "params.count=5", "params.rate=1")
    assert pinned.axes == [{"union": plain.axes[2]["union"]}]


def test_blocks_and_points_files_may_be_interpolated(write, folder):
    (folder / "grid_b.csv").write_text("count,rate\n3,0.5\n5,2\n")
    write(
        "blocks",
        """
        experiment: text_toy:kinds
        params: {name: a, words: [u, v]}
        axes:
          - points: grid_${params.name}.csv
          - union: [{axes: {zip: "${fits[0]}"}}, {axes: {label: "${params.words}"}}]
        fits: [{label: [p, q]}]
        """,
    )
    with pytest.raises(LawsweepError, match=r"There is no points file grid_a\.csv"):
        load_sweep("blocks")
    sweep = load_sweep("blocks", "params.name=b", "fits=[]", "params.rate=1")
    assert sweep.axes[0] == {"points": {"count": [3, 5]}}
    assert len(sweep.plan()) == 2 * 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("executor.n_cpus=1", "Unknown option 'n_cpus' in executor serial"),
        ("executor=ray_local executor.n_cpus=1.5", "executor.n_cpus must be a whole number"),
        ("executor.fuse=1", "executor.fuse must be true or false, got 1"),
        ("store.comit_every_s=1", "Unknown option 'comit_every_s' in store"),
        ("store.patience_s=long", "store.patience_s must be seconds from 0 to 86,400, got 'long'"),
        ("store=object_store", "store=object_store needs results_dir=s3://"),
        ("on_failure.stop_after=true", "on_failure.stop_after must be a whole number from 0"),
        ("search={axis: count, event: 'y > 1', batch: 0}", "search.batch must be a whole number"),
        ("executor=serial,ray_local", r"executor must be a name or a mapping, got \['serial'"),
        ("executor=[serial]", r"executor must be a name or a mapping, got \['serial'\]"),
        ("executor={kind:[serial]}", "executor must be a name or a mapping"),
        ("store=[local]", "store must be a name or a mapping"),
        ("derive=3", "derive must be a mapping of names to values, got 3"),
        ("params=3", "params must be a mapping of names to values, got 3"),
        ("derive=[a]", r"derive must be a mapping of names to values, got \['a'\]"),
    ],
)
def test_options_are_typed_by_their_owners(write, override, message):
    write("named", NAMED)
    with pytest.raises(LawsweepError, match=message) as caught:
        load_sweep("named", *override.split(" ") if "{" not in override else [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("results_dir: ${params.nam}", r"names \$\{params.nam\}, .* Did you mean \$\{params.name"),
        ("results_dir: ${oc.env:NOT_SET}", "reads the environment variable NOT_SET, which is not"),
        ("results_dir: ${nowhere:x}", "nowhere"),
        ("results_dir: '${params.name'", "Cannot compose sweep wrong|is not YAML"),
        ("seeds: ${seeds}", "seeds names itself, by what it stands for"),
    ],
)
def test_what_stands_for_nothing_is_one_sentence(write, line, message):
    write("wrong", f"experiment: text_toy:kinds\nparams: {{name: a}}\n{line}\n")
    with pytest.raises(InvalidValueError, match=message) as caught:
        load_sweep("wrong")
    assert "\n" not in str(caught.value)


def test_an_escaped_interpolation_is_text(write):
    write("escaped", "experiment: text_toy:kinds\nparams: {name: '\\${params.x}'}\n")
    assert load_sweep("escaped").params == {"name": "${params.x}"}


@pytest.mark.parametrize("header", ["", "# @package _global_\n"])
@pytest.mark.parametrize("experiment", ["text_toy:kinds", "compression"])
def test_what_conf_says_of_an_experiment_comes_before_the_sweep(write, folder, header, experiment):
    name = "kinds" if ":" in experiment else experiment
    (folder / "conf/experiment").mkdir(parents=True)
    field = "count" if ":" in experiment else "input_dim"
    (folder / f"conf/experiment/{name}.yaml").write_text(
        f"{header}params: {{{field}: 7}}\nseeds: 3\nexecutor: {{max_fused: 5}}\n"
    )
    write("mine", f"experiment: {experiment}\nexecutor: serial\nseeds: 4\n")
    sweep = load_sweep("mine")
    assert (sweep.params, sweep.seeds, sweep.executor["max_fused"]) == ({field: 7}, 4, 5)
    # What the sweep spans is no longer what was fixed there.
    write("mine", f"experiment: {experiment}\nexecutor: serial\naxes: {{{field}: [8, 9]}}\n")
    sweep = load_sweep("mine")
    assert (sweep.params, sweep.axes, sweep.seeds) == ({}, {field: [8, 9]}, 3)
    assert load_sweep("mine", f"params.{field}=4").params == {field: 4}
    (folder / f"conf/experiment/{name}.yaml").write_text(f"{header}parms: {{{field}: 7}}\n")
    with pytest.raises(UnknownNameError, match="Unknown key 'parms'"):
        load_sweep("mine")


def test_a_conf_file_of_a_shipped_name_is_told_and_not_passed_over(write, folder):
    (folder / "conf/executor").mkdir(parents=True)
    (folder / "conf/executor/serial.yaml").write_text("kind: serial\nmax_fused: 3\n")
    write("mine", "experiment: text_toy:kinds\nexecutor: serial\n")
    with pytest.raises(InvalidValueError, match=r"serial.yaml has the name .* Call yours"):
        load_sweep("mine")


def test_a_secret_of_the_environment_stays_out_of_records(write, monkeypatch, lawsweep, folder):
    monkeypatch.setenv("SOME_API_TOKEN", "pl4nted-secret")
    monkeypatch.setenv("PLAIN_NAME", "pl4nted-value")
    write(
        "hidden",
        """
        experiment: text_toy:kinds
        params: {count: 1}
        executor:
          kind: ray_cluster
          runtime_env: {env_vars: {A: "${oc.env:PLAIN_NAME}"}}
        figures: [{kind: scatter, x: count, y: y, title: "by ${oc.env:SOME_API_TOKEN}"}]
        """,
    )
    sweep = load_sweep("hidden")
    assert sweep.executor["runtime_env"] == {"env_vars": {"A": "pl4nted-value"}}
    assert "pl4nted" not in json.dumps(sweep.record())
    code, out, err = lawsweep("plan", "hidden", "--json")
    assert code == 0
    assert "pl4nted" not in out + err


@pytest.mark.parametrize(
    ("name", "overrides", "variant"),
    [
        ("ntk_width", [], ""),
        ("ntk_width", ["executor=serial", "results_dir=x"], ""),
        ("ntk_width", ["seeds=20"], "d1582d"),
        ("ntk_width", ["preset=paper", "seeds=3"], "2e253e"),
        ("ntk_width", ["params.activation=tanh"], "0365f1"),
        ("ntk_width", ["params.activation=tanh,relu"], "f32698"),
        ("compression_gap", ["params.input_dim=linspace(5,50,4)"], "0712db"),
        ("compression_gap", ["~axes.n_compressed", "params.n_compressed=3"], "966e96"),
        ("smoke", ["seeds=range(2,5)"], "66cbe1"),
        ("memorization_phase", ["derive.width=null", "params.width=8"], "0fae7c"),
        ("memorization_threshold", ["search.tolerance=0.1", "search.max_runs=80"], "36c7fc"),
        ("smoke_compression", ["axes.input_dim=[5,7]"], "947546"),
    ],
)
def test_folders_of_overrides_keep_their_names(folder, name, overrides, variant):
    assert load_sweep(name, *overrides).variant == variant
