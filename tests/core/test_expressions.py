from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.expressions.expression import Expression


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("round(ratio * d**2)", [0, 2, 8]),
        ("d // 2 + d % 2", [0, 1, 1]),
        ("-d + 1", [1, 0, -1]),
        ("d / 2", [0.0, 0.5, 1.0]),
        ("1 if d > 0 else -1", [-1, 1, 1]),
        ("0 < d <= 1", [False, True, False]),
        ("not (d == 1 or d == 2)", [True, False, False]),
        ("d in (0, 2)", [True, False, True]),
        ("d not in [0, 2]", [False, True, False]),
        ("act == 'relu'", [True, False, True]),
        ("act in ('tanh',)", [False, True, False]),
        ("max(d, 1, 0) * min(d, 1)", [0, 1, 2]),
        ("floor(sqrt(1000 * d))", [0, 31, 44]),
        ("2 ** -d", [1.0, 0.5, 0.25]),
        ("d and d > 1", [False, False, True]),
    ],
)
def test_values(text, expected):
    columns = {"d": np.arange(3), "ratio": 2.0, "act": np.array(["relu", "tanh", "relu"])}
    value = Expression(text).evaluate(columns, 3)
    assert value.tolist() == expected
    assert isinstance(value.tolist()[0], type(expected[0]))


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(1, 50))
def test_arithmetic_is_pythons(a, b, c):
    text = "(a + b) * c - a // c + b % c"
    assert Expression(text).evaluate_one({"a": a, "b": b, "c": c}) == eval(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "d.__class__",
        "d[0]",
        "(lambda: 1)()",
        "[x for x in (1, 2)]",
        "round(d, ndigits=2)",
        "d := 3",
        "f'{d}'",
        "open('x')",
        "1 if",
        "",
        "d is 1",
        "'a' in d",
        "b'x'",
        "print",
        "*d",
        "(" * 500 + "1" + ")" * 500,
    ],
)
def test_nothing_else_is_computed(text):
    with pytest.raises((InvalidValueError, UnknownNameError)):
        Expression(text).evaluate({"d": np.arange(3)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("log(a, b)", "log in 'log\\(a, b\\)' takes 1 values, got 2"),
        ("signif(a)", "takes 2 values, got 1"),
        ("min()", "takes 1 or more values, got 0"),
        ("99999999999999999999 ** 9999999", "more than 64 bits"),
    ],
)
def test_functions_take_what_they_take(text, message):
    columns = {"a": np.array([1.0, 8.0]), "b": np.array([2.0, 3.0])}
    with pytest.raises(InvalidValueError, match=message):
        Expression(text).evaluate(columns)
    assert columns["b"].tolist() == [2.0, 3.0]  # numpy would have written its result there


def test_a_branch_is_computed_where_it_is_taken():
    columns = {"k": np.array([0, 2, 5]), "rate": np.array([None, 0.25, 4.0], dtype=object)}
    assert Expression("10 // k if k > 0 else 7").evaluate(columns).tolist() == [7, 5, 2]
    assert Expression("round(log(k)) if k > 0 else -1").evaluate(columns).tolist() == [-1, 1, 2]
    assert Expression("rate == None or rate > 0.5").evaluate(columns).tolist() == [
        True,
        False,
        True,
    ]
    assert Expression("k > 0 and 10 // k > 2").evaluate(columns).tolist() == [False, True, False]
    assert Expression("(k > 0) + (k > 2)").evaluate(columns).tolist() == [0, 1, 2]
    whole = {"rate": np.array([0.25, 4.0], dtype=object)}
    assert Expression("sqrt(rate)").evaluate(whole).tolist() == [0.5, 2.0]


def test_unknown_name_gives_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'input_dim'"):
        Expression("input_dims ** 2").evaluate({"input_dim": 3})
    with pytest.raises(UnknownNameError, match="Did you mean 'round'"):
        Expression("rond(2.5)")


def test_the_first_offending_point_is_named():
    with pytest.raises(InvalidValueError, match=r"'1 / \(d - 2\)' gives inf at d=2"):
        Expression("1 / (d - 2)").evaluate({"d": np.arange(5)})
    with pytest.raises(InvalidValueError, match="division by zero"):
        Expression("4 // d").evaluate({"d": np.arange(5)})


