"""What is written in YAML or on the command line is what a param gets, or it is refused."""

from __future__ import annotations

import time

import pytest
import yaml

from lawsweep.config.compose import load_sweep
from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.store.exchange.yaml_text import check_yaml, read_yaml, write_yaml

AS_WRITTEN = [
    "017", "010", "08", "12:30:45", "1:30.5", "0x1f", "0b101", "0o17", "1_000", "+5", "-0",
    "2020-01-01", "2020-01-01 10:00:00", "no", "yes", "on", "Off", "y", "None", "nan", "inf", "1e",
    "17",
]  # fmt: skip
REFUSED = ["1e3", "1.5", ".5", "1.", "true", "False", ".nan", ".inf", "null", "~", ""]


def planned(write, text, *overrides):
    write("scalars", f"experiment: text_toy:kinds\n{text}\n")
    plan = load_sweep("scalars", *overrides).plan()
    return {name: column.tolist() for name, column in plan.params.items()}


PLACES = [
    "params: {{name: {}}}",
    "axes: {{name: [{}, other]}}",
    "axes: {{zip: {{name: [{}], count: [3]}}}}",
    "axes: {{points: [{{name: {}, count: 3}}]}}",
    "axes: {{union: [{{params: {{name: {}}}}}]}}",
    "preset: p\npresets: {{p: {{params: {{name: {}}}}}}}",
    "preset: p\npresets: {{p: {{axes: {{name: [{}]}}}}}}",
]


@pytest.mark.parametrize("k", range(len(PLACES)))
def test_text_is_as_written_wherever_it_stands(write, k):
    for text in AS_WRITTEN[k :: len(PLACES)]:
        assert planned(write, PLACES[k].format(text))["name"][0] == text
    assert planned(write, PLACES[k].format('"1e3"'))["name"][0] == "1e3"


def test_texts_of_an_axis_are_as_written(write):
    assert planned(write, f"axes: {{name: [{', '.join(AS_WRITTEN)}]}}")["name"] == AS_WRITTEN


@pytest.mark.parametrize("text", REFUSED)
def test_what_yaml_has_a_type_for_is_refused_as_text_and_told_to_be_quoted(write, text):
    with pytest.raises(InvalidValueError, match=r"name must be str, got .* Quote it"):
        planned(write, f"params: {{name: {text}}}")
    assert planned(write, f"params: {{name: '{text}'}}")["name"] == [text]
    if text in ("null", "~", ""):
        assert planned(write, f"params: {{label: {text}}}")["label"] == [None]


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("count", "017", "count must be int, got '017' .*Write 17"),
        ("count", "1_000", "Write 1000"),
        ("count", "12:30:45", "count must be int, got '12:30:45'"),
        ("count", "0x1f", "count must be int, got '0x1f'"),
        ("rate", "010", "rate must be float, got '010' .*Write 10"),
        ("rate", "1:30.5", "rate must be float, got '1:30.5'"),
        ("flag", "yes", "flag must be bool, got 'yes' .*Write true or false"),
        ("flag", "off", "Write true or false"),
        ("words", "[a, null]", "words must be list of str"),
    ],
)
def test_a_number_or_truth_that_is_not_plainly_one_is_refused(write, field, text, message):
    with pytest.raises(InvalidValueError, match=message):
        planned(write, f"params: {{{field}: {text}}}")


def test_plain_numbers_and_truths_are_what_they_were(write):
    text = "params: {count: -12, rate: 1e-3, flag: true, words: [017, b]}"
    assert planned(write, text) == {
        "count": [-12], "rate": [0.001], "flag": [True], "words": [("017", "b")]
    }  # fmt: skip
    for spelled, value in [("5.", 5.0), (".5e2", 50.0), ("1E+2", 100.0), ("3", 3.0), ("-.5", -0.5)]:
        assert planned(write, f"params: {{rate: {spelled}}}")["rate"] == [value]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("params.name=017", ["017"]),
        ("params.name=12:30:45", ["12:30:45"]),
        ("params.name=no", ["no"]),
        ("params.name=0x1f", ["0x1f"]),
        ("params.name=2", ["2"]),
        ("params.name=010,12", ["010", "12"]),
        ("params.name='1_000'", ["1_000"]),
        ("params.name='1e3'", ["1e3"]),
        ("axes.name=[7,x]", ["7", "x"]),
    ],
)
def test_text_on_the_command_line_is_as_written(write, override, expected):
    assert planned(write, "", override)["name"] == expected


