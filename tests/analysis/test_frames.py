import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lawsweep.analysis.frames import Columns, distinct, to_numpy
from lawsweep.core.errors import InvalidValueError, UnknownNameError

NAN = float("nan")


def arrow(values, type_):
    return pd.Series(values, dtype=pd.ArrowDtype(type_))


@pytest.mark.parametrize(
    ("series", "kind", "expected"),
    [
        (arrow([1, 2**60], pa.int64()), "i", [1, 2**60]),
        (arrow([1, None], pa.int64()), "f", [1.0, NAN]),
        (arrow([1.5, None], pa.float64()), "f", [1.5, NAN]),
        (arrow([True, False], pa.bool_()), "b", [True, False]),
        (arrow([True, None], pa.bool_()), "O", [True, None]),
        (arrow(["relu", None], pa.string()), "O", ["relu", None]),
        (arrow([[1, 2], None], pa.list_(pa.int64())), "O", [(1, 2), None]),
        (pd.Series([1.0, NAN]), "f", [1.0, NAN]),
        (pd.Series([1, None], dtype="Int64"), "f", [1.0, NAN]),
        (pd.Series([1.0, None], dtype=object), "f", [1.0, NAN]),
        (pd.Series([True, None], dtype=object), "O", [True, None]),
        (pd.Series(["a", None]), "O", ["a", None]),
    ],
)
def test_columns_of_every_make(series, kind, expected):
    column = to_numpy(series)
    assert column.dtype.kind == kind
    if kind == "f":
        np.testing.assert_array_equal(column, expected)
    else:
        assert column.tolist() == expected


def test_nan_and_missing_of_an_arrow_float_both_read_as_nan():
    column = arrow(pa.array([NAN, None, 1.0]), pa.float64())
    np.testing.assert_array_equal(to_numpy(column), [NAN, NAN, 1.0])


def test_groups_ascend_and_keep_missing_last():
    frame = pd.DataFrame({"n": arrow([30, 4, None, 30], pa.int64()), "k": ["b", "b", "a", "a"]})
    columns = Columns(frame)
    found = columns.groups(("n", "k"), np.arange(4))
    assert [tuple(values.values()) for values, _ in found] == [
        (4.0, "b"), (30.0, "a"), (30.0, "b"), (None, "a")
    ]  # fmt: skip
    assert [rows.tolist() for _, rows in found] == [[1], [3], [0], [2]]


def test_no_by_is_one_group_and_no_rows_no_group():
    columns = Columns(pd.DataFrame({"n": [1, 2]}))
    assert [(v, r.tolist()) for v, r in columns.groups((), np.arange(2))] == [({}, [0, 1])]
    assert columns.groups((), np.arange(0)) == []


def test_distinct_joins_what_differs_by_rounding_only():
    x = np.array([0.3, 0.1 + 0.2, 0.5, 0.3, 0.3 * (1 + 1e-9)])
    levels, inverse = distinct(x)
    assert levels.tolist() == [0.3, 0.3 * (1 + 1e-9), 0.5]
    assert inverse.tolist() == [0, 0, 2, 0, 1]


def test_distinct_of_zeros_and_negatives():
    levels, inverse = distinct(np.array([0.0, -2.0, 0.0]))
    assert levels.tolist() == [-2.0, 0.0]
    assert inverse.tolist() == [1, 0, 1]


def test_where_reads_missing_text_and_numbers_as_not_equal():
    frame = pd.DataFrame({"a": arrow(["relu", None], pa.string()), "m": [NAN, 2.0]})
    columns = Columns(frame)
    assert columns.where("a == 'relu'").tolist() == [0]
    assert columns.where("m > 1").tolist() == [1]
    assert columns.where(None).tolist() == [0, 1]


def test_an_expression_that_is_no_number_is_refused():
    columns = Columns(pd.DataFrame({"kernel": ["full", "layer"]}))
    with pytest.raises(InvalidValueError, match=r"f\.y must be a number .* gives 'full'"):
        columns.numbers("kernel", np.arange(2), "f.y")


def test_a_column_the_frame_lacks_is_named():
    columns = Columns(pd.DataFrame({"width": [1]}))
    with pytest.raises(UnknownNameError, match="Did you mean 'width'"):
        columns["widht"]


def test_rows_without_metrics_do_not_stop_an_expression():
    frame = pd.DataFrame({"m": arrow([1.2, None], pa.float64())})
    found = Columns(frame).numbers_where_known("round(m)", np.arange(2), "f.x")
    np.testing.assert_array_equal(found, [1.0, NAN])


def mixed_frame():
    return pd.DataFrame(
        {
            "decay": arrow([None, 0.1, 0.2, None], pa.float64()),
            "steps": arrow([3, None, 2**60 + 1, 5], pa.int64()),
            "loss": pd.Series(
                pd.array(pa.array([1.0, NAN, None, 4.0]), dtype=pd.ArrowDtype(pa.float64()))
            ),
            "done": arrow([True, None, False, None], pa.bool_()),
            "plain": pd.Series([1.0, None, NAN, 2.0], dtype=object),
        }
    )


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("decay != None", [1, 2]),
        ("decay == None", [0, 3]),
        ("decay == None or decay > 0.15", [0, 2, 3]),
        ("decay > 0.15", [2]),
        ("decay != 0.1", [0, 2, 3]),
        ("decay in (None, 0.1)", [0, 1, 3]),
        ("loss != None", [0, 1, 3]),
        ("loss == None", [2]),
        ("loss == loss", [0, 2, 3]),
        ("loss != 1", [1, 2, 3]),
        ("not loss > 1", [0, 1, 2]),
        ("log(loss) > 0", [3]),
        ("steps == 2**60 + 1", [2]),
        ("steps != None and steps < 4", [0]),
        ("done", [0]),
        ("not done", [1, 2, 3]),
        ("done == False", [2]),
        ("done != None", [0, 2]),
        ("plain != None", [0, 2, 3]),
    ],
)
def test_a_null_and_a_nan_mean_in_where_what_they_mean_in_planning(text, rows):
    assert Columns(mixed_frame()).where(text).tolist() == rows


def test_numbers_may_ask_for_a_null():
    columns = Columns(mixed_frame())
    found = columns.numbers("0 if decay == None else decay", np.arange(4), "f.x")
    assert found.tolist() == [0.0, 0.1, 0.2, 0.0]
    known = columns.numbers_where_known("0 if decay == None else decay", np.arange(4), "f.x")
    assert known.tolist() == [0.0, 0.1, 0.2, 0.0]


@pytest.mark.parametrize("text", ["loss", "sqrt(3 - loss)", "1 + decay", "'a'", "steps % 2"])
def test_a_where_that_is_no_condition_is_refused(text):
    with pytest.raises(InvalidValueError, match=r"f\.where needs true or false, and .* gives"):
        Columns(mixed_frame()).where(text, "f.where")


def test_of_no_rows_there_are_no_numbers_whatever_the_others_lack():
    columns = Columns(mixed_frame())
    for text in ("loss", "decay * steps", "log(loss)"):
        assert columns.numbers(text, np.arange(0), "f.x").tolist() == []
    assert columns.numbers("loss", np.array([2]), "f.x").dtype == float
