import subprocess
import sys

import pytest

from lawsweep.analysis.figures.base import COMMON
from lawsweep.analysis.figures.kinds import KINDS, find_kind, parse_figures
from lawsweep.analysis.figures.specs import LineSpec
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import InvalidValueError, UnknownNameError

COLUMNS = ["n_samples", "input_dim", "seed", "lambda_min", "gap", "status", "predicted_gap"]
POWER = {"law": "power", "x": "input_dim**2", "y": "lambda_min"}
CURVE = {"kind": "curve", "x": "input_dim", "y": "gap"}
HEATMAP = {"kind": "heatmap", "x": "n_samples", "y": "input_dim", "z": "gap"}


def test_a_fit_with_everything():
    entry = {**POWER, "by": "n_samples", "where": "seed < 3", "level": 0.9, "name": "edge"}
    (spec,) = parse_fits([entry], COLUMNS)
    assert spec == FitSpec(
        name="edge",
        law="power",
        x="input_dim**2",
        y="lambda_min",
        by=("n_samples",),
        where="seed < 3",
        level=0.9,
    )


def test_terms_may_be_numbers():
    (spec,) = parse_fits([{"law": "terms", "y": "gap", "terms": ["1/n_samples", 1]}], COLUMNS)
    assert spec.terms == ("1/n_samples", "1")
    assert spec.x is None


def test_no_entries():
    assert parse_fits(None, COLUMNS) == ()
    assert parse_figures([], COLUMNS) == ()


def test_default_names_are_distinct_file_stems():
    specs = parse_figures([CURVE, {**CURVE, "y": "-gap"}, HEATMAP, CURVE], COLUMNS)
    assert [s.name for s in specs] == ["curve_gap", "curve_gap_2", "heatmap_gap", "curve_gap_3"]


def test_a_figure_reads_its_switches_and_lines():
    entry = {
        **CURVE,
        "by": ["n_samples"],
        "band": "none",
        "logx": True,
        "fit": True,
        "lines": [{"y": "predicted_gap", "label": "theory"}],
    }
    (spec,) = parse_figures([entry], COLUMNS)
    assert (spec.band, spec.logx, spec.logy, spec.fit.law) == ("none", True, None, "power")
    assert spec.lines == (LineSpec(y="predicted_gap", label="theory"),)