@pytest.mark.parametrize(
    "override",
    [
        "params.name=1_000", "params.name=+5", "params.name=1_0,'1_0'", "params.name=1e3",
        "params.name=null", "params.name=true", "axes.name=[1_0,2]", "params.words=[1_0]",
    ],
)  # fmt: skip
def test_what_would_change_on_the_command_line_is_told_to_be_quoted(write, override):
    with pytest.raises(InvalidValueError, match="Quote it"):
        planned(write, "", override)


def test_a_whole_number_may_have_underscores_on_the_command_line(write):
    assert planned(write, "", "params.count=1_000,+5")["count"] == [1000, 5]


def test_a_conf_group_of_the_users_is_refused_where_it_would_be_read_otherwise(write, folder):
    member = folder / "conf" / "experiment" / "text_toy:kinds.yaml"
    member.parent.mkdir(parents=True)
    (folder / "conf" / "executor").mkdir()
    mine = folder / "conf" / "executor" / "mine.yaml"
    for text in ("kind: serial\nfuse: no\n", "kind: serial\nmax_fused: 010\n"):
        mine.write_text(text)
        with pytest.raises(InvalidValueError, match=r"mine\.yaml line 2: YAML reads .*Quote it"):
            planned(write, "", "executor=mine")
    mine.write_text("kind: serial\nfuse: false\n")
    assert planned(write, "", "executor=mine") == {}
    check_yaml("a: [1, 1e3, 'no', 2020-01-01, true, .5]")


def test_points_of_a_csv_file_are_text_as_written(write, folder):
    (folder / "grid.csv").write_text("name,label,count\n010,,3\n1e3,007,4\n")
    found = planned(write, "axes: {points: grid.csv}")
    assert found == {"name": ["010", "1e3"], "label": [None, "007"], "count": [3, 4]}
    (folder / "long.csv").write_text("count\n" + "\n".join(map(str, range(50))) + "\n")
    with pytest.raises(InvalidValueError, match="holds 50 points, more than the limit of 20"):
        planned(write, "axes: {points: long.csv}\nmax_points: 20")


def test_what_is_written_is_read_back():
    values = [*AS_WRITTEN, *REFUSED, 1e3, 1e-7, -0.0, 12, True, None, float("inf"), "a\nb", "ä: #"]
    assert read_yaml(write_yaml({"a": values}))["a"] == values
    # By others too: what is text stays text to a reader of YAML 1.1.
    assert yaml.safe_load(write_yaml({"a": AS_WRITTEN}))["a"] == AS_WRITTEN


def test_a_text_goes_into_the_record_and_back(write, folder):
    import lawsweep

    text = "params: {name: '1e3', label: no}\nexecutor: serial"
    before = planned(write, text)
    lawsweep.run(load_sweep("scalars"))
    again = load_sweep("results/sweeps/scalars/sweep.yaml")
    assert {n: c.tolist() for n, c in again.plan().params.items()} == before


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 100,000 values through its aliases"),
        ("a: &x {b: *x}", "refers to itself"),
        ("a: " + "[" * 20_000 + "]" * 20_000, "more than 100 levels deep"),
        ("".join("  " * i + "a:\n" for i in range(500)), "more than 100 levels deep"),
        ("a: &a [1]\nb: {<<: [" + ", ".join(["*m"] * 3) + "]}", "is not YAML"),
    ],
)
def test_a_bomb_is_refused_before_it_is_built(write, text, message):
    write("bomb", f"experiment: text_toy:kinds\naxes:\n{text}")
    start = time.process_time()
    with pytest.raises(LawsweepError, match=message) as caught:
        load_sweep("bomb")
    assert time.process_time() - start < 10  # it was 120 s, or memory without end
    assert "\n" not in str(caught.value)


def test_a_few_aliases_are_fine():
    assert read_yaml("a: &a {b: 1}\nc: [*a, *a]\nd: {<<: *a, e: 2}")["d"] == {"b": 1, "e": 2}


def test_a_bomb_of_interpolations_is_refused_before_it_is_resolved(write):
    lines = ["k0: [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 12):
        ten = ", ".join([f'"${{params.k{i - 1}}}"'] * 10)
        lines.append(f"k{i}: [{ten}]")
    write("bomb", "experiment: text_toy:kinds\nparams:\n  " + "\n  ".join(lines))
    start = time.process_time()
    with pytest.raises(InvalidValueError, match="interpolations make it grow by more than 100,000"):
        load_sweep("bomb")
    assert time.process_time() - start < 20
    head = "experiment: text_toy:kinds\nparams: "
    write("few", head + '{words: [a, b]}\naxes: {label: "${params.words}"}')
    assert load_sweep("few").axes == {"label": ["a", "b"]}
    write("loop", head + '{name: "${params.label}", label: "${params.name}"}')
    with pytest.raises(LawsweepError, match="Cannot compose sweep loop"):
        load_sweep("loop")
