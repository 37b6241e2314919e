from __future__ import annotations

import copy
import hashlib
import pickle

import numpy as np

from lawsweep import stream
from lawsweep.core.randomness.nudges import nudged


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


def test_nudged_draws_are_off_in_the_last_bit_and_whole_numbers_are_not():
    def draws():
        rng = stream(3, "data")
        given = np.empty(4)
        rng.random(out=given)
        return [rng.standard_normal((5, 2)), np.array(rng.normal()), given,
                rng.standard_normal(3, dtype=np.float32), rng.integers(0, 9, 50),
                rng.permutation(6), rng.choice([0.1, 0.2], 20)]  # fmt: skip

    plain = draws()
    with nudged(2.0**-52, 1):
        first, again = draws(), draws()
    with nudged(2.0**-52, 2):
        other = draws()
    assert all(np.array_equal(a, b) for a, b in zip(plain, draws(), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    for a, b in zip(plain[:3], first[:3], strict=True):
        assert (a != b).all()
        np.testing.assert_allclose(a, b, rtol=2.0**-51, atol=0)
    for a, b in zip(plain[4:], first[4:], strict=True):
        assert np.array_equal(a, b)
    with nudged(2.0**-22, 1):
        assert (draws()[3] != plain[3]).any()