def test_lines_of_a_heatmap_are_functions_of_x():
    (spec,) = parse_figures([{**HEATMAP, "lines": [{"y": "sqrt(x / 0.72)"}]}], COLUMNS)
    assert spec.lines[0].y == "sqrt(x / 0.72)"
    with pytest.raises(UnknownNameError, match=r"'input_dim' in figures\[0\]\.lines\[0\]\.y"):
        parse_figures([{**HEATMAP, "lines": [{"y": "input_dim"}]}], COLUMNS)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**POWER, "lvel": 0.9}, r"Unknown key 'lvel' in fits\[0\]. Did you mean 'level'"),
        ({**POWER, "law": "powr"}, r"Unknown law 'powr' in fits\[0\]. Did you mean 'power'"),
        ({**POWER, "y": "lamda_min"}, r"Unknown column 'lamda_min' in fits\[0\]\.y. Did you"),
        ({**POWER, "by": "n_sample"}, r"Unknown column 'n_sample' in fits\[0\]\.by. Did you"),
        ({**POWER, "where": "sede < 3"}, r"Unknown column 'sede' in fits\[0\]\.where"),
        ({**POWER, "x": "logg(gap)"}, r"fits\[0\]\.x: Unknown function 'logg'"),
    ],
)
def test_an_unknown_name_says_where_and_the_nearest(entry, message):
    with pytest.raises(UnknownNameError, match=message):
        parse_fits([entry], COLUMNS)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"law": "power", "y": "gap"}, r"fits\[0\] needs x; got \['law', 'y'\]"),
        ({"x": "gap", "y": "gap"}, r"fits\[0\] needs law"),
        ({**POWER, "terms": ["1"]}, r"fits\[0\]: law power takes no terms"),
        ({"law": "terms", "y": "gap", "terms": ["1"], "x": "gap"}, "law terms takes no x"),
        ({"law": "terms", "y": "gap", "terms": "1"}, "must be a list of expressions, got '1'"),
        ({"law": "terms", "y": "gap", "terms": ["1", 1]}, "a list without repeats"),
        ({**POWER, "level": 95}, "between 0 and 1, for example 0.95, got 95"),
        ({**POWER, "level": True}, "between 0 and 1"),
        ({**POWER, "y": "gap +"}, r"fits\[0\]\.y: Cannot read the expression 'gap \+'"),
        ({**POWER, "y": ["gap"]}, r"fits\[0\]\.y must be an expression"),
        ({**POWER, "by": 3}, r"fits\[0\]\.by must be a column or a list of columns, got 3"),
        ({**POWER, "name": "a/b"}, "must be a file name of letters"),
        ("power", r"fits\[0\] must be a mapping of name, law"),
    ],
)
def test_a_bad_fit_is_refused(entry, message):
    with pytest.raises(InvalidValueError, match=message):
        parse_fits([entry], COLUMNS)


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ({**CURVE, "kind": "heat"}, UnknownNameError, "Did you mean 'heatmap'"),
        ({**CURVE, "band": "std"}, UnknownNameError, "Unknown band 'std'"),
        ({**CURVE, "z": "gap"}, InvalidValueError, "kind curve takes no z"),
        ({**HEATMAP, "by": "seed"}, InvalidValueError, "kind heatmap takes no by"),
        ({**CURVE, "logx": "yes"}, InvalidValueError, "must be true or false, got 'yes'"),
        ({**CURVE, "title": ["a"]}, InvalidValueError, "must be text"),
        ({**CURVE, "lines": {"y": "gap"}}, InvalidValueError, "lines must be a list of mappings"),
        ({**CURVE, "lines": [{"label": "a"}]}, InvalidValueError, r"lines\[0\] needs y"),
        ({"kind": "heatmap", "x": "gap", "y": "gap"}, InvalidValueError, "needs z"),
    ],
)
def test_a_bad_figure_is_refused(entry, error, message):
    with pytest.raises(error, match=message):
        parse_figures([entry], COLUMNS)


def test_a_mapping_in_place_of_the_list_is_refused():
    with pytest.raises(InvalidValueError, match="fits must be a list of mappings"):
        parse_fits(POWER, COLUMNS)


