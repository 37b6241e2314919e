"""Two spellings of one config are one run; another config is another; texts are as OmegaConf's."""

from __future__ import annotations

import enum
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lawsweep.config.application.columns import column_names, columns_of
from lawsweep.config.application.identity import digest_of, leaves, plain_config, without
from lawsweep.config.application.returned import metrics_of
from lawsweep.config.application.yaml_texts import YamlTexts


def plain(**config):
    return plain_config(OmegaConf.create(config))


def digest(**config):
    return digest_of("app:main", plain(**config))


class Colour(enum.Enum):
    RED = 1


def test_a_reference_is_what_it_refers_to():
    model = {"width": 3, "name": "m"}
    assert plain(model=model, a="${model.width}", b="x_${model.name}_${a}", c="${model}") == {
        "model": model, "a": 3, "b": "x_m_3", "c": model,
    }  # fmt: skip
    assert digest(a=1, b="${a}") == digest(a=1, b=1) != digest(a=1, b=2)


def test_relative_and_nested_references():
    assert plain(m={"a": 1, "b": "${.a}", "c": "${..n}"}, n=2, k="a", z="${m.${k}}") == {
        "m": {"a": 1, "b": 1, "c": 2}, "n": 2, "k": "a", "z": 1,
    }  # fmt: skip
    assert plain(xs=[1, "${y}"], y=5, first="${xs[0]}") == {"xs": [1, 5], "y": 5, "first": 1}


@pytest.mark.parametrize(
    "text",
    ["${now:%H}", "${oc.env:HOME}", "${hydra:job.num}", "a_${oc.env:USER}_${lr}", "${own:${lr}}",
     "${ now : x }", "\\${now:x} ${oc.env:A}"],
)  # fmt: skip
@pytest.mark.parametrize("more", [{}, {"r": {"a": 1, "b": "${.a}"}}])
def test_what_a_resolver_would_say_is_not_asked(text, more):
    found = plain(lr=1, x=text, y="${x}", z="${lr}", **more)
    assert (found["x"], found["y"], found["z"]) == (text, text, 1)


def test_a_reference_that_leads_nowhere_stands_as_it_is():
    assert plain(a="${nothing}", b="${.also}", c=1) == {"a": "${nothing}", "b": "${.also}", "c": 1}
    assert plain(a="${b}", b="${a}") == {"a": "${b}", "b": "${a}"}  # a circle
    assert plain(a="${m}", m="???")["a"] == "${m}"


def test_what_decides_and_what_does_not():
    assert digest(a=1, b=2) == digest(b=2, a=1)
    assert len({digest(a=v) for v in (1, 1.0, True, "1", None, [1], {"b": 1})}) == 7
    assert digest_of("app:main", {"a": 1}) != digest_of("other:main", {"a": 1})
    assert plain(p=Path("x/y"), c=Colour.RED, b=b"\x01") == {"p": "x/y", "c": "RED", "b": "01"}
    config = {"a": 1, "paths": {"out": "x", "in": "y"}, "b": {"c": 1}}
    assert without(config, ["paths.out", "b", "nothing", "a.deeper"]) == {
        "a": 1, "paths": {"in": "y"},
    }  # fmt: skip
    # A golden value: the identity of rows that there are.
    assert digest_of("app:main", {"lr": 0.1, "model": {"name": "small"}}) == GOLDEN


GOLDEN = "2ed5d154aaa8879de68b6371e83d90d3"
NAMES = st.text("abcdefgXYZ_", min_size=1, max_size=8)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(),
    st.text(max_size=100), st.sampled_from(["lr=0.1", "/a/b-c", "1e3", "on", "0", "007", "a: b",
    "+x=1", "~", "x=", "=", "2020-01-01", "/a b", "a=b c", "- a", "${a}", "é" * 90, "x " * 60]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(NAMES, v, max_size=3))
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.one_of(NAMES, st.sampled_from(["on", "a b", "1", "db@x"])), VALUES,
                       max_size=4))  # fmt: skip
def test_texts_are_those_of_omegaconf(values):
    try:
        config = OmegaConf.create(values)
    except Exception:  # noqa: BLE001  (a text that is no interpolation, though it looks like one)
        return
    texts = YamlTexts()
    expected = OmegaConf.to_yaml(config)
    assert texts.of(config) == expected
    assert texts.of(config) == expected  # from what it has kept


def rows(*configs):
    return [dict(leaves(plain(**c))) for c in configs]


def test_a_column_a_leaf():
    specs, points = columns_of(rows({"lr": 1, "m": {"w": 3, "x": None}}, {"lr": 0.5, "b": [1]}), {})
    assert {s.name: s.kind for s in specs} == {
        "b": "str",
        "lr": "float",
        "m_w": "int",
        "m_x": "str",
    }
    assert all(s.info.follows and s.optional for s in specs)
    assert points == [
        {"b": None, "lr": 1, "m_w": 3, "m_x": None},
        {"b": "[1]", "lr": 0.5, "m_w": None, "m_x": None},
    ]


def test_a_value_of_another_type_stands_beside():
    specs, points = columns_of(rows({"a": 1}, {"a": "auto"}, {"a": float("inf")}, {"a": True}), {})
    assert [(s.name, s.kind) for s in specs] == [("a", "int"), ("a_text", "str")]
    assert points[1:] == [
        {"a": None, "a_text": "auto"},
        {"a": None, "a_text": "Infinity"},
        {"a": None, "a_text": "true"},
    ]
    specs, points = columns_of(rows({"a": 1}, {"a": 2**70}), {"a": "float"})
    assert [(s.name, s.kind) for s in specs] == [("a", "float"), ("a_text", "str")]
    specs, points = columns_of(rows({"a": 1.5}), {"a": "str"})
    assert points == [{"a": None, "a_text": "1.5"}]


def test_names_that_others_have():
    names = column_names([("seed",), ("config",), ("pi",), ("a", "b"), ("a_b",), ("A_b",), ("1",)])
    assert len({n.casefold() for n in names.values()}) == len(names)
    assert (names["seed",], names["config",], names["1",]) == ("cfg_seed", "cfg_config", "cfg_1")
    assert (names["A_b",], names["a", "b"], names["a_b",]) == ("A_b", "a_b_", "a_b__")
    assert column_names([("a", "b"), ("a_c",)]) == {("a", "b"): "a_b", ("a_c",): "a_c"}


def test_what_was_returned():
    import numpy as np

    def found(returned):
        return metrics_of(returned, {"lr"}, "out")

    assert found(0.5) == {"value": 0.5, "output_dir": "out"}
    assert found(np.float32(0.5))["value"] == np.float32(0.5)
    assert found(None) == found("text") == found(object()) == {"output_dir": "out"}
    given = {"lr": 1, "val/loss": 2.0, "seed": 3, "in": {"a": 1}, "model": object(), "xs": [1, 2]}
    assert found(given) == {
        "returned_lr": 1, "val_loss": 2.0, "returned_seed": 3, "in_a": 1, "xs": [1, 2],
        "output_dir": "out",
    }  # fmt: skip
    assert found(OmegaConf.create({"a": 1, "b": "${a}"})) == {"a": 1, "b": 1, "output_dir": "out"}
