from __future__ import annotations

import copy
import hashlib
import pickle

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


def test_the_short_way_to_a_key_gives_numpys_own_stream():
    """Philox(key=...) is the definition; a stream only skips the entropy that it throws away."""
    for seed, name in ((0, "data"), (-3, "weights"), (2**70, "lanczos")):
        digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
        key = int.from_bytes(digest, "little")
        plain, ours = np.random.Generator(np.random.Philox(key=key)), stream(seed, name)
        assert str(plain.bit_generator.state) == str(ours.bit_generator.state)
        expected = plain.standard_normal(9)
        for same in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), ours):
            assert np.array_equal(same.standard_normal(9), expected)


GOLDEN_BITS = [3487923872, 2822200860, 3064848275]
GOLDEN_NORMALS = [0.45226418799742063, -0.281698022687744]