def test_parsing_and_completeness_import_nothing_heavy():
    code = (
        "import sys\n"
        "from lawsweep.analysis import completeness\n"
        "from lawsweep.analysis.figures import kinds\n"
        "from lawsweep.analysis.laws import laws\n"
        "[laws.find_law(n) for n in laws.LAWS]\n"
        "[kinds.find_kind(n) for n in kinds.KINDS]\n"
        "print({'pandas', 'scipy', 'matplotlib', 'pyarrow', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_figure_takes_its_keys_and_no_other(name):
    kind = find_kind(name)
    values = {"by": ["n"], "array": "a", "band": "sem", "lines": [{"y": "1"}], "threshold": "n > 1"}
    values |= {"fit": True} | dict.fromkeys(("logx", "logy", "logz"), True)
    values |= dict.fromkeys(("x", "z"), "n") | dict.fromkeys(("title", "xlabel", "zlabel"), "t")
    values |= {"y": "2 * n_star", "where": "n > 1"}
    known = {"columns": ["n", "n_star"], "arrays": ["a"], "cells": ["n", "n_star"]}
    own = {"scale": "n_star"} if name == "collapse" else {}
    if name == "joint":  # it draws a fit that has more keys than a figure
        fit = {"law": "joint", "name": "loss_law", "terms": ["n", "n_star"], "y": "n"}
        values["fit"] = "loss_law"
        known["fits"] = parse_fits([fit], known["columns"])
    taken = (*kind.keys, *COMMON)
    entry = {"kind": name} | {k: v for k, v in values.items() if k in taken}
    (spec,) = parse_figures([entry | own], **known)
    read = {k: getattr(spec, k) for k in entry}
    if spec.fit is not None:
        read |= {"fit": spec.fit.name if spec.fit_named else spec.fit.law == "power"}
    read |= {"by": list(spec.by), "lines": [{"y": line.y} for line in spec.lines]}
    assert {k: read[k] for k in entry} == entry
    for key in set(values) - set(taken):
        with pytest.raises(InvalidValueError, match=f"kind {name} takes no {key}"):
            parse_figures([entry | own | {key: values[key]}], **known)


def test_text_where_a_number_belongs_is_refused_before_anything_runs():
    for place, entry in (("x", {**CURVE, "x": "status"}), ("y", {**CURVE, "y": " status "})):
        with pytest.raises(
            InvalidValueError, match=rf"\[0\]\.{place} must be a number, and status"
        ):
            parse_figures([entry], COLUMNS, kinds={"status": "str"})
    with pytest.raises(InvalidValueError, match=r"lines\[0\].y must be a number, and status holds"):
        parse_figures([{**CURVE, "lines": [{"y": "status"}]}], COLUMNS, kinds={"status": "str"})
    with pytest.raises(InvalidValueError, match=r"fits\[0\]\.x must be a number, and status holds"):
        parse_fits([{**POWER, "x": "status"}], COLUMNS, kinds={"status": "str"})
    with pytest.raises(InvalidValueError, match=r"\[0\]\.y must be a number, and status holds"):
        parse_figures([{**CURVE, "y": "2 * log(status)"}], COLUMNS, kinds={"status": "str"})
    parse_figures([{**CURVE, "y": "1 if status == 'ok' else 0"}], COLUMNS, kinds={"status": "str"})
    told_apart = {**CURVE, "by": "status", "where": "status == 'ok'"}
    assert parse_figures([told_apart], COLUMNS, kinds={"status": "str"})[0].by == ("status",)


@pytest.mark.parametrize("condition", ["gap", "sqrt(3 - gap)", "status", "1"])
def test_a_where_or_threshold_that_is_no_condition_is_refused(condition):
    kinds = {**dict.fromkeys(COLUMNS, "float"), "status": "str"}
    for parse, entry, key in [
        (parse_fits, POWER, "where"),
        (parse_figures, CURVE, "where"),
        (parse_figures, HEATMAP, "threshold"),
    ]:
        with pytest.raises(InvalidValueError, match=rf"\[0\]\.{key} (needs true or|must be a num)"):
            parse([{**entry, key: condition}], COLUMNS, kinds=kinds)
        parse([{**entry, key: "gap != None and status == 'ok'"}], COLUMNS, kinds=kinds)


@pytest.mark.parametrize(
    ("y", "name"),
    [
        ("gap", "power_gap"),
        ("abs(gap)", "power_gap"),
        ("d*abs(gap)", "power_d_gap"),
        ("log10(max(gap, 1e-16) / abs(value))", "power_gap_value"),
        ("gap / (3*d**2 + value)", "power_gap_d"),
        ("1", "power_1"),
    ],
)
def test_a_name_that_is_made_is_of_columns_and_not_of_an_expression(y, name):
    (spec,) = parse_fits([{"law": "power", "x": "d", "y": y}], ["gap", "d", "value"])
    assert spec.name == name


def test_a_name_that_is_made_is_short_and_one_that_is_given_is_kept():
    long = "a" * 80
    entries = [{"law": "power", "x": "d", "y": long}, {"law": "power", "x": "d", "y": "d"},
               {"law": "power", "x": "d", "y": "2*d"},
               {"name": "growth", "law": "power", "x": "d", "y": "d"}]  # fmt: skip
    names = [s.name for s in parse_fits(entries, [long, "d"])]
    assert len(names[0]) == 60
    assert names[1:] == ["power_d", "power_d_2", "growth"]
