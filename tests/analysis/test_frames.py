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
