"""What a checkpoint holds comes back as it was, and nothing else is taken."""

from __future__ import annotations

import io
import math
import zipfile
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import pytest

import lawsweep
from lawsweep.core.during.packed import BrokenError, facts_of, pack, unpack
from lawsweep.core.errors import InvalidValueError


def there_and_back(state, tmp_path=None):
    return unpack(pack(state, {"run_id": "a"}, None), lambda: tmp_path)


def test_plain_values_and_arrays_come_back_in_their_types():
    state = {
        "i": 2**70, "x": 0.1, "nan": math.nan, "inf": -math.inf, "t": (1, [None, True, "µ\ud800"]),
        3: b"\x00\xff", "empty": {}, "w": np.arange(6.0).reshape(2, 3)[:, ::-1],
        "n": np.float32(0.5), "c": np.array([1 + 2j]), "zero": np.zeros((0, 3), dtype=np.int8),
        "rng": np.random.default_rng(3).bit_generator.state, "o": OrderedDict(a=1),
    }  # fmt: skip
    back = there_and_back(state)
    assert list(back) == list(state)
    assert math.isnan(back.pop("nan"))
    del state["nan"]
    for name in ("w", "n", "c", "zero"):
        one, other = back.pop(name), state.pop(name)
        assert type(one) is type(other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.array_equal(one, other)
    assert back == state
    assert type(back["t"]) is tuple


def test_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 2)
    adam = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    back = there_and_back([layer.state_dict(), adam, torch.ones(2).bfloat16()])
    again = torch.nn.Linear(3, 2)
    again.load_state_dict(back[0])
    assert back[1] == adam
    assert torch.equal(again.weight, layer.weight)
    assert back[2].dtype is torch.bfloat16
    assert torch.equal(back[2], torch.ones(2).bfloat16())


class Model:
    pass


def test_what_cannot_be_kept_is_told_with_its_place():
    for state, says in [
        ({"a": [1, Model()]}, r"got Model at state\['a'\]\[1\]\. Give what it is made of"),
        ({(1, 2): 3}, "got tuple at a key of state"),
        (np.array([None]), "got ndarray at state"),
        ({1, 2}, "got set at state"),
    ]:
        with pytest.raises(InvalidValueError, match=says):
            lawsweep.checkpoint.save(state)  # outside a launch too
    loop = []
    loop.append(loop)
    with pytest.raises(InvalidValueError, match="Does it hold itself"):
        lawsweep.checkpoint.save(loop)
    assert lawsweep.checkpoint.save({"fine": 1}) is False
    assert lawsweep.checkpoint.load() is None


def test_files_go_along_and_lead_nowhere_else(tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "x.bin").write_bytes(b"12")
    data = pack(1, {"run_id": "a"}, tmp_path / "a")
    assert facts_of(data) == {"run_id": "a"}
    assert unpack(data, lambda: tmp_path / "b") == 1
    assert (tmp_path / "b" / "sub" / "x.bin").read_bytes() == b"12"
    kept = io.BytesIO(data)
    with zipfile.ZipFile(kept, "a") as file:
        file.writestr("files/../../out", b"")
    with pytest.raises(BrokenError, match="lie elsewhere"):
        unpack(kept.getvalue(), lambda: tmp_path / "c")
    assert not (tmp_path / "out").exists()


def test_a_torn_or_damaged_one_is_broken_wherever_it_is_cut():
    whole = pack({"w": np.arange(50.0)}, {"run_id": "a"}, None)
    for end in range(0, len(whole), 7):
        with pytest.raises(BrokenError):
            facts_of(whole[:end]), unpack(whole[:end], None)
    at = whole.index(np.arange(50.0).tobytes()) + 30
    with pytest.raises(BrokenError, match="CRC"):
        unpack(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], None)
    pickled = io.BytesIO()
    np.save(pickled, np.array([Model()], dtype=object), allow_pickle=True)
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as file:
        file.writestr("state.json", '{"state": {"array": 0}}')
        file.writestr("0.npy", pickled.getvalue())
    with pytest.raises(BrokenError, match="allow_pickle"):
        unpack(kept.getvalue(), None)


@pytest.mark.parametrize("at", range(0, 46, 2))
def test_bytes_that_say_another_compression_version_or_flag_are_broken_or_harmless(at):
    """A field of the directory's first entry, or of the file's; zipfile says what it likes."""
    whole = pack({"w": np.arange(3.0)}, {"run_id": "a"}, None)
    entry = whole.index(b"PK\x01\x02")
    for here in (entry + at, at):
        torn = bytearray(whole)
        torn[here] ^= 0xFF
        with suppress(BrokenError):
            facts_of(bytes(torn))
            assert np.array_equal(unpack(bytes(torn), None)["w"], np.arange(3.0))


def test_a_number_too_long_for_decimals_comes_back():
    assert there_and_back([-(7**9000), 1]) == [-(7**9000), 1]


def test_tensors_of_odd_kinds_come_back_or_are_told_with_their_place():
    torch = pytest.importorskip("torch")
    ones = torch.tensor([1 + 2j, 3j])
    back = there_and_back([ones.conj(), ones.conj().imag, torch.tensor(1.0).bfloat16()])
    assert torch.equal(back[0], ones.conj().resolve_conj())
    assert torch.equal(back[1], torch.tensor([-2.0, -3.0]))
    assert back[2].shape == ()
    for odd in (torch.eye(2).to_sparse(), torch.ones(2, device="meta")):
        with pytest.raises(InvalidValueError, match=r"got Tensor at state\[0\], torch\.(sp|strid)"):
            lawsweep.checkpoint.save([odd])
    with pytest.raises(InvalidValueError, match="got MaskedArray at state"):
        lawsweep.checkpoint.save(np.ma.array([1, 2], mask=[0, 1]))


def test_by_hand_there_is_one_folder_that_load_empties():
    assert lawsweep.checkpoint.load() is None
    (lawsweep.checkpoint.folder() / "log.txt").write_text("a")
    assert (lawsweep.checkpoint.folder() / "log.txt").read_text() == "a"
    assert lawsweep.checkpoint.load() is None
    assert list(lawsweep.checkpoint.folder().iterdir()) == []