def test_what_wraps_around_is_refused():
    with pytest.raises(InvalidValueError, match="exceeds 64 bits"):
        Expression("d ** 20").evaluate({"d": np.array([10])})


def test_measured_data_may_be_nan():
    value = Expression("y * 2").evaluate({"y": np.array([np.nan, 1.0])}, finite=False)
    assert np.isnan(value[0])
    assert value[1] == 2.0


def test_a_wrong_kind_of_value_is_told_of_the_column_that_has_it():
    columns = {"n": np.array([1, 2]), "flag": np.array([True, False]), "law": np.array(["a", "b"])}
    assert Expression("-flag").evaluate(columns).tolist() == [-1, 0]
    assert Expression("-(n > 1)").evaluate(columns).tolist() == [0, -1]
    with pytest.raises(InvalidValueError, match="law has text or null where a number belongs"):
        Expression("sqrt(law) + n").evaluate(columns)
    with pytest.raises(InvalidValueError, match="cannot be computed: it does with these values"):
        Expression("sqrt(n)").evaluate({"n": 10**30})


def test_names_that_are_but_compared_are_not_computed_with():
    text = "n * (law == 'a') + (2 * m if mode in ['x', other] else sqrt(k)) + (3 < j + i)"
    assert Expression(text).computed_with == {"n", "m", "k", "i", "j"}


def test_a_sum_of_thousands_of_terms_is_computed():
    columns = {"n": np.arange(3), "m": np.array([1.0, 2.0, 4.0])}
    expression = Expression("+".join(["n"] * 1500) + "-" + "*".join(["m"] * 3))
    assert expression.names == ("n", "m")
    assert expression.computed_with == {"n", "m"}
    assert expression.evaluate(columns).tolist() == [-1.0, 1492.0, 2936.0]
    either = Expression(" or ".join(f"n == {k}" for k in range(1500)))
    assert either.evaluate(columns).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("+".join(["n"] * 30_000), "is too long, or nests too deep"),
        ("n" + " + n" * 30_000, "is 120,001 characters long"),
        ("sqrt(" * 120 + "n" + ")" * 120, "nests more than 100 levels|Split it|nests too deep"),
        ("not " * 20_000 + "n > 1", "too long, or nests too deep|nests more than"),
        ("-" * 500 + "n", "nests more than 100 levels"),
        ("n" + " if n else n" * 300, "nests more than 100 levels"),
        ("9**9**9", "exceeds 64 bits"),
        ("n**9**9", "exceeds 64 bits"),
        ("'a' * 10**9", "what is not defined for them"),
        ("1 << 999999999", "uses '1 << 999999999', which is not allowed"),
        ("n[" + "1+" * 1400 + "1]", "which is not allowed"),
    ],
)
def test_what_is_too_large_is_refused_with_a_sentence(text, message):
    with pytest.raises(InvalidValueError, match=message) as caught:
        Expression(text).evaluate({"n": np.arange(1, 4)})
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_a_null_and_a_nan_are_two_things():
    rate = np.array([None, 0.1, np.nan, 0.2], dtype=object)
    for text, expected in [
        ("rate != None", [False, True, True, True]),
        ("rate == None or rate > 0.15", [True, False, False, True]),
        ("rate != 0.1", [True, False, True, True]),
        ("rate in (None, 0.2)", [True, False, False, True]),
    ]:
        assert Expression(text).holds({"rate": rate}, 4).tolist() == expected, text
    with pytest.raises(InvalidValueError, match="rate has text or null where a number belongs"):
        Expression("rate > 0.15").holds({"rate": rate}, 4)
    tolerant = Expression("rate > 0.15").holds({"rate": rate}, 4, null_as_nan=True)
    assert tolerant.tolist() == [False, False, False, True]
    assert Expression("rate == None or other != None").asks_null == {"rate", "other"}


def test_a_condition_is_told_from_a_number_before_there_are_values():
    kinds = {"loss": "float", "n": "int", "done": "bool", "law": "str"}
    conditions = ["loss < 1", "done", "not done", "loss and n", "law == 'a'", "done if n else True"]
    assert [Expression(text).dtype(kinds).kind for text in conditions] == ["b"] * 6
    for text in ("loss", "sqrt(3 - loss)", "n % 2", "law", "1", "n if done else loss"):
        assert Expression(text).dtype(kinds).kind != "b", text
    assert Expression("elsewhere > 1").dtype(kinds) is None
