from __future__ import annotations

import numpy as np

from lawsweep import stream


def test_a_stream_is_its_seed_and_name():
    a, b = stream(3, "data"), stream(3, "data")
    assert np.array_equal(a.standard_normal(5), b.standard_normal(5))
    assert not np.array_equal(
        stream(3, "data").standard_normal(5), stream(3, "weights").standard_normal(5)
    )
    assert not np.array_equal(
        stream(3, "data").standard_normal(5), stream(4, "data").standard_normal(5)
    )


def test_streams_do_not_drift():
    """Golden: a new numpy that draws other numbers must be noticed, not absorbed."""
    assert stream(0, "data").integers(0, 2**32, 3).tolist() == GOLDEN_BITS
    assert stream(0, "data").standard_normal(2).tolist() == GOLDEN_NORMALS


GOLDEN_BITS = [3487923872, 2822200860, 3064848275]
GOLDEN_NORMALS = [0.45226418799742063, -0.281698022687744]
